"""A call that never returns, as into an HSM that hangs: given up on, not started twice, and no reason not to end."""

import asyncio
import subprocess
import sys
import threading

import pytest

from openbourse.contracts.blocking import Blocking


class Away(Exception):
    pass


async def test_what_a_call_returns_or_raises_is_handed_on() -> None:
    calls = Blocking("the thing", 5, Away)

    def refuse() -> int:
        raise LookupError("no")

    assert await calls.call(lambda: 7) == 7
    with pytest.raises(LookupError, match="no"):
        await calls.call(refuse)
    assert await calls.call(lambda: 8) == 8


async def test_a_call_that_hangs_is_given_up_on_and_not_started_twice() -> None:
    calls, go_on, started = Blocking("the thing", 0.05, Away), threading.Event(), []

    def hang() -> bool:
        started.append(1)
        return go_on.wait(30)

    with pytest.raises(Away, match=r"the thing does not answer within 0\.05 s"):
        await calls.call(hang)
    with pytest.raises(Away, match="the thing still does not answer a call of before"):
        await calls.call(hang)
    assert started == [1]
    go_on.set()
    async with asyncio.timeout(5):
        while True:
            try:
                assert await calls.call(lambda: 9) == 9
                break
            except Away:
                await asyncio.sleep(0.01)


def test_a_call_that_hangs_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading
from openbourse.contracts.blocking import Blocking
async def run():
    try:
        await Blocking("the thing", 0.05, TimeoutError).call(threading.Event().wait)
    except TimeoutError as error:
        print(error)
asyncio.run(run())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("the thing does not answer within 0.05 s\n", "")
