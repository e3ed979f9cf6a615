"""`openbourse account` and `openbourse market` before a real gateway and engine: what they do, ask, print, refuse."""

import json
import re
import uuid

import pytest
from typer.testing import CliRunner

from fixtures.admins import AdminVenue
from openbourse.cli.main import app

runner = CliRunner()


def run(venue: AdminVenue, *arguments: str, who: str = "admin", stdin: str | None = None) -> tuple[int, str]:
    environment = {"OPENBOURSE_GATEWAY": venue.url, "OPENBOURSE_TLS": str(venue.tls / f"the {who}")}
    result = runner.invoke(app, arguments, env=environment, input=stdin)
    return result.exit_code, result.output


@pytest.mark.server
async def test_an_account_is_killed_shown_and_let_go_on(admin_venue: AdminVenue) -> None:
    trader = admin_venue.trader
    await trader.place("BUY", "0.1", "20000")
    asks = run(admin_venue, "account", "kill", "1001", "--reason", "a test", who="operator", stdin="n\n")
    question = "Cancel all orders of account 1001 and refuse its new ones? [y/N]: "
    assert asks == (1, f"{question}n\nnothing was done\n")
    assert len(await trader.open_orders()) == 1
    killed = "account 1001 is killed: it places no orders; 0 orders are open\n"
    code, output = run(admin_venue, "account", "kill", "1001", "--reason", "a test", who="operator", stdin="y\n")
    assert (code, output.removeprefix(f"{question}y\n")) == (0, killed)
    assert (await trader.place("BUY", "0.1", "20000")).json()["code"] == -2010

    code, output = run(admin_venue, "account", "show", "1001", who="viewer")
    assert code == 0 and re.fullmatch(f"{killed}orders placed: \\d+ in ten seconds, \\d+ in the day\n", output), output
    code, output = run(admin_venue, "account", "show", "1001", "-o", "json", who="viewer")
    assert (code, json.loads(output)["killed"]) == (0, True)

    for who in ("viewer", "operator"):
        code, output = run(admin_venue, "account", "unkill", "1001", "--reason", "a test", "--yes", who=who)
        assert (code, output) == (1, f"NotAllowed: the {who} is {who}; this takes admin\n")
    code, output = run(admin_venue, "account", "unkill", "1001", "--reason", "a test", "--yes")
    assert (code, output) == (0, "account 1001 may trade; 0 orders are open\n")
    assert (await trader.place("BUY", "0.1", "20000")).status_code == 200


@pytest.mark.server
async def test_orders_are_cancelled_and_a_retry_by_id_is_the_same_answer(admin_venue: AdminVenue) -> None:
    trader = admin_venue.trader
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await trader.place("BUY", "0.1", "2000", symbol=symbol)
    once = ("--id", str(uuid.uuid4()), "--reason", "a test", "--yes")
    of_one = ("account", "cancel-all", "1001", "--symbol", "ETHUSDT", *once)
    for _ in range(2):
        assert run(admin_venue, *of_one) == (0, "1 orders of account 1001 in ETHUSDT were cancelled\n")
    told = "1 orders of all accounts in BTCUSDT were cancelled\n"
    assert run(admin_venue, "market", "cancel-all", "BTCUSDT", "--reason", "a test", "--yes") == (0, told)
    assert await trader.open_orders() == []
    code, output = run(admin_venue, "market", "cancel-all", "--whole-shard", *once, "-o", "json")
    assert (code, json.loads(output)["canceled"]) == (0, 0)
    await trader.call("POST", "/api/v3/countdownCancelAll", symbol="BTCUSDT", countdownTime=60_000)
    assert "countdown: orders in BTCUSDT are cancelled at 20" in run(admin_venue, "account", "show", "1001")[1]
    code, output = run(admin_venue, "market", "show")
    assert code == 0 and output.split() == [
        "symbol",
        "state",
        "by",
        "reason",
        "BTCUSDT",
        "TRADING",
        "ETHUSDT",
        "TRADING",
    ]
    code, output = run(admin_venue, "market", "show", "BTCUSDT", "-o", "json")
    assert (code, json.loads(output)["state"]) == (0, "TRADING")


@pytest.mark.server
async def test_what_cannot_be_done_ends_with_a_sentence(admin_venue: AdminVenue) -> None:
    reason = ("--reason", "a test", "--yes")
    for arguments, words in (
        (("market", "cancel-all", *reason), "name one symbol, or say --whole-shard"),
        (("market", "cancel-all", "BTCUSDT", "--whole-shard", *reason), "name one symbol, or say --whole-shard"),
        (("market", "cancel-all", "NONE", *reason), "NotFound: NONE is not listed"),
        (("market", "show", "NONE"), "NotFound: NONE is not listed"),
        (("account", "kill", "1001", "--reason", " ", "--yes"), "Invalid: reason: Value error, must be one line"),
        (
            ("account", "kill", "1001", "--gateway", "http://x", *reason),
            "--gateway is 'http://x': it looks like https://",
        ),
        (("account", "kill", "1001", "--tls", "nowhere", *reason), "it needs ca.crt, tls.crt and tls.key"),
    ):
        code, output = run(admin_venue, *arguments)
        assert code == 1 and words in output, output
    admin_venue.gateway.kill()
    code, output = run(admin_venue, "account", "kill", "1001", *reason)
    assert code == 1 and "the gateway did not answer" in output and "retry with --id " in output
    admin_venue.gateway.start()


@pytest.mark.parametrize(
    ("group", "commands"),
    [("account", ("kill", "unkill", "cancel-all", "show")), ("market", ("show", "cancel-all"))],
)
def test_each_command_shows_an_example(group: str, commands: tuple[str, ...]) -> None:
    for command in commands:
        result = runner.invoke(app, [group, command, "--help"])
        assert result.exit_code == 0
        assert f"openbourse {group} {command}" in result.output
