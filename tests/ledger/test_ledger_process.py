"""A real engine, ledger process and database: deposits, trades, faults of each, and equal books after all."""

import asyncio
import signal
import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from fixtures.databases import LedgerDatabase
from fixtures.engines import RunningEngine
from fixtures.ledgers import LedgerFactory, RunningLedger
from fixtures.traced import slow_syncs
from openbourse.contracts import v1
from openbourse.contracts.component import Component
from openbourse.contracts.session import EngineSession

pytestmark = pytest.mark.server

BUYER, SELLER = 1000, 1001
PRICE_TICKS = 2_000_000


async def deposit(client: httpx.AsyncClient, account: int, asset: str, amount: str, **more: str) -> httpx.Response:
    return await client.post("/v1/deposits", json={"account": account, "asset": asset, "amount": amount, **more})


async def withdraw(client: httpx.AsyncClient, account: int, asset: str, amount: str, **more: str) -> httpx.Response:
    return await client.post("/v1/withdrawals", json={"account": account, "asset": asset, "amount": amount, **more})


async def fund(client: httpx.AsyncClient) -> None:
    for account, asset, amount in ((BUYER, "USDT", "1000000"), (SELLER, "BTC", "100")):
        answer = await deposit(client, account, asset, amount)
        assert (answer.status_code, answer.json()["state"]) == (200, "posted"), answer.text


async def place(session: EngineSession, account: int, side: v1.Side.ValueType, lots: int) -> v1.Reply:
    order = v1.PlaceOrder(
        account=account,
        symbol="BTCUSDT",
        side=side,
        type=v1.OrderType.ORDER_TYPE_LIMIT,
        time_in_force=v1.TimeInForce.TIME_IN_FORCE_GTC,
        price_ticks=PRICE_TICKS,
        quantity_lots=lots,
        client_order_id=uuid.uuid4().hex,
    )
    command = v1.Command(command_id=uuid.uuid4().bytes, correlation_id="test", place_order=order)
    return await session.command(command, 20)


async def trade(session: EngineSession, count: int) -> None:
    """So many trades of one lot, seller first."""
    for _ in range(count):
        for account, side in ((SELLER, v1.Side.SIDE_SELL), (BUYER, v1.Side.SIDE_BUY)):
            reply = await place(session, account, side, 1)
            assert reply.WhichOneof("result") == "order", reply


