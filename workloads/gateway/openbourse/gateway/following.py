"""Commands of symbols, which go where the symbol is: one that moves between shards meanwhile is followed.

A shard that the symbol is leaving, or has left, carries out nothing of it and remembers nothing of what it refused, so
the same command may be sent again. Until the symbol takes commands somewhere, what comes for it waits here, in the
order in which it came, and is sent where the symbol is then. Nobody waits longer than for any answer.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from msgspec import Struct

from openbourse.contracts import v1
from openbourse.contracts.session import Busy
from openbourse.gateway import engines, errors
from openbourse.gateway.engines import Engine, no_reply
from openbourse.gateway.errors import Refused, Unavailable

# Of all symbols together.
HELD_MOST = 10_000
# A move keeps a symbol from trading for some tenths of a second.
LOOK_FIRST_S, LOOK_MOST_S = 0.002, 0.05

# Called once, and must not raise.
Answered = Callable[[v1.Reply | Refused], None]

_ELSEWHERE = (v1.RejectReason.REJECT_REASON_SYMBOL_MOVING, v1.RejectReason.REJECT_REASON_SYMBOL_MOVED)


class _Command(Struct, eq=False, gc=False):
    """One that somebody waits for."""

    following: "Following"
    symbol: str
    id: bytes
    body: bytes
    answered: Answered
    until_s: float
    # That it was sent to last.
    engine: Engine | None = None

    def heard(self, answer: v1.Reply | Exception) -> None:
        if isinstance(answer, Exception):
            self.answered(no_reply(answer))
            return
        engine = self.engine
        assert engine is not None
        # A command that the symbol's former shard carried out has its answer from there, with that one's seq.
        if answer.seq > engine.seq and answer.shard == engine.shard:
            engine.seq = answer.seq
        is_refused = answer.HasField("rejection")
        if not (is_refused and answer.rejection.reason in _ELSEWHERE and self.following.hold(self, is_refused=True)):
            self.answered(answer)


@dataclass(slots=True)
class _Held:
    """Of one symbol. What its shard refused came before what was not sent yet."""

    refused: list[_Command] = field(default_factory=list)
    unsent: list[_Command] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.refused) + len(self.unsent)

    @property
    def first_until_s(self) -> float:
        return min(command.until_s for command in self.commands())

    def commands(self) -> list[_Command]:
        return [*self.refused, *self.unsent]

    def take_late(self, now_s: float) -> list[_Command]:
        """Those whose time is over."""
        late = [command for command in self.commands() if command.until_s <= now_s]
        self.refused = [command for command in self.refused if command.until_s > now_s]
        self.unsent = [command for command in self.unsent if command.until_s > now_s]
        return late


class Following:
    """`run` must be running for symbols to be followed; else what a shard refused is answered as it is."""

    def __init__(self, engine_of: Callable[[str], Engine], look: Callable[[str], Awaitable[bool]]) -> None:
        """`engine_of`: where a symbol is, as far as is known; raises Refused. `look`: asks where it is, and says
        whether it takes commands there."""
        self._engine_of = engine_of
        self._look = look
        self._held: dict[str, _Held] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def __len__(self) -> int:
        """How many commands wait for their symbol to arrive."""
        return sum(map(len, self._held.values()))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await asyncio.get_running_loop().create_future()

    def submit(self, symbol: str, command_id: bytes, body: bytes, answered: Answered) -> None:
        """`body` is a v1.Command's. Raises Refused, and then `answered` is not called."""
        timeout_s = engines.COMMAND_TIMEOUT_S
        command = _Command(self, symbol, command_id, body, answered, time.monotonic() + timeout_s)
        if symbol not in self._held:
            self._send(command, timeout_s)
        elif not self.hold(command, is_refused=False):
            raise Unavailable(errors.BUSY, detail=f"{HELD_MOST} commands wait for symbols that move between shards")

    def _send(self, command: _Command, timeout_s: float) -> None:
        """Raises Refused."""
        engine = command.engine = self._engine_of(command.symbol)
        try:
            engine.session.submit(command.id, command.body, command.heard, timeout_s)
        except Busy as error:
            raise no_reply(error) from error

    def hold(self, command: _Command, *, is_refused: bool) -> bool:
        """Until its symbol is where it can be sent to. False: too many wait, or nobody follows symbols."""
        if self._tasks is None or len(self) >= HELD_MOST:
            return False
        held = self._held.get(command.symbol)
        if held is None:
            held = self._held[command.symbol] = _Held()
            self._tasks.create_task(self._follow(command.symbol, held))
        (held.refused if is_refused else held.unsent).append(command)
        return True

    async def _follow(self, symbol: str, held: _Held) -> None:
        try:
            for turn in itertools.count():
                await asyncio.sleep(min(LOOK_FIRST_S * 2 ** min(turn, 10), LOOK_MOST_S))
                takes_commands = False
                # Whose time is over then is told so below.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(held.first_until_s - time.monotonic()):
                        takes_commands = await self._look(symbol)
                for late in held.take_late(time.monotonic()):
                    late.answered(Unavailable(errors.BUSY, detail=f"{symbol} is moving to another shard; nothing done"))
                if takes_commands or not held:
                    return
        finally:
            # First: what is refused once more is held anew.
            del self._held[symbol]
            for command in held.commands():
                try:
                    self._send(command, command.until_s - time.monotonic())
                except Refused as refusal:
                    command.answered(refusal)
