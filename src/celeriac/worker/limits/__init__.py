"""Time limits: a soft one raises in the task and only in the task it was meant for; a hard one ends it.

    limiter     one thread of a process notices that a run's time is over, and has its slot's guard strike
    guards      how a strike reaches a plain function: by a signal (main thread) or an asynchronous exception (others)
    coroutines  how it reaches a coroutine function
    hard        deadlines on the board, for the supervisor, which kills

Tasks without limits come by none of it.
"""
