"""The gateway's port for people before a real engine: kill switches, cancelling for others, what is shown, who did."""

import asyncio
import json
import uuid

import pytest
from typer.testing import CliRunner

from fixtures.admins import AdminVenue, People, audits, request
from openbourse.cli.main import app as cli
from openbourse.contracts import v1
from openbourse.contracts.callers import Person
from openbourse.contracts.roles import Role
from openbourse.gateway.admin.actions import CAUSATION_BYTES_MOST, Action, What
from openbourse.gateway.admin.views import source

ACCOUNT = 1001
AT = f"/v1/accounts/{ACCOUNT}"


@pytest.mark.server
async def test_a_killed_account_loses_its_orders_and_places_none_until_an_admin_lets_it(
    admin_venue: AdminVenue, people: People
) -> None:
    trader = admin_venue.trader
    for price in ("20000", "20001"):
        await trader.place("BUY", "0.1", price)
    killed = await people.operator.post(f"{AT}/kill", json=request(reason="fat fingers"))
    assert killed.status_code == 200, killed.text
    assert {name: killed.json()[name] for name in ("account", "killed", "open_orders")} == {
        **{"account": ACCOUNT, "killed": True, "open_orders": 0}
    }
    assert await trader.open_orders() == []
    refused = await trader.place("BUY", "0.1", "20000")
    assert (refused.status_code, refused.json()) == (
        400,
        {
            "code": -2010,
            "msg": "This action is disabled on this account.",
            "detail": "the account's kill switch is on",
        },
    )
    assert (await trader.call("GET", "/api/v3/account")).json()["canTrade"] is False

    # It stands in the log: another engine process, and another gateway, know it.
    admin_venue.engine.kill()
    admin_venue.gateway.kill()
    await asyncio.to_thread(admin_venue.engine.start)
    admin_venue.gateway.start()
    await asyncio.to_thread(admin_venue.gateway.wait_until_ready)
    assert (await people.viewer.get(AT)).json()["killed"] is True
    assert (await trader.place("BUY", "0.1", "20000")).json()["code"] == -2010

    not_by_an_operator = await people.operator.post(f"{AT}/unkill", json=request())
    assert not_by_an_operator.status_code == 403
    assert (await people.admin.post(f"{AT}/unkill", json=request())).json()["killed"] is False
    assert (await trader.place("BUY", "0.1", "20000")).status_code == 200
    assert (await trader.call("GET", "/api/v3/account")).json()["canTrade"] is True


@pytest.mark.server
async def test_an_action_that_comes_again_is_done_once(admin_venue: AdminVenue, people: People) -> None:
    trader, again = admin_venue.trader, request()
    await trader.place("BUY", "0.1", "20000")
    first = (await people.operator.post(f"{AT}/cancel-all", json=again)).json()
    assert (first["canceled"], first["remaining"]) == (1, 0)
    placed = (await trader.place("BUY", "0.1", "20000")).json()["orderId"]
    assert (await people.operator.post(f"{AT}/cancel-all", json=again)).json() == first
    assert await trader.open_orders() == [placed]

    kill = request()
    on = (await people.operator.post(f"{AT}/kill", json=kill)).json()
    await people.admin.post(f"{AT}/unkill", json=request())
    late = (await people.operator.post(f"{AT}/kill", json=kill)).json()
    assert (late["seqs"], late["killed"]) == (on["seqs"], False)


@pytest.mark.server
async def test_orders_are_cancelled_for_an_account_a_market_a_shard(admin_venue: AdminVenue, people: People) -> None:
    trader = admin_venue.trader

    async def place() -> None:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            await trader.place("BUY", "0.1", "2000", symbol=symbol)

    for who, path, more, left in (
        (people.operator, f"{AT}/cancel-all", {}, 0),
        (people.operator, f"{AT}/cancel-all", {"symbol": "ETHUSDT"}, 1),
        (people.operator, "/v1/markets/BTCUSDT/cancel-all", {}, 1),
        (people.admin, "/v1/shard/cancel-all", {}, 0),
        (people.operator, "/v1/accounts/1002/cancel-all", {}, 2),
    ):
        await people.admin.post("/v1/shard/cancel-all", json=request())
        await place()
        answer = await who.post(path, json=request(**more))
        assert (answer.status_code, answer.json()["canceled"]) == (200, 2 - left), answer.text
        assert len(await trader.open_orders()) == left


