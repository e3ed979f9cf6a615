"""What people see of manual entries at the command line, each with a certificate of their own."""

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


def run(ledger: RunningLedger, person: str, *arguments: str) -> tuple[int, str]:
    folder: Path = ledger.tls_material[Component.CLI].parent / person
    environment = {"OPENBOURSE_LEDGER": ledger.url, "OPENBOURSE_TLS": str(folder)}
    result = runner.invoke(app, arguments, env=environment)
    return result.exit_code, result.output


def propose(*more: str) -> tuple[str, ...]:
    accounts = ("--from", "adjustment", "--to", "suspense")
    return ("adjust", "propose", *accounts, "--asset", "USDT", "--amount", "12.5", "--reason", "bank fee", *more)


@pytest.mark.server
def test_one_person_proposes_and_another_approves(ledger: RunningLedger, ledger_database: LedgerDatabase) -> None:
    assert run(ledger, "ann", "deposit", "--account", "1000", "--asset", "USDT", "--amount", "20")[0] == 0
    asked = "SELECT string_agg(DISTINCT requested_by, ',') FROM ledger.transfers"
    assert ledger_database.server.value(asked, ledger_database.name) == "ann", "not what kind of certificate it was"
    assert run(ledger, "bob", "adjust", "list") == (0, "no manual entries\n")
    entry = str(uuid.uuid4())
    said = (
        f"entry {entry} proposed: adjustment of 12.50000000 USDT from adjustment to suspense, proposed by ann; another"
    )
    for _ in range(2):
        code, output = run(ledger, "ann", *propose("--entry-id", entry))
        assert code == 0 and output.startswith(said), output
    for decision in ("approve", "reject"):
        code, output = run(ledger, "ann", "adjust", decision, entry)
        assert (code, output) == (1, f"Invalid: manual entry {entry} was proposed by ann: another person decides\n")
    code, output = run(ledger, "bob", "adjust", "list", "--undecided")
    assert code == 0 and re.search(rf"{entry}.*12\.50000000 USDT +proposed +ann +bank fee", output), output
    posted = run(ledger, "bob", "adjust", "approve", entry)
    assert posted[0] == 0 and posted[1].endswith("proposed by ann, decided by bob\n"), posted
    assert run(ledger, "bob", "adjust", "approve", entry) == posted
    code, output = run(ledger, "bob", "adjust", "reject", entry)
    assert code == 1 and "is posted by bob already" in output
    assert run(ledger, "bob", "adjust", "list", "--undecided") == (0, "no manual entries\n")

    code, output = run(ledger, "ann", "statement", "--account", "3", "--asset", "USDT")
    assert code == 0 and re.search(rf"adjustment.* 12\.50.* 12\.50.*{entry}", output), output
    code, output = run(ledger, "ann", "reconcile")
    assert code == 0 and re.search(r"equal at seq \d+\n$", output), output

    code, output = run(ledger, "bob", "adjust", "reverse", entry, "--reason", "given back")
    mirror = re.match(r"entry (\S+) proposed: reversal of 12\.50000000 USDT from suspense to adjustment", output)
    assert code == 0 and mirror, output
    assert run(ledger, "ann", "adjust", "approve", mirror[1])[0] == 0
    code, output = run(ledger, "bob", "adjust", "reverse", mirror[1], "--reason", "again")
    assert code == 1 and "is a reversal" in output
    code, output = run(ledger, "ann", "reconcile")
    assert code == 0, output


@pytest.mark.server
def test_a_refusal_says_what_is_allowed(ledger: RunningLedger) -> None:
    assert run(ledger, "ann", "deposit", "--account", "1000", "--asset", "USDT", "--amount", "20")[0] == 0
    for more, words in (
        (("--asset", "DOGE"), "asset 'DOGE' is not listed"),
        (("--amount", "0"), "greater than 0"),
        (("--reason", " "), "a reason is needed"),
        (("--to", "adjustment"), "from and to are both account 4"),
    ):
        code, output = run(ledger, "ann", *propose(*more))
        assert code == 1 and output.startswith("Invalid: ") and words in output, output
    assert run(ledger, "ann", *propose("--to", "trader"))[0] == 2
    missing = str(uuid.uuid4())
    for arguments in (("approve", missing), ("reject", missing), ("reverse", missing, "--reason", "x")):
        assert run(ledger, "bob", "adjust", *arguments)[0] == 1
    code, output = run(ledger, "gateway", "adjust", "list")
    assert (code, output) == (1, "NotAllowed: gateway may not do this; cli may\n")
    code, output = run(ledger, "bob", "adjust", "approve", missing)
    assert f"manual entry {missing}" in output


def test_every_command_shows_an_example() -> None:
    for command in ("propose", "approve", "reject", "reverse", "list"):
        result = runner.invoke(app, ["adjust", command, "--help"])
        assert result.exit_code == 0 and f"openbourse ledger adjust {command}" in result.output
