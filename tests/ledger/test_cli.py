"""What a person sees of the ledger at the command line."""

import json
import re
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fixtures.databases import LedgerDatabase
from fixtures.ledgers import RunningLedger
from openbourse.cli.ledger import app
from openbourse.contracts.component import Component

runner = CliRunner()


def run(ledger: RunningLedger, *arguments: str, component: Component = Component.CLI) -> tuple[int, str]:
    environment = {"OPENBOURSE_LEDGER": ledger.url, "OPENBOURSE_TLS": str(ledger.tls_material[component])}
    result = runner.invoke(app, arguments, env=environment)
    return result.exit_code, result.output


@pytest.mark.server
def test_a_person_deposits_looks_and_reconciles(ledger: RunningLedger, ledger_database: LedgerDatabase) -> None:
    code, output = run(ledger, "deposit", "--account", "1000", "--asset", "USDT", "--amount", "12.5")
    posted = re.search(r"transfer (\S+) posted at seq \d+: deposit of 12\.50000000 USDT, account 1000\n$", output)
    assert code == 0 and posted, output
    assert run(ledger, "transfer", posted[1]) == (0, output)
    again = run(
        ledger, "deposit", "--account", "1000", "--asset", "USDT", "--amount", "12.5", "--transfer-id", posted[1]
    )
    assert again == (0, output)

    code, output = run(ledger, "balances", "--account", "1000")
    assert code == 0 and re.search(r"USDT\W+12\.50000000\W+0\.00000000", output), output
    assert run(ledger, "balances", "--account", "1001") == (0, "account 1001 never had anything\n")

    asked = ("statement", "--account", "1000", "--asset", "USDT", "--limit", "1")
    run(ledger, "deposit", "--account", "1000", "--asset", "USDT", "--amount", "1")
    code, output = run(ledger, *asked)
    older = re.search(r"older: --before (\S+)\n$", output)
    assert code == 0 and older, output
    code, output = run(ledger, *asked, "--json", "--before", older[1])
    answer = json.loads(output)
    (line,) = answer["lines"]
    assert (line["kind"], line["correlation_id"], answer["next"]) == ("funds_credited", posted[1], None)
    assert (line["available"], line["available_after"], line["hold_after"]) == (1_250_000_000, 1_250_000_000, 0)
    assert run(ledger, "statement", "--account", "1001", "--asset", "USDT") == (
        0,
        "nothing moved the USDT of account 1001\n",
    )
    for arguments, words in (
        (("--account", "5", "--asset", "USDT"), "Invalid: account 5 cannot exist"),
        (("--account", "1000", "--asset", "DOGE"), "Invalid: asset 'DOGE' is not listed"),
        (("--account", "1000", "--asset", "USDT", "--before", "4"), "Invalid: before '4' is no cursor"),
        (("--account", "1001", "--asset", "USDT", "--before", older[1]), "Invalid: the statement does not begin"),
    ):
        code, output = run(ledger, "statement", *arguments)
        assert code == 1 and output.startswith(words), output

    code, output = run(ledger, "reconcile")
    assert code == 0 and re.search(r"equal at seq \d+\n$", output), output
    ledger_database.server.execute(
        "UPDATE ledger.balances SET available = available - 1 WHERE account = 1000", ledger_database.name
    )
    code, output = run(ledger, "reconcile")
    assert code == 1 and output.endswith("DIFFERENT\n"), output
    assert "account 1000 USDT: engine [1350000000, 0], ledger [1349999999, 0]" in output


@pytest.mark.server
def test_a_person_withdraws_what_is_available(ledger: RunningLedger) -> None:
    funds = ("--account", "1000", "--asset", "USDT", "--amount")
    assert run(ledger, "deposit", *funds, "12.5")[0] == 0
    code, output = run(ledger, "withdraw", *funds, "2.5")
    posted = re.search(r"transfer (\S+) posted at seq \d+: withdrawal of 2\.50000000 USDT, account 1000\n$", output)
    assert code == 0 and posted, output
    assert run(ledger, "transfer", posted[1]) == (0, output)
    assert run(ledger, "withdraw", *funds, "2.5", "--transfer-id", posted[1]) == (0, output)
    code, output = run(ledger, "withdraw", *funds, "10.00000001")
    words = "voided: INSUFFICIENT_FUNDS: needs 1000000001 min-units of USDT, 1000000000 are available (withdrawal of"
    assert code == 1 and words in output, output
    code, output = run(ledger, "balances", "--account", "1000")
    assert code == 0 and re.search(r"USDT\W+10\.00000000\W+0\.00000000", output), output
    code, output = run(ledger, "statement", "--account", "1000", "--asset", "USDT")
    assert code == 0 and re.search(r"funds.*-2\.50.*10\.00", output), output


@pytest.mark.server
def test_a_refusal_is_one_line_that_says_what_is_allowed(ledger: RunningLedger) -> None:
    assert run(ledger, "deposit", "--account", "7", "--asset", "USDT", "--amount", "1")[1].startswith(
        "Invalid: account 7 is not a trader's"
    )
    assert run(ledger, "deposit", "--account", "1000", "--asset", "USDT", "--amount", "0.000000001") == (
        1,
        "Invalid: amount '0.000000001' has 9 decimals, at most 8 are allowed\n",
    )
    missing = uuid.uuid4()
    assert run(ledger, "transfer", str(missing)) == (1, f"NotFound: there is no transfer {missing}\n")
    assert run(
        ledger, "deposit", "--account", "1000", "--asset", "USDT", "--amount", "1", component=Component.GATEWAY
    ) == (
        1,
        "NotAllowed: gateway may not do this; cli may\n",
    )
    ledger.stop()
    for command in ("deposit", "withdraw"):
        code, output = run(ledger, command, "--account", "1000", "--asset", "USDT", "--amount", "1")
        assert code == 1 and "retry with --transfer-id" in output


def test_a_wrong_address_or_folder_is_said(tmp_path: Path) -> None:
    result = runner.invoke(app, ["reconcile", "--ledger", "https://127.0.0.1:1", "--tls", str(tmp_path)])
    assert result.exit_code == 1 and "needs ca.crt, tls.crt and tls.key" in result.output
    result = runner.invoke(app, ["reconcile", "--ledger", "127.0.0.1:1", "--tls", str(tmp_path)])
    assert result.exit_code == 1 and "it looks like https://127.0.0.1:7100" in result.output


@pytest.mark.parametrize("command", ["deposit", "withdraw", "transfer", "balances", "statement", "reconcile"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0 and f"openbourse ledger {command}" in result.output
