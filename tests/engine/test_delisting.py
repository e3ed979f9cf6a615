"""A symbol that the listings file says to be delisted is halted and its orders go; one that it lists again trades."""

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fixtures.commands import ALICE, TIMEOUT_S, sell
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine, fund
from fixtures.trading import eventually
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession

pytestmark = pytest.mark.server


def _write(engine: RunningEngine, delisted: tuple[str, ...]) -> None:
    symbols = [symbol for symbol in LISTINGS["symbols"] if symbol["symbol"] not in delisted]
    document: dict[str, Any] = {**LISTINGS, "symbols": symbols} | ({"delisted": delisted} if delisted else {})
    engine.listings.write_text(json.dumps(document))


async def _until(holds: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, lambda: holds() or None, 20)


def _status(engine: RunningEngine) -> Any:
    return httpx.get(f"http://{engine.status_address}/status", timeout=5).json()


async def test_a_delisted_symbol_is_halted_and_its_orders_are_cancelled_also_after_a_restart(
    engine: RunningEngine,
) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        for _ in range(3):
            assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")
        _write(engine, ("BTCUSDT",))
        await _until(lambda: _status(engine)["delisted"] == {"BTCUSDT": 0})
        asked = v1.Query(account_safety=v1.AccountSafetyQuery(account=ALICE))
        assert (await gateway.query(asked, TIMEOUT_S)).account_safety.open_orders == 0
        refused = await gateway.command(sell(30_000_00, 1), TIMEOUT_S)
        assert "delisted/BTCUSDT: it is delisted" in refused.rejection.detail
        listed = (await gateway.query(v1.Query(listings=v1.ListingsQuery()), TIMEOUT_S)).listings
        states = {each.definition.symbol: v1.SymbolState.Name(each.state) for each in listed.symbols}
        assert states == {"BTCUSDT": "SYMBOL_STATE_HALT", "ETHUSDT": "SYMBOL_STATE_TRADING"}
    engine.kill()
    engine.start()
    await _until(lambda: _status(engine)["delisted"] == {"BTCUSDT": 0})
    _write(engine, ())
    await _until(lambda: _status(engine)["delisted"] == {})
    async with engine.session(Component.GATEWAY) as gateway:
        assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")


async def test_a_symbol_that_the_file_merely_does_not_name_trades_on(engine: RunningEngine) -> None:
    document = {"assets": [*LISTINGS["assets"], {"name": "XRP", "scale": 6}], "symbols": []}
    engine.listings.write_text(json.dumps(document))
    await _until(lambda: "listed XRP" in engine.log.read_text())
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")


async def test_a_symbol_that_is_delisted_while_it_is_on_its_way_is_halted_where_it_comes_to(
    engine_factory: EngineFactory,
) -> None:
    """Its orders are cancelled there, and it never trades there."""
    source, target = engine_factory(shard="main"), engine_factory(shard="second")
    for each in (source, target):
        _write(each, () if each is source else ("BTCUSDT",))
        each.start()
    await _until(lambda: _status(target)["delisted"] == {"BTCUSDT": 0})
    move_id = uuid.uuid4().bytes
    async with (
        source.session(Component.LEDGER) as main,
        target.session(Component.LEDGER) as second,
        source.session(Component.GATEWAY) as trader,
        target.session(Component.GATEWAY) as follower,
    ):
        await fund(main)
        assert (await trader.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")
        freeze = v1.FreezeSymbol(move_id=move_id, symbol="BTCUSDT", to_shard="second")
        await _done(main, v1.Command(freeze_symbol=freeze))
        _write(source, ("BTCUSDT",))
        await _until(lambda: "delisted/BTCUSDT" in {halt["name"] for halt in _status(source)["halts"]})
        part, parts = 0, 1
        while part < parts:
            record = v1.Query(symbol_record=v1.SymbolRecordQuery(move_id=move_id, part=part))
            asked = (await main.query(record, TIMEOUT_S)).symbol_record
            arriving = v1.ImportSymbol(
                move_id=move_id,
                from_shard="main",
                part=part,
                parts=asked.parts,
                record_sha256=asked.record_sha256,
                record=asked.record.SerializeToString(),
            )
            await _done(second, v1.Command(import_symbol=arriving))
            part, parts = part + 1, asked.parts
        refused = await follower.command(sell(30_000_00, 1), TIMEOUT_S)
        assert "delisted/BTCUSDT: it is delisted" in refused.rejection.detail
        safety = v1.Query(account_safety=v1.AccountSafetyQuery(account=ALICE))

        async def open_orders() -> int:
            return (await follower.query(safety, TIMEOUT_S)).account_safety.open_orders

        async with asyncio.timeout(20):
            left = await open_orders()
            while left > 0:
                await asyncio.sleep(0.1)
                left = await open_orders()
        await _done(main, v1.Command(complete_move=v1.CompleteMove(move_id=move_id)))
        await _until(lambda: _status(source)["moved"] == {"BTCUSDT": "second"})
        await _until(lambda: _status(source)["delisted"] == {"BTCUSDT": 0})
    markets = {symbol for market in _status(source)["markets"] for symbol in market["symbols"]}
    assert "BTCUSDT" not in markets, "it is none of this shard's any more"


async def _done(session: EngineSession, command: v1.Command) -> None:
    command.command_id = uuid.uuid4().bytes
    reply = await session.command(command, TIMEOUT_S)
    assert reply.HasField("done"), reply
