"""Calls that may never return, such as into an HSM's library, so that neither a loop nor an exit hangs on them.

One at a time: while one has not returned there is no next, so at most one thread is lost to what hangs.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Blocking:
    """Calls to one thing, `what` in sentences, each of which has so many seconds; `unavailable` is what is raised
    where it has none."""

    def __init__(self, what: str, timeout_s: float, unavailable: Callable[[str], Exception]) -> None:
        self._what = what
        self._timeout_s = timeout_s
        self._unavailable = unavailable
        self._is_busy = False

    async def call(self, call: Callable[[], T]) -> T:
        """What it returns or raises; `unavailable` when that takes too long."""
        if self._is_busy:
            raise self._unavailable(f"{self._what} still does not answer a call of before")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(result)  # type: ignore[arg-type]
            else:
                done.set_exception(error)

        def run() -> None:
            result: T | None = None
            failed: BaseException | None = None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
                failed = error
            # Before anybody hears of it, so that the next call finds it so.
            self._is_busy = False
            if not loop.is_closed():
                loop.call_soon_threadsafe(finish, result, failed)

        # A daemon: what hangs for ever does not keep the process.
        self._is_busy = True
        threading.Thread(target=run, daemon=True, name=self._what).start()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await done
        except TimeoutError:
            raise self._unavailable(f"{self._what} does not answer within {self._timeout_s:g} s") from None