@pytest.mark.server
async def test_what_is_halted_and_why_and_who_is_connected_is_shown(admin_venue: AdminVenue, people: People) -> None:
    trading = {"symbol": "BTCUSDT", "shard": "main", "state": "TRADING", "source": None, "reason": ""}
    assert (await people.viewer.get("/v1/markets/BTCUSDT")).json() == trading
    both = (await people.viewer.get("/v1/markets")).json()["markets"]
    assert [market["symbol"] for market in both] == ["BTCUSDT", "ETHUSDT"]
    gateway = (await people.viewer.get("/v1/gateway")).json()
    (shard,) = gateway["shards"]
    assert (shard["shard"], shard["connected"], gateway["websocket_api_connections"]) == ("main", True, 0)
    await admin_venue.trader.place("BUY", "0.1", "20000")
    await admin_venue.trader.call("POST", "/api/v3/countdownCancelAll", symbol="BTCUSDT", countdownTime=60_000)
    account = (await people.viewer.get(AT)).json()
    assert (account["open_orders"], account["orders_day"], account["killed"]) == (1, 1, False)
    assert [countdown["symbol"] for countdown in account["countdowns"]] == ["BTCUSDT"]
    used = [
        (await people.viewer.get("/v1/limits/addresses", params={"address": address})).json()
        for address in ("127.0.0.1", "192.0.2.1", "192.0.2.1")
    ]
    assert [(row["weight_1m"] > 0, row["banned_until_ms"]) for row in used] == [(True, None), *[(False, None)] * 2]


@pytest.mark.server
async def test_who_did_what_and_why_is_in_the_log_and_in_the_journal(admin_venue: AdminVenue, people: People) -> None:
    asked = request(reason="margin call, ticket 7")
    killed = (await people.operator.post(f"{AT}/kill", json=asked)).json()
    await people.viewer.post(f"{AT}/kill", json=request())
    done, refused = audits(admin_venue)
    assert done.pop("at_us") > 10**15
    assert done == {
        **{"audit": "kill", "who": "the operator", "role": "operator", "account": ACCOUNT, "symbol": None},
        **{"why": "margin call, ticket 7", "id": asked["id"], "outcome": "done", "seqs": killed["seqs"]},
    }
    assert (refused["audit"], refused["who"], refused["what"]) == ("not allowed", "the viewer", f"POST {AT}/kill")
    await asyncio.to_thread(admin_venue.engine.stop)
    dumped = (
        CliRunner()
        .invoke(cli, ["wal", "dump", str(admin_venue.engine.wal), "--from", str(killed["seqs"]["main"])])
        .output
    )
    record = json.loads(dumped.splitlines()[0])
    assert f"operator the operator: {asked['reason']}" in json.dumps(record)
    assert f"admin-{asked['id']}" in json.dumps(record)


@pytest.mark.server
async def test_with_the_engine_away_the_outcome_is_unknown_and_the_same_id_makes_it_known(
    admin_venue: AdminVenue, people: People
) -> None:
    admin_venue.engine.kill()
    asked = request()
    unknown = await people.operator.post(f"{AT}/kill", json=asked)
    assert (unknown.status_code, unknown.json()["reason"]) == (503, "Unavailable")
    assert unknown.json()["message"].endswith("ask again with the same id")
    assert audits(admin_venue)[-1]["outcome"] == "unknown"
    await asyncio.to_thread(admin_venue.engine.start)
    await asyncio.to_thread(admin_venue.gateway.wait_until_ready)
    assert (await people.operator.post(f"{AT}/kill", json=asked)).json()["killed"] is True


ANN = Person("ann", Role.ADMIN)
ID = uuid.UUID(int=7)


def test_an_action_is_the_same_command_each_time_and_another_one_for_other_words() -> None:
    actions = [Action(what, ANN, "why", ID, account) for what in What for account in (1001, 1002)]
    commands = [action.command(round_).command_id for action in actions for round_ in (0, 1) if action.account]
    assert [len(command_id) for command_id in commands] == [16] * len(commands)
    assert len(set(commands)) == len(commands)
    again = Action(What.KILL, Person("bob", Role.OPERATOR), "another reason", ID, 1001)
    assert again.command().command_id == actions[0].command().command_id
    command = Action(What.CANCEL_ALL, ANN, "why", ID, 1001, "BTCUSDT").command()
    assert (command.causation_id, command.correlation_id) == ("admin ann: why", f"admin-{ID}")
    assert command.cancel_all_orders == v1.CancelAllOrders(
        account=1001, symbol="BTCUSDT", reason=v1.CancelReason.CANCEL_REASON_OPERATOR
    )


def test_a_long_reason_fits_into_what_the_journal_takes() -> None:
    action = Action(What.KILL, Person("ö" * 64, Role.ADMIN), "€" * 200, ID, 1001)
    assert CAUSATION_BYTES_MOST - 3 < len(action.command().causation_id.encode()) <= CAUSATION_BYTES_MOST


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("halt ns/stop:1: see ticket: 7", {"kind": "halt", "name": "ns/stop:1"}),
        ("the shard's safety level is HALT", {"kind": "safety"}),
        ("the symbol's phase is AUCTION", {"kind": "phase"}),
        ("", None),
    ],
)
def test_what_keeps_a_market_from_trading_is_told_from_its_sentence(reason: str, found: object) -> None:
    assert source(reason) == found