async def reconciled(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.post("/v1/reconcile")
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    assert report["equal"], report
    return report


async def test_deposits_trades_and_reconciliation_from_end_to_end(engine: RunningEngine, ledger: RunningLedger) -> None:
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await fund(client)
        await trade(session, 3)
        report = await reconciled(client)
        assert report["accounts"] == 4
        trades = (await client.get("/v1/trades", params={"account": BUYER, "symbol": "BTCUSDT"})).json()["trades"]
        assert [row["trade_id"] for row in trades] == [1, 2, 3]
        assert {(row["is_buyer"], row["is_maker"], row["fee_asset"]) for row in trades} == {(True, False, "BTC")}
        assert {(row["price_ticks"], row["quantity_lots"]) for row in trades} == {(PRICE_TICKS, 1)}
        balances = (await client.get("/v1/balances", params={"account": SELLER})).json()["balances"]
        # 100 BTC less three lots of 0.00001; three times 0.2 USDT less 0.1 % of it.
        assert [(row["asset"], row["available"], row["hold"]) for row in balances] == [
            ("BTC", 9_999_997_000, 0),
            ("USDT", 3 * (20_000_000 - 20_000), 0),
        ]
        status = ledger.status()
        assert (status["state"], status["trades_settled"], status["ready"]) == ("settling", 3, True)


async def test_trades_are_found_by_id_order_time_and_side(engine: RunningEngine, ledger: RunningLedger) -> None:
    async with ledger.client(Component.GATEWAY) as client, engine.session(Component.GATEWAY) as session:
        async with ledger.client() as person:
            await fund(person)
            await trade(session, 6)
            await reconciled(person)

        async def ids(**wanted: int) -> list[int]:
            answer = await client.get("/v1/trades", params={"account": SELLER, "symbol": "BTCUSDT", **wanted})
            assert answer.status_code == 200, answer.text
            return [row["trade_id"] for row in answer.json()["trades"]]

        everything = await client.get("/v1/trades", params={"account": SELLER, "symbol": "BTCUSDT"})
        third = everything.json()["trades"][2]
        assert await ids(limit=2) == [5, 6]
        assert await ids(from_id=2, limit=3) == [2, 3, 4]
        assert await ids(order_id=third["order_id"]) == [3]
        first_ms, last_ms = everything.json()["trades"][0]["time_us"] // 1000, third["time_us"] // 1000
        assert set(await ids(start_time_ms=first_ms, end_time_ms=last_ms)) >= {1, 2, 3}
        assert await ids(end_time_ms=first_ms - 1) == []
        assert await ids(start_time_ms=first_ms + 3_600_000) == []


BAD_TRANSFERS = [
    ({"account": 999, "asset": "USDT", "amount": "1"}, "account 999 is not a trader's: those are 1000 to"),
    ({"account": 2**63, "asset": "USDT", "amount": "1"}, "is not a trader's"),
    ({"account": BUYER, "asset": "DOGE", "amount": "1"}, "asset 'DOGE' is not listed (listed: BTC, ETH, USDT)"),
    ({"account": BUYER, "asset": "USDT", "amount": "0.000000001"}, "has 9 decimals, at most 8 are allowed"),
    ({"account": BUYER, "asset": "USDT", "amount": "0"}, "amount must be greater than 0"),
    ({"account": BUYER, "asset": "USDT", "amount": "-1"}, "is not a decimal number such as 12.5"),
    ({"account": BUYER, "asset": "USDT", "amount": "1e3"}, "is not a decimal number such as 12.5"),
    ({"account": BUYER, "asset": "USDT", "amount": 5}, "amount: Input should be a valid string"),
    ({"account": BUYER, "asset": "USDT"}, "amount: Field required"),
    ({"account": BUYER, "asset": "USDT", "amount": "1", "more": 1}, "more: Extra inputs are not permitted"),
    (
        {"account": BUYER, "asset": "USDT", "amount": "1", "transfer_id": "x"},
        "transfer_id: Input should be a valid UUID",
    ),
]


async def test_a_bad_request_is_refused_with_what_is_allowed(ledger: RunningLedger) -> None:
    async with ledger.client() as client:
        for path in ("/v1/deposits", "/v1/withdrawals"):
            for body, words in BAD_TRANSFERS:
                answer = await client.post(path, json=body)
                assert answer.status_code == 400, answer.text
                assert words in answer.json()["message"]
            assert (await client.post(path, content=b"{")).status_code == 400
            assert (await client.post(path, content=b"x" * 10_000)).status_code == 413
        assert (await client.get("/v1/trades", params={"account": 1})).status_code == 400
        assert (await client.get("/v1/balances", params={"account": 5})).status_code == 400
        assert (await client.get(f"/v1/transfers/{uuid.uuid4()}")).status_code == 404
        assert (await client.get("/v2/anything")).status_code == 404


async def test_only_the_components_that_may_are_answered(ledger: RunningLedger) -> None:
    async with ledger.client(Component.GATEWAY) as gateway, ledger.client(Component.ENGINE) as engine:
        for move in (deposit, withdraw):
            refused = await move(gateway, BUYER, "USDT", "1")
            assert (refused.status_code, refused.json()["message"]) == (403, "gateway may not do this; cli may")
        assert (await engine.get("/v1/balances", params={"account": BUYER})).status_code == 403
        assert (await gateway.get("/v1/balances", params={"account": BUYER})).status_code == 200
    async with httpx.AsyncClient(base_url=ledger.url, verify=False) as stranger:  # noqa: S501
        with pytest.raises(httpx.TransportError):
            await stranger.get("/v1/balances", params={"account": BUYER})


async def test_a_deposit_with_an_id_is_made_once(ledger: RunningLedger) -> None:
    transfer_id = str(uuid.uuid4())
    async with ledger.client() as client:
        answers = await asyncio.gather(
            *(deposit(client, BUYER, "USDT", "5", transfer_id=transfer_id) for _ in range(5))
        )
        assert {answer.status_code for answer in answers} <= {200, 202}
        again = await deposit(client, BUYER, "USDT", "5.0", transfer_id=transfer_id)
        assert (again.status_code, again.json()["state"]) == (200, "posted")
        assert (await client.get(f"/v1/transfers/{transfer_id}")).json() == again.json()
        other = await deposit(client, BUYER, "USDT", "6", transfer_id=transfer_id)
        assert (other.status_code, other.json()["reason"]) == (409, "Conflict")
        (row,) = (await client.get("/v1/balances", params={"account": BUYER})).json()["balances"]
        assert row["available"] == 500_000_000


async def test_a_withdrawal_with_an_id_is_made_once_and_is_no_deposit(ledger: RunningLedger) -> None:
    transfer_id = str(uuid.uuid4())
    async with ledger.client() as client:
        await deposit(client, BUYER, "USDT", "12")
        await asyncio.gather(*(withdraw(client, BUYER, "USDT", "5", transfer_id=transfer_id) for _ in range(5)))
        again = await withdraw(client, BUYER, "USDT", "5.0", transfer_id=transfer_id)
        assert (again.status_code, again.json()["state"], again.json()["direction"]) == (200, "posted", "withdrawal")
        assert (await client.get(f"/v1/transfers/{transfer_id}")).json() == again.json()
        for move, account, asset, amount in (
            (withdraw, BUYER, "USDT", "6"),
            (withdraw, SELLER, "USDT", "5"),
            (withdraw, BUYER, "BTC", "5"),
            (deposit, BUYER, "USDT", "5"),
        ):
            other = await move(client, account, asset, amount, transfer_id=transfer_id)
            assert (other.status_code, other.json()["reason"]) == (409, "Conflict"), other.text
        (row,) = (await client.get("/v1/balances", params={"account": BUYER})).json()["balances"]
        assert row["available"] == 700_000_000
        await reconciled(client)


async def test_only_what_is_available_can_be_withdrawn(engine: RunningEngine, ledger: RunningLedger) -> None:
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await deposit(client, BUYER, "USDT", "10")
        # On hold: 8 of the 10, as 40 lots at 0.2.
        assert (await place(session, BUYER, v1.Side.SIDE_BUY, 40)).WhichOneof("result") == "order"
        for account, amount, available in ((BUYER, "2.00000001", 200_000_000), (SELLER, "0.00000001", 0)):
            refused = await withdraw(client, account, "USDT", amount)
            assert (refused.status_code, refused.json()["state"]) == (200, "voided")
            assert refused.json()["reason"].startswith("INSUFFICIENT_FUNDS: needs ")
            assert refused.json()["reason"].endswith(f", {available} are available")
        assert (await withdraw(client, BUYER, "USDT", "2")).json()["state"] == "posted"
        (row,) = (await client.get("/v1/balances", params={"account": BUYER})).json()["balances"]
        assert (row["available"], row["hold"]) == (0, 800_000_000)
        await reconciled(client)


async def test_a_deposit_that_the_engine_refuses_is_voided_with_the_reason(ledger: RunningLedger) -> None:
    async with ledger.client() as client:
        assert (await deposit(client, BUYER, "USDT", "90000000000")).json()["state"] == "posted"
        refused = (await deposit(client, BUYER, "USDT", "90000000000")).json()
        assert refused["state"] == "voided"
        assert refused["reason"].startswith("OVERFLOW")
        await reconciled(client)


async def test_a_deposit_while_the_engine_is_away_is_posted_when_it_is_back(
    engine: RunningEngine, ledger: RunningLedger
) -> None:
    async with ledger.client() as client:
        await asyncio.to_thread(engine.kill)
        answer = await deposit(client, BUYER, "USDT", "7")
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        await asyncio.to_thread(engine.start)
        await posted(client, answer, ledger)
        await reconciled(client)


async def posted(client: httpx.AsyncClient, answer: httpx.Response, ledger: RunningLedger) -> None:
    """Waits until a transfer that was answered as pending is."""
    for _ in range(200):
        transfer = (await client.get(answer.json()["ask"])).json()
        if transfer["state"] == "posted":
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{transfer}: {ledger.log.read_text()[-2000:]}")


async def test_a_withdrawal_that_the_engine_logged_and_did_not_answer_is_made_once(
    engine: RunningEngine, ledger: RunningLedger, tracer: None
) -> None:
    async with ledger.client() as client:
        await deposit(client, BUYER, "USDT", "10")
        with slow_syncs(engine, 1500):
            asking = asyncio.create_task(withdraw(client, BUYER, "USDT", "4"))
            await asyncio.sleep(0.4)
            await asyncio.to_thread(engine.kill)
        answer = await asking
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        await asyncio.to_thread(engine.start)
        await posted(client, answer, ledger)
        (row,) = (await client.get("/v1/balances", params={"account": BUYER})).json()["balances"]
        assert row["available"] == 600_000_000
        await reconciled(client)


async def test_nothing_is_lost_or_twice_when_the_ledger_is_killed_under_trades(
    engine: RunningEngine, ledger: RunningLedger, ledger_database: LedgerDatabase
) -> None:
    async with ledger.client() as client:
        await fund(client)
    async with engine.session(Component.GATEWAY) as session, asyncio.TaskGroup() as tasks:
        trading = tasks.create_task(trade(session, 150))
        for _ in range(3):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(ledger.stop, signal.SIGKILL)
            await asyncio.to_thread(ledger.start, ready=False)
        await trading
    async with ledger.client() as client:
        await reconciled(client)
    connection = await asyncpg.connect(ledger_database.owner)
    ids = await connection.fetch("SELECT trade_id FROM ledger.trades ORDER BY trade_id")
    await connection.close()
    assert [row["trade_id"] for row in ids] == list(range(1, 151))


async def test_orders_go_on_without_postgresql_and_the_ledger_catches_up(
    engine: RunningEngine, ledger_factory: LedgerFactory, own_ledger_database: LedgerDatabase
) -> None:
    ledger = ledger_factory(engine, own_ledger_database)
    await asyncio.to_thread(ledger.start)
    server = own_ledger_database.server
    async with ledger.client() as client, engine.session(Component.GATEWAY) as session:
        await fund(client)
        for end in (server.stop, server.kill):
            await asyncio.to_thread(end)
            await trade(session, 30)
            away = await asyncio.to_thread(ledger.wait_for, "it says why", lambda status: not status["ready"])
            assert "database" in away["reason"]
            assert (await deposit(client, BUYER, "USDT", "1")).status_code == 503
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(ledger.wait_for, "it is ready again", lambda status: bool(status["ready"]))
            await reconciled(client)
    assert ledger.status()["trades_settled"] == 60


async def test_a_difference_is_named_by_reconciliation(ledger: RunningLedger, ledger_database: LedgerDatabase) -> None:
    async with ledger.client() as client:
        await fund(client)
        connection = await asyncpg.connect(ledger_database.application)
        await connection.execute(
            "UPDATE ledger.balances SET available = available + 5 WHERE account = $1 AND asset = 'USDT'", BUYER
        )
        await connection.close()
        report = (await client.post("/v1/reconcile")).json()
        assert not report["equal"]
        assert report["engine_first"] == [
            {"account": BUYER, "asset": "USDT", "left": [10**14, 0], "right": [10**14 + 5, 0]}
        ]
        assert report["entries_differences"] == 1
        assert report["unbalanced_assets"] == {"USDT": 5}


async def test_an_engine_that_lost_its_log_is_noticed(engine: RunningEngine, ledger: RunningLedger) -> None:
    async with ledger.client() as client:
        await fund(client)
    await asyncio.to_thread(engine.kill)
    for segment in sorted(engine.wal.iterdir()):
        segment.rename(engine.folder / f"lost-{segment.name}")
    await asyncio.to_thread(engine.start)
    status = await asyncio.to_thread(ledger.wait_for, "it is not ready", lambda status: not status["ready"])
    status = await asyncio.to_thread(
        ledger.wait_for, "it says why", lambda status: "lost" in status["reason"] or status["state"] == "stopped"
    )
    assert not status["ready"]


async def test_it_stops_cleanly_and_waits_for_its_database(
    engine: RunningEngine, ledger_factory: LedgerFactory, own_ledger_database: LedgerDatabase
) -> None:
    own_ledger_database.server.stop()
    ledger = ledger_factory(engine, own_ledger_database)
    await asyncio.to_thread(ledger.start, ready=False)
    assert not ledger.status()["ready"]
    await asyncio.to_thread(own_ledger_database.server.start)
    await asyncio.to_thread(ledger.wait_for, "it is ready", lambda status: bool(status["ready"]))
    for number in (signal.SIGTERM, signal.SIGINT):
        assert await asyncio.to_thread(ledger.stop, number) == 0, ledger.log.read_text()
        await asyncio.to_thread(ledger.start)
    assert f"ledger ready {ledger.url} status http://{ledger.status_address}\n" in ledger.log.read_text()
