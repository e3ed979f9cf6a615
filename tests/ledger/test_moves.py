"""What people see of moves between shards: two real engines and ledgers, on one database."""

import asyncio
import os
import re
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from fixtures.databases import LedgerDatabase
from fixtures.engines import EngineFactory, RunningEngine
from fixtures.figures import Show
from fixtures.ledgers import LedgerFactory, RunningLedger
from openbourse.cli.ledger import app
from openbourse.contracts.component import Component
from openbourse.ledger import moves, rebuild
from openbourse.ledger.transfers import Leg

MAIN, SECOND = "main", "second"
runner = CliRunner()


def run(ledger: RunningLedger, *arguments: str, component: Component = Component.CLI) -> tuple[int, str]:
    environment = {"OPENBOURSE_LEDGER": ledger.url, "OPENBOURSE_TLS": str(ledger.tls_material[component])}
    result = runner.invoke(app, arguments, env=environment)
    return result.exit_code, result.output


def move(amount: str, *more: str, asset: str = "USDT", to: str = SECOND) -> tuple[str, ...]:
    return ("move", "--account", "1001", "--asset", asset, "--amount", amount, "--from", MAIN, "--to", to, *more)


@pytest.fixture
def engines(engine_factory: EngineFactory) -> Mapping[str, RunningEngine]:
    return {shard: engine_factory(shard=shard) for shard in (MAIN, SECOND)}


@pytest.fixture
def ledgers(
    engines: Mapping[str, RunningEngine], ledger_factory: LedgerFactory, ledger_database: LedgerDatabase
) -> Mapping[str, RunningLedger]:
    """Of two shards, each with its engine; the account has 20 dollars in the first one."""
    made = {}
    for shard, engine in engines.items():
        engine.start()
        made[shard] = ledger_factory(engine, ledger_database)
        made[shard].start()
    assert run(made[MAIN], "deposit", "--account", "1001", "--asset", "USDT", "--amount", "20")[0] == 0
    return made


@pytest.mark.server
def test_a_person_moves_money_and_sees_it_in_both_shards(
    ledgers: Mapping[str, RunningLedger], engines: Mapping[str, RunningEngine], ledger_database: LedgerDatabase
) -> None:
    main, second = ledgers[MAIN], ledgers[SECOND]
    assert run(main, "moves") == (0, "no moves\n")
    wanted = str(uuid.uuid4())
    posted = run(main, *move("12.5", "--id", wanted))
    said = (
        rf"move {wanted} posted: 12\.50000000 USDT of account 1001 from main to second; "
        r"debit at seq \d+ of main, credit at seq \d+ of second\n"
    )
    assert posted[0] == 0 and re.fullmatch(said, posted[1]), posted
    for ledger in ledgers.values():
        assert run(ledger, "show-move", wanted) == posted
    assert run(main, *move("12.5", "--id", wanted)) == posted
    assert run(main, *move("12", "--id", wanted)) == (
        1,
        f"Conflict: move {wanted} exists with another account, asset, amount or shards; use a new id\n",
    )
    for ledger, amount, about in (
        (main, "-12.50000000", "moved to second"),
        (second, "12.50000000", "moved from main"),
    ):
        code, output = run(ledger, "statement", "--account", "1001", "--asset", "USDT")
        assert code == 0 and re.search(rf"{about} +{amount}.*{wanted}", output), output
        code, output = run(ledger, "reconcile")
        assert code == 0 and re.search(r"equal at seq \d+\n$", output), output
    code, output = run(second, "balances", "--account", "1001")
    assert code == 0 and re.search(r"USDT\W+12\.50000000\W+0\.00000000", output), output

    code, output = run(main, *move("7.50000001"))
    assert code == 1 and re.match(r"move \S+ voided: main refused it: INSUFFICIENT_FUNDS: needs 750000001", output), (
        output
    )
    code, output = run(second, "moves")
    assert code == 0 and re.search(rf"{wanted} +1001 +12\.50000000 USDT +main +second +posted +in second", output), (
        output
    )
    assert run(second, "moves", "--pending") == (0, "no moves\n")
    for shard, engine in engines.items():
        found = asyncio.run(rebuild.rebuild(ledger_database.owner, shard, swap=False))
        assert found.differences == 0
        # The engine's log makes the same of it.
        command = [
            str(Path(sys.executable).with_name("openbourse")),
            "ledger",
            "rebuild",
            "--from-wal",
            str(engine.wal),
        ]
        environment = os.environ | {"OPENBOURSE_DATABASE": ledger_database.application}
        done = subprocess.run([*command, "--shard", shard], env=environment, timeout=60, check=False)
        assert done.returncode == 0


@pytest.mark.server
def test_a_move_waits_for_a_shard_that_is_away_and_says_where_the_money_is(
    ledgers: Mapping[str, RunningLedger],
) -> None:
    main, second = ledgers[MAIN], ledgers[SECOND]
    second.kill()
    code, output = run(main, *move("5"))
    waits = re.search(
        r"move (\S+) pending: .*; in transit: out of main, second is not asked yet; ask again with", output
    )
    assert code == 0 and waits, output
    metric = 'openbourse_ledger_moves_pending{shard="main"} 1.0'
    main.wait_for("the move is seen to wait", lambda _: metric in metrics(main))
    assert re.search(r'move_oldest_pending_seconds\{shard="main"\} [0-9.]*[1-9]', metrics(main))
    assert run(main, "moves", "--pending")[1].count(waits[1]) == 1
    second.start()
    second.wait_for(
        "it is moved", lambda _: run(second, "show-move", waits[1])[1].startswith(f"move {waits[1]} posted")
    )
    main.wait_for("nothing waits", lambda _: metric.replace("1.0", "0.0") in metrics(main))


