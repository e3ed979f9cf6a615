"""Trading goes on while engine and ledger are killed, again and again.

`make test` runs it for seconds, `make soak` for half an hour. The seed is printed; it is the reproduction of what was
done, though not of when.
"""

import asyncio
import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable

import pytest

from fixtures.commands import buy, cancel, sell
from fixtures.engines import RunningEngine
from fixtures.ledgers import RunningLedger
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession

SOAK_S = float(os.environ.get("SOAK_S", "15"))
FAULT_EVERY_S = 3.0
ACCOUNTS = range(1001, 1007)
ASK_TIMEOUT_S = 30.0
RECENT = 2_000

pytestmark = [pytest.mark.server, pytest.mark.soak, pytest.mark.timeout(SOAK_S * 2 + 120)]


async def trade(
    gateway: EngineSession, account: int, chance: random.Random, acknowledged: deque[int], until: float
) -> None:
    """Orders around one price, a third of them cancelled. Each answer is remembered with its account."""
    while time.monotonic() < until:
        side = chance.choice((buy, sell))
        reply = await gateway.command(
            side(5_000_000 + chance.randint(-20, 20), chance.randint(1, 500), account), ASK_TIMEOUT_S
        )
        if reply.WhichOneof("result") != "order":
            assert reply.rejection.reason == v1.RejectReason.REJECT_REASON_INSUFFICIENT_FUNDS
            continue
        order = reply.order.order
        acknowledged.append(order.order_id)
        if order.status != v1.OrderStatus.ORDER_STATUS_FILLED and chance.random() < 1 / 3:
            await gateway.command(cancel(account, order.order_id), ASK_TIMEOUT_S)


async def break_things(chance: random.Random, faults: list[Callable[[], None]], until: float) -> int:
    count = 0
    while time.monotonic() < until:
        await asyncio.sleep(FAULT_EVERY_S)
        await asyncio.to_thread(chance.choice(faults))
        count += 1
    return count


async def test_nothing_is_lost_while_engine_and_ledger_are_killed(engine: RunningEngine, ledger: RunningLedger) -> None:
    seed = int(os.environ.get("SEED", str(random.SystemRandom().randrange(2**32))))
    print(f"SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    async with ledger.client() as http:
        for account in ACCOUNTS:
            for asset in ("BTC", "USDT"):
                deposit = {"account": account, "asset": asset, "amount": "1000000"}
                (await http.post("/v1/deposits", json=deposit)).raise_for_status()

    def kill_engine() -> None:
        engine.kill()
        engine.start()

    def kill_ledger() -> None:
        ledger.stop(signal.SIGKILL)
        ledger.start(ready=False)

    until = time.monotonic() + SOAK_S
    acknowledged: dict[int, deque[int]] = {account: deque(maxlen=RECENT) for account in ACCOUNTS}
    async with engine.session(Component.GATEWAY) as gateway:
        async with asyncio.TaskGroup() as tasks:
            for account, orders in acknowledged.items():
                tasks.create_task(trade(gateway, account, random.Random(chance.random()), orders, until))  # noqa: S311
            breaking = tasks.create_task(break_things(chance, [kill_engine, kill_ledger], until))
        assert breaking.result() >= 2
        assert all(acknowledged.values())
        for account, orders in acknowledged.items():
            for order_id in orders:
                query = v1.Query(order=v1.OrderQuery(account=account, symbol="BTCUSDT", order_id=order_id))
                answer = await gateway.query(query, ASK_TIMEOUT_S)
                assert answer.WhichOneof("body") == "orders", f"order {order_id} was acknowledged and is gone"
    async with ledger.client() as http:
        report = (await http.post("/v1/reconcile")).raise_for_status().json()
    assert report["equal"] is True, report
