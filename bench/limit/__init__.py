"""What can be had on Redis at all, by hand.

`loop.py` drains: the least that a queue with leases, fencing and results must do. `echo.py` answers one call after the
other, with less than that.
"""