@pytest.mark.server
def test_a_move_waits_for_an_engine_that_is_away(
    ledgers: Mapping[str, RunningLedger], engines: Mapping[str, RunningEngine]
) -> None:
    main, second = ledgers[MAIN], ledgers[SECOND]
    engines[SECOND].kill()
    code, output = run(main, *move("5"))
    waits = re.match(r"move (\S+) pending: .*; in transit: second is asked to take it; ask again with", output)
    assert code == 0 and waits, output
    leg = moves.leg_id(uuid.UUID(waits[1]), Leg.CREDIT)
    code, output = run(second, "transfer", str(leg))
    assert code == 0 and output.startswith(f"transfer {leg} pending: deposit of 5.00000000 USDT"), output
    second.wait_for("it waits", lambda _: 'transfers_pending{shard="second"} 1.0' in metrics(second))
    engines[SECOND].start()
    second.wait_for(
        "it is moved", lambda _: run(second, "show-move", waits[1])[1].startswith(f"move {waits[1]} posted")
    )
    assert run(second, "transfer", str(leg))[1].startswith(f"transfer {leg} posted at seq")


def metrics(ledger: RunningLedger) -> str:
    with urllib.request.urlopen(f"http://{ledger.status_address}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.server
async def test_many_move_both_ways_at_once_and_the_world_sees_nothing(
    ledgers: Mapping[str, RunningLedger], ledger_database: LedgerDatabase, show: Show
) -> None:
    ways = [(MAIN, SECOND), (SECOND, MAIN)]
    taken_s: list[float] = []
    async with ledgers[MAIN].client() as main, ledgers[SECOND].client() as second:
        clients = {MAIN: main, SECOND: second}
        deposit = {"account": 1001, "asset": "USDT", "amount": "20"}
        assert (await second.post("/v1/deposits", json=deposit)).json()["state"] == "posted"

        async def back_and_forth(number: int) -> None:
            """Each time that it is less than what is there, or the same."""
            for of, to in (ways[number % 2], ways[1 - number % 2]) * 3:
                begun = time.monotonic()
                wanted = {"account": 1001, "asset": "USDT", "amount": "2", "from_shard": of, "to_shard": to}
                answer = {"state": "pending", "move_id": str(uuid.uuid4())}
                # On a machine that has other work it may take longer than whoever asked waits.
                for _ in range(10):
                    if answer["state"] == "pending":
                        wanted["move_id"] = answer["move_id"]
                        answer = (await clients[of].post("/v1/moves", json=wanted)).json()
                taken_s.append(time.monotonic() - begun)
                assert answer["state"] == "posted", answer

        owner = await asyncpg.connect(ledger_database.owner)
        moving = asyncio.gather(*map(back_and_forth, range(10)))
        seen_in_transit = 0
        while not moving.done():
            outside = await owner.fetchrow(
                "SELECT o.*, (SELECT sum(available + hold) FROM ledger.balances WHERE account >= 1000) AS owed "
                "FROM ledger.outside AS o"
            )
            assert outside is not None
            assert outside["world"] == -40 * 10**8, outside
            assert outside["owed"] + outside["in_transit"] == 40 * 10**8, outside
            seen_in_transit += outside["in_transit"] > 0
            await asyncio.sleep(0.005)
        await moving
        assert seen_in_transit > 0
        await owner.close()
        for client in clients.values():
            assert (await client.post("/v1/reconcile")).json()["equal"]
            balances = (await client.get("/v1/balances", params={"account": 1001})).json()["balances"]
            assert [row["available"] for row in balances] == [20 * 10**8]
    middle = sorted(taken_s)[len(taken_s) // 2]
    show(
        f"moves between two shards, {len(taken_s)} by ten at once: {1000 * middle:.0f} ms in the middle, to both posted"
    )


@pytest.mark.server
def test_a_refusal_is_one_line_that_says_what_is_allowed(ledgers: Mapping[str, RunningLedger]) -> None:
    main, second = ledgers[MAIN], ledgers[SECOND]
    for ledger, arguments, words in (
        (main, move("1", to="far"), "Invalid: shard 'far' has no books in this database (there are: main, second)"),
        (main, move("1", to=MAIN), "Invalid: from and to are both shard 'main'"),
        (main, move("1", asset="DOGE"), "Invalid: shard 'main': asset 'DOGE' is not listed (listed: BTC, ETH, USDT)"),
        (main, move("0"), "Invalid: amount must be greater than 0"),
        (second, move("1"), "Invalid: this is the ledger of shard 'second': ask that of shard 'main', which it leaves"),
    ):
        code, output = run(ledger, *arguments)
        assert code == 1 and output.startswith(words), output
    missing = uuid.uuid4()
    said = f"NotFound: there is no move {missing} out of or into shard main\n"
    assert run(main, "show-move", str(missing)) == (1, said)
    assert run(main, *move("1"), component=Component.GATEWAY) == (1, "NotAllowed: gateway may not do this; cli may\n")
    main.stop()
    code, output = run(main, *move("1"))
    assert code == 1 and "retry with --id" in output


@pytest.mark.parametrize("command", ["move", "show-move", "moves"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0 and f"openbourse ledger {command}" in result.output
