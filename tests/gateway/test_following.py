"""What becomes of commands whose symbol is between two shards: held in their order, sent once it is there, never longer
than anybody waits. The shards here answer as a test says; real ones are in tests/clients/test_two_shards.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from openbourse.contracts import v1
from openbourse.contracts.session import Busy
from openbourse.gateway import engines, errors, following
from openbourse.gateway.errors import Refused, Unavailable
from openbourse.gateway.following import Following

SYMBOL = "BTCUSDT"
MOVING, MOVED = v1.RejectReason.REJECT_REASON_SYMBOL_MOVING, v1.RejectReason.REJECT_REASON_SYMBOL_MOVED
WAITS_S = 5.0

Asker = Callable[[v1.Reply | Exception], None]


@dataclass
class ShardOfTest:
    """In place of an Engine and its session: it keeps what it was sent, and answers when it is told to."""

    shard: str
    seq: int = 0
    sent: list[tuple[bytes, Asker]] = field(default_factory=list)
    is_busy: bool = False

    @property
    def session(self) -> "ShardOfTest":
        return self

    def submit(self, command_id: bytes, _body: bytes, answered: Asker, timeout_s: float) -> None:
        assert 0 < timeout_s <= engines.COMMAND_TIMEOUT_S
        if self.is_busy:
            raise Busy("too many wait")
        self.sent.append((command_id, answered))

    def answer(self, *reasons: v1.RejectReason.ValueType | None) -> None:
        """What was sent first, first; None: it is carried out."""
        for reason in reasons:
            command_id, answered = self.sent.pop(0)
            self.seq += 1
            reply = v1.Reply(command_id=command_id, shard=self.shard, seq=self.seq, done=v1.Done())
            if reason is not None:
                reply.rejection.reason = reason
            answered(reply)

    @property
    def waiting(self) -> bytes:
        return b"".join(command_id for command_id, _ in self.sent)


@dataclass
class Exchange:
    """Where the symbol is, and what gateways know of it when they look."""

    main: ShardOfTest = field(default_factory=lambda: ShardOfTest("main"))
    hot: ShardOfTest = field(default_factory=lambda: ShardOfTest("hot"))
    is_in_hot: bool = False
    takes_commands: bool = False
    looks: int = 0
    answers: dict[bytes, v1.Reply | Refused] = field(default_factory=dict)
    following: Following = field(init=False)

    def __post_init__(self) -> None:
        self.following = Following(self.engine_of, self.look)  # type: ignore[arg-type]

    def engine_of(self, _symbol: str) -> ShardOfTest:
        return self.hot if self.is_in_hot else self.main

    async def look(self, _symbol: str) -> bool:
        self.looks += 1
        return self.takes_commands

    def send(self, ids: str, symbol: str = SYMBOL) -> None:
        for each in ids:
            name = each.encode()
            self.following.submit(symbol, name, b"", lambda answer, name=name: self.heard(name, answer))  # type: ignore[misc]

    def heard(self, name: bytes, answer: v1.Reply | Refused) -> None:
        assert name not in self.answers, "answered twice"
        self.answers[name] = answer

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + WAITS_S
        while not holds():
            assert time.monotonic() < deadline_s, self
            await asyncio.sleep(0.001)


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    made = Exchange()
    running = asyncio.create_task(made.following.run())
    await asyncio.sleep(0)
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_comes_while_a_symbol_moves_is_sent_where_it_is_then_in_its_order(exchange: Exchange) -> None:
    exchange.send("abcd")
    exchange.main.answer(None, MOVING)
    # Behind the refused ones, though these are not all refused yet; another symbol's goes its way.
    exchange.send("ef")
    exchange.send("z", "ETHUSDT")
    exchange.main.answer(MOVING, MOVED)
    assert exchange.main.waiting == b"z"
    await exchange.until(lambda: exchange.looks > 2)
    assert (exchange.main.waiting, exchange.hot.waiting, len(exchange.following)) == (b"z", b"", 5)
    exchange.is_in_hot = exchange.takes_commands = True
    await exchange.until(lambda: len(exchange.hot.sent) == 5)
    assert exchange.hot.waiting == b"bcdef"
    exchange.hot.answer(*[None] * 5)
    assert exchange.answers.keys() == {b"a", b"b", b"c", b"d", b"e", b"f"}
    assert len(exchange.following) == 0


async def test_a_symbol_that_moves_on_is_followed_on_and_one_that_stays_is_served_where_it_was(
    exchange: Exchange,
) -> None:
    exchange.takes_commands = True
    exchange.send("ab")
    for _ in range(3):
        exchange.main.answer(MOVING, MOVING)
        await exchange.until(lambda: exchange.main.waiting == b"ab")
    exchange.main.answer(None, None)
    assert exchange.answers.keys() == {b"a", b"b"}


async def test_nobody_waits_longer_than_for_any_answer_and_is_told_that_nothing_was_done(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "COMMAND_TIMEOUT_S", 0.05)
    exchange.send("a")
    exchange.main.answer(MOVING)
    await exchange.until(lambda: b"a" in exchange.answers)
    refused = exchange.answers[b"a"]
    assert isinstance(refused, Unavailable)
    assert (refused.code, refused.status) == (errors.BUSY.code, 503)
    # The next one asks the shard anew.
    exchange.send("b")
    assert exchange.main.waiting == b"b"


async def test_too_many_that_wait_and_a_shard_that_is_too_busy_are_said(
    exchange: Exchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HELD_MOST", 2)
    exchange.send("abc")
    exchange.main.answer(MOVING, MOVING, MOVING)
    # Of the one that has no room its shard's own word.
    assert exchange.answers.keys() == {b"c"}
    with pytest.raises(Unavailable, match="Server is currently overloaded"):
        exchange.send("d")
    exchange.hot.is_busy = exchange.is_in_hot = exchange.takes_commands = True
    await exchange.until(lambda: len(exchange.answers) == 3)
    assert {type(exchange.answers[name]) for name in (b"a", b"b")} == {Unavailable}


async def test_an_answer_that_came_along_with_the_symbol_does_not_make_its_shard_look_newer(exchange: Exchange) -> None:
    exchange.send("a")
    _, answered = exchange.main.sent.pop()
    answered(v1.Reply(command_id=b"a", shard="hot", seq=4711, done=v1.Done()))
    assert exchange.main.seq == 0
    assert exchange.answers.keys() == {b"a"}
