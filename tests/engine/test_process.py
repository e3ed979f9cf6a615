"""A real engine process over mutual TLS: orders, queries, the stream, a stop and a kill."""

import asyncio
import json
import signal
import urllib.error
import urllib.request

import pytest

from fixtures.commands import ALICE, BTC, TIMEOUT_S, buy, cancel, sell
from fixtures.engines import RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, committed_events
from openbourse.engine.journal import wal

pytestmark = pytest.mark.server


async def test_an_order_fills_against_another_and_everybody_can_see_it(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        resting = await gateway.command(sell(30_000_00, 1000), TIMEOUT_S)
        assert resting.order.order.status == v1.OrderStatus.ORDER_STATUS_NEW, resting
        depth = await gateway.query(v1.Query(depth=v1.DepthQuery(symbol="BTCUSDT", limit=5)), TIMEOUT_S)
        assert [(level.price_ticks, level.quantity_lots) for level in depth.depth.asks] == [(30_000_00, 1000)]
        assert depth.seq == resting.seq

        filled = await gateway.command(buy(30_000_00, 400), TIMEOUT_S)
        assert filled.order.order.status == v1.OrderStatus.ORDER_STATUS_FILLED
        assert [fill.quantity_lots for fill in filled.order.fills] == [400]

        canceled = await gateway.command(cancel(ALICE, resting.order.order.order_id), TIMEOUT_S)
        assert canceled.order.order.status == v1.OrderStatus.ORDER_STATUS_CANCELED
        assert canceled.order.order.executed_lots == 400

    seqs: list[int] = []
    trades = 0
    async with asyncio.timeout(TIMEOUT_S):
        tls = engine.client_tls(Component.LEDGER)
        async for events in committed_events("main", [engine.address], tls, "test", 1):
            seqs += range(events.first_seq, events.last_seq + 1)
            trades += sum(event.WhichOneof("body") == "trade_executed" for event in events.events)
            if events.last_seq >= canceled.seq:
                break
    assert seqs == list(range(1, canceled.seq + 1))
    assert trades == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopped_engine_exits_clean_and_goes_on_where_it_was(
    engine: RunningEngine, number: signal.Signals
) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        placed = await gateway.command(sell(30_000_00, 1000), TIMEOUT_S)
        assert engine.stop(number) == 0
        engine.start()
        status = engine.status()
        assert status["epoch"] == placed.epoch + 1
        assert status["last_checkpoint_seq"] == status["committed_seq"] == placed.seq + 1
        balances = await gateway.query(v1.Query(account=v1.AccountQuery(account=ALICE)), TIMEOUT_S)
        assert [(b.asset, b.available, b.hold) for b in balances.balances.balances] == [
            ("BTC", 1_000 * BTC - 1000 * 1000, 1000 * 1000)
        ]


async def test_a_stop_under_load_answers_what_it_took_and_ends_with_a_checkpoint(engine: RunningEngine) -> None:
    acknowledged: list[v1.Reply] = []

    async def trade(gateway: EngineSession) -> None:
        while True:
            acknowledged.append(await gateway.command(sell(30_000_00, 1), 60))

    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        load = [asyncio.create_task(trade(gateway)) for _ in range(50)]
        await asyncio.sleep(0.5)
        assert await asyncio.to_thread(engine.stop) == 0
        report = wal.verify(engine.wal)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
    (last,) = wal.records(engine.wal, report.last_seq, report.last_seq)
    assert "checkpoint" in last["command"]
    assert report.torn is None
    assert 100 < max(reply.seq for reply in acknowledged) < report.last_seq
    # What was in the log when it ended was answered: nothing but the checkpoint came after the last reply.
    assert max(reply.seq for reply in acknowledged) == report.last_seq - 1


def _ask(engine: RunningEngine, path: str, method: str = "GET") -> tuple[int, dict[str, object]]:
    request = urllib.request.Request(f"http://{engine.status_address}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 (loopback)
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def test_the_status_port_answers_probes_and_shows_what_the_engine_is(engine: RunningEngine) -> None:
    assert await asyncio.to_thread(_ask, engine, "/livez") == (200, {"live": True})
    assert await asyncio.to_thread(_ask, engine, "/readyz?verbose") == (200, {"ready": True})
    assert (await asyncio.to_thread(_ask, engine, "/secrets"))[0] == 404
    assert (await asyncio.to_thread(_ask, engine, "/status", "POST"))[0] == 405
    code, status = await asyncio.to_thread(_ask, engine, "/status")
    assert code == 200
    assert (status["shard"], status["role"], status["epoch"]) == ("main", "leader", 1)
    assert status["lag"] == {
        "pending_commands": 0,
        "settled_seq": None,
        "settlement_lag_ms": 0,
        "furthest_behind": "",
        "consumers": [],
    }
    assert status["safety"] == {"level": "NORMAL", "why": ""}
    assert status["retention"] == {
        "needed_from_seq": 1,
        "why": "no consumer counts: the log is kept for whoever comes",
        "recycled": 0,
        "failure": "",
    }
    assert status["wal_segment"] == "00000000000000000001.wal"
    assert status["halts"] == []
