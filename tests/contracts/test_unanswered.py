"""Who asked is called once, with the answer or when its own time is over."""

import asyncio

from openbourse.contracts import v1
from openbourse.contracts.unanswered import Unanswered, Unavailable

KEY = b"k" * 16
REPLY = v1.Reply(command_id=KEY, seq=7)


class Askers:
    def __init__(self) -> None:
        self.unanswered: Unanswered[v1.Reply] = Unanswered("main")
        self.heard: list[tuple[str, v1.Reply | Exception]] = []

    def ask(self, name: str, key: bytes, timeout_s: float) -> None:
        self.unanswered.add(key, b"frame", lambda answer: self.heard.append((name, answer)), timeout_s)

    def names(self) -> list[tuple[str, bool]]:
        """And whether it was answered."""
        return [(name, answer is REPLY) for name, answer in self.heard]


async def test_each_is_given_up_at_its_own_time_and_called_once() -> None:
    askers = Askers()
    askers.ask("patient", KEY, 0.3)
    askers.ask("hasty", KEY, 0.02)
    askers.ask("other", b"o" * 16, 0.02)
    await asyncio.sleep(0.15)
    assert askers.names() == [("hasty", False), ("other", False)]
    assert all(isinstance(answer, Unavailable) for _, answer in askers.heard)
    askers.unanswered.answer(KEY, REPLY)
    askers.unanswered.answer(KEY, REPLY)
    await asyncio.sleep(0.25)
    assert askers.names()[2:] == [("patient", True)]
    assert len(askers.unanswered) == 0


async def test_one_that_comes_later_with_less_time_is_given_up_first() -> None:
    askers = Askers()
    askers.ask("first", KEY, 30)
    askers.ask("second", b"o" * 16, 0.02)
    await asyncio.sleep(0.1)
    assert askers.names() == [("second", False)]
    assert len(askers.unanswered) == 1


async def test_what_goes_out_again_was_sent_more_than_once() -> None:
    askers = Askers()
    askers.ask("first", KEY, 30)
    assert not askers.unanswered.was_resent(KEY)
    assert list(askers.unanswered.again()) == [b"frame"]
    assert askers.unanswered.was_resent(KEY)
    askers.unanswered.answer(KEY, REPLY)
    assert not askers.unanswered.was_resent(KEY)
