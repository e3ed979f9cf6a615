"""A clock that wakes an event loop many times a second without turning it all the time.

uvloop counts in whole milliseconds: what asks it for less is called again and again, and takes a core from those that
are measured. A timer of the kernel (`timerfd`) wakes it when it is time, and at no other.
"""

import asyncio
import ctypes
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

_CLOCK_MONOTONIC = 1
_libc = ctypes.CDLL(None, use_errno=True)


class _Interval(ctypes.Structure):
    """`struct itimerspec`."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


@contextmanager
def ticks(every_s: float) -> Iterator[Callable[[], Awaitable[None]]]:
    """What waits for the next tick, or has one that came since the last. Raises OSError."""
    timer = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
    loop, ticked = asyncio.get_running_loop(), asyncio.Event()

    def heard() -> None:
        os.read(timer, 8)
        ticked.set()

    async def tick() -> None:
        await ticked.wait()
        ticked.clear()

    try:
        every = divmod(max(1, round(every_s * 1e9)), 10**9)
        _checked(_libc.timerfd_settime(timer, 0, ctypes.byref(_Interval(*every, *every)), None))
        loop.add_reader(timer, heard)
        yield tick
    finally:
        loop.remove_reader(timer)
        os.close(timer)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
