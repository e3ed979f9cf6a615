"""What is due by the clock happens on time without anybody asking for it, and with no more ticks than it takes."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.commits import Alone
from fixtures.engines import LISTINGS
from openbourse.contracts import v1
from openbourse.contracts.listings import Listings
from openbourse.engine import _core
from openbourse.engine.loop import Loop
from openbourse.engine.own import OwnRequests
from openbourse.engine.ticks import GAP_S, Ticks, until_tick_s


@pytest.mark.parametrize(
    ("due_us", "now_us", "since_last_s", "expected_s"),
    [
        (5_000_000, 2_000_000, 100.0, 3.0),
        (5_000_000, 5_000_000, 100.0, 0.0),
        # It is late, but one tick in 10 ms is enough.
        (1_000_000, 5_000_000, 0.0, GAP_S),
        (1_000_000, 5_000_000, float("inf"), -4.0),
    ],
)
def test_a_tick_waits_for_what_is_due_and_for_the_one_before(
    due_us: int, now_us: int, since_last_s: float, expected_s: float
) -> None:
    assert until_tick_s(due_us, now_us, since_last_s) == expected_s


@dataclass(frozen=True, slots=True)
class Ticking:
    """A shard of version 2 with two symbols, on a core of its own, ticked as in the process."""

    core: _core.Engine
    loop: Loop
    own: OwnRequests
    ticks: Ticks

    async def done(self, command: v1.Command) -> int:
        reply = await self.own.sequence(command)
        assert reply.HasField("done"), reply
        return reply.seq

    async def change(self, symbol: str, state: v1.SymbolState.ValueType, duration_ms: int) -> int:
        change = v1.ChangeSymbolState(symbol=symbol, state=state, duration_ms=duration_ms)
        return await self.done(v1.Command(change_symbol_state=change))

    async def states(self) -> dict[str, v1.SymbolState.ValueType]:
        answer = await self.own.ask(v1.Query(listings=v1.ListingsQuery()))
        return {listing.definition.symbol: listing.state for listing in answer.listings.symbols}

    async def until_trading(self, symbol: str) -> None:
        for _ in range(1000):
            if (await self.states())[symbol] == v1.SymbolState.SYMBOL_STATE_TRADING:
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{symbol} is not TRADING")


@pytest.fixture
async def ticking(tmp_path: Path) -> AsyncIterator[Ticking]:
    core = _core.Engine(tmp_path, "main")
    loop = Loop(core)
    Alone(loop).lead()
    own = OwnRequests(loop)
    ticks = Ticks(core, own)
    loop.on_committed.append(ticks.committed)
    shard = Ticking(core, loop, own, ticks)
    await shard.done(v1.Command(change_version=v1.ChangeVersion(version=2)))
    for definition in Listings.model_validate(LISTINGS).definitions():
        if isinstance(definition, v1.DefineAsset):
            await shard.done(v1.Command(define_asset=definition))
        else:
            await shard.done(v1.Command(define_symbol=definition))
    yield shard
    ticks.stop()
    loop.stop()


async def test_a_phase_ends_by_itself_with_one_tick(ticking: Ticking) -> None:
    before = await ticking.change("BTCUSDT", v1.SymbolState.SYMBOL_STATE_POST_ONLY, 150)
    began = time.monotonic()
    assert (await ticking.states())["BTCUSDT"] == v1.SymbolState.SYMBOL_STATE_POST_ONLY
    await ticking.until_trading("BTCUSDT")
    assert 0.1 < time.monotonic() - began < 2
    await asyncio.sleep(0.1)
    assert ticking.core.committed_seq == before + 1, "one tick, and nothing more"
    assert ticking.core.next_due_us is None


async def test_the_earlier_of_two_ends_is_ticked_first(ticking: Ticking) -> None:
    await ticking.change("BTCUSDT", v1.SymbolState.SYMBOL_STATE_POST_ONLY, 60_000)
    await ticking.change("ETHUSDT", v1.SymbolState.SYMBOL_STATE_POST_ONLY, 100)
    await ticking.until_trading("ETHUSDT")
    assert (await ticking.states())["BTCUSDT"] == v1.SymbolState.SYMBOL_STATE_POST_ONLY


async def test_what_became_due_while_nobody_was_there_is_done_at_the_start(ticking: Ticking) -> None:
    ticking.loop.on_committed.clear()
    before = await ticking.change("BTCUSDT", v1.SymbolState.SYMBOL_STATE_POST_ONLY, 1)
    await asyncio.sleep(0.05)
    assert ticking.core.committed_seq == before
    ticking.ticks.look()
    await ticking.until_trading("BTCUSDT")


async def test_nothing_due_is_no_tick(ticking: Ticking) -> None:
    seq = ticking.core.committed_seq
    ticking.ticks.look()
    await asyncio.sleep(0.05)
    assert ticking.core.committed_seq == seq
