"""kill -9 of a real engine: nothing acknowledged is lost, a resend gets the first answer, hashes are the same."""

import asyncio
import contextlib
import random
import secrets

import pytest

from fixtures.commands import ALICE, TIMEOUT_S, buy, sell
from fixtures.engines import RunningEngine, fund
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession, committed_events
from openbourse.contracts.unanswered import Unavailable
from openbourse.engine import _core
from openbourse.engine.journal import wal

pytestmark = pytest.mark.server

KILLS = 20
AT_ONCE = 64


async def test_a_resend_across_a_kill_gets_the_first_answer(engine: RunningEngine) -> None:
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        order = sell(30_000_00, 1000)
        first = await gateway.command(order, TIMEOUT_S)
        engine.kill()
        engine.start()
        again = await gateway.command(order, TIMEOUT_S)
        assert again == first
        orders = await gateway.query(v1.Query(open_orders=v1.OpenOrdersQuery(account=ALICE)), TIMEOUT_S)
        assert [order.order_id for order in orders.orders.orders] == [first.seq]


@pytest.mark.timeout(180)
async def test_twenty_kills_under_load_lose_nothing_that_was_acknowledged(engine: RunningEngine) -> None:
    """Every reply that ever came is in the log as it was said, and every checkpoint that was streamed comes again."""
    dice = random.Random(20)  # noqa: S311 (a load, no secret)
    acknowledged: dict[bytes, v1.Reply] = {}
    streamed: dict[int, bytes] = {}
    async with engine.session(Component.LEDGER) as ledger, engine.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        load = [asyncio.create_task(_trade(gateway, dice, acknowledged)) for _ in range(AT_ONCE)]
        watch = asyncio.create_task(_checkpoints(engine, streamed))
        try:
            for _ in range(KILLS):
                await asyncio.sleep(dice.uniform(0.1, 0.4))
                before = max((reply.seq for reply in acknowledged.values()), default=0)
                await asyncio.to_thread(engine.kill)
                await asyncio.to_thread(engine.start)
                assert engine.status()["committed_seq"] >= before
        finally:
            for task in (*load, watch):
                task.cancel()
            results = await asyncio.gather(*load, watch, return_exceptions=True)
        assert [r for r in results if not isinstance(r, asyncio.CancelledError)] == []
    status = engine.status()
    assert status["epoch"] == KILLS + 1
    engine.kill()

    report = wal.verify(engine.wal)
    assert report.damaged is None
    replies: dict[bytes, v1.Reply] = {}
    checkpoints: dict[int, bytes] = {}
    kernel = _core.Kernel(engine.shard)
    for seq, epoch, time_us, _first, _chain, command in _core.Records(engine.wal, 1, report.last_seq):
        encoded, events = kernel.step(seq, epoch, time_us, command)
        reply = v1.Reply.FromString(encoded)
        replies.setdefault(reply.command_id, reply)
        for event in v1.Events.FromString(events).events:
            if event.WhichOneof("body") == "engine_checkpoint":
                checkpoints[seq] = event.engine_checkpoint.state_hash
    lost = [reply for command_id, reply in acknowledged.items() if replies.get(command_id) != reply]
    assert lost == []
    assert len(acknowledged) > 1000
    assert streamed
    assert streamed.items() <= checkpoints.items()


async def _trade(gateway: EngineSession, dice: random.Random, acknowledged: dict[bytes, v1.Reply]) -> None:
    while True:
        make = sell if dice.random() < 0.5 else buy
        command = make(30_000_00 + dice.randrange(20), dice.randrange(1, 50))
        with contextlib.suppress(Unavailable):
            acknowledged[command.command_id] = await gateway.command(command, 60)


async def _checkpoints(engine: RunningEngine, streamed: dict[int, bytes]) -> None:
    tls = engine.client_tls(Component.LEDGER)
    async for events in committed_events(engine.shard, [engine.address], tls, secrets.token_hex(2), 1):
        for event in events.events:
            if event.WhichOneof("body") == "engine_checkpoint":
                streamed[event.seq] = event.engine_checkpoint.state_hash
