"""Tasks that most worker tests use. `Project.with_common_tasks` copies this file as a project's `tasks`."""

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time

from celeriac import Celery

app = Celery("tasks")


class OutOfPaper(Exception):
    """An error of the project's own."""


def at_gate(port, word=""):
    """Tell the test that we run, and wait until it lets us go on."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} {word}\n".encode())
        connection.recv(1)


@app.task
def add(x, y):
    print(f"Adding {x} + {y}...")
    return x + y


@app.task
def pid():
    return os.getpid()


@app.task
def hold(port, word=""):
    at_gate(port, word)
    return word


@app.task(acks_late=False)
def hold_at_most_once(port):
    at_gate(port)


@app.task(bind=True)
def facts(self, port):
    """What the run knows of itself."""
    at_gate(port, f"{self.request.id} {self.request.hostname} {self.request.delivery_info['redelivered']}")


@app.task
def fail(text):
    raise OutOfPaper(text)


@app.task(throws=(OutOfPaper,))
def fail_as_expected(text):
    raise OutOfPaper(text)


@app.task(bind=True, max_retries=2)
def flaky(self, failures, countdown=0.0):
    try:
        if self.request.retries < failures:
            raise OutOfPaper(f"try {self.request.retries + 1}")
    except OutOfPaper as error:
        raise self.retry(exc=error, countdown=countdown) from None
    return self.request.retries


@app.task
async def nap(value, port=None):
    await asyncio.sleep(0)
    if port is not None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{os.getpid()} nap\n".encode())
        await reader.read(1)
        writer.close()
    return value


@app.task
def moment():
    return time.time()


@app.task(track_started=True)
def started(port):
    at_gate(port)


@app.task(bind=True)
def report_progress(self, port):
    self.update_state(state="PROGRESS", meta={"done": 3, "of": 5})
    at_gate(port)
    return "done"


@app.task
def kill_own_process(port=None):
    if port is not None:
        at_gate(port)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def leave(status):
    sys.exit(status)


@app.task
def unwritable():
    return object()


@app.task
def terminate_a_subprocess():
    """The exit status of a program that is asked to end."""
    program = subprocess.Popen(["sleep", "60"])
    program.terminate()
    return program.wait(10)


@app.task
def use_processes():
    """What a pool of processes computes, and the exit status of a process that is asked to end."""
    context = multiprocessing.get_context("fork")
    with context.Pool(2) as pool:
        values = pool.map(abs, [-1, -2, -3])
    sleeper = context.Process(target=time.sleep, args=(60,))
    sleeper.start()
    sleeper.terminate()
    sleeper.join(10)
    ended_by = sleeper.exitcode
    sleeper.kill()
    return values, ended_by


@app.task
def write_to_descriptors():
    os.write(1, b"by descriptor 1\n")
    print("to stderr", file=sys.stderr)


@app.task
def hold_the_gil(port, seconds):
    """C code that does not let go of the interpreter: nothing else of this process runs meanwhile."""
    import ctypes

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{os.getpid()} busy\n".encode())
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    return "held"


@app.task
def dispositions():
    """The signals that a program started by a task would ignore."""
    text = "import signal; print([s.name for s in signal.Signals if signal.getsignal(s) is signal.SIG_IGN])"
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.strip()
