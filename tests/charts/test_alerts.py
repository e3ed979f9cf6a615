"""The alerts: each fires when its fact is so and not before, and has a page whose commands are there."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from openbourse.cli.main import app
from openbourse.ledger.progress import Progress
from openbourse.ledger.seal.metrics import SealMetrics
from openbourse.ledger.seal.progress import SealProgress

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/openbourse/alerts.yaml"
ALERTS = {rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
PAGES = sorted(path for path in (ROOT / "runbooks").glob("*.md") if path.name != "README.md")

SHARD = {"shard": "main"}
POLICY_CHECKS = "apiserver_validating_admission_policy_check_total"
# Of each alert: a series and its values a minute, and from which minute on it fires.
CASES: dict[str, list[tuple[str, str, int | None]]] = {
    "LedgerDiffers": [
        ('openbourse_ledger_findings_total{shard="main",kind="gap"}', "0 0 1 1 1", 2),
        ('openbourse_ledger_findings_total{shard="main",kind="gap"}', "0x5", None),
    ],
    "LedgerSettlementStopped": [
        ('openbourse_ledger_state{shard="main",state="stopped"}', "0 1 1 1", 1),
        ('openbourse_ledger_state{shard="main",state="waiting"}', "1x5", None),
    ],
    "TransferIsPending": [
        ('openbourse_ledger_transfer_oldest_pending_seconds{shard="main"}', "0 59 119 179", 2),
        ('openbourse_ledger_transfer_oldest_pending_seconds{shard="main"}', "0 3 0 59", None),
    ],
    "MoveIsPending": [
        ('openbourse_ledger_move_oldest_pending_seconds{shard="main"}', "0 59 119 179", 2),
        ('openbourse_ledger_move_oldest_pending_seconds{shard="main"}', "0 3 0 59", None),
    ],
    "CheckpointIsStale": [
        ("openbourse_seal_lag_seconds", "2 61 121", 1),
        ("openbourse_seal_lag_seconds", "2 59 0 59", None),
    ],
    "CheckpointIsOnlyHere": [
        ("openbourse_seal_archive_trouble", "1x20", 10),
        ("openbourse_seal_witness_trouble", "1x20", 10),
        ("openbourse_seal_witness_trouble", "1x8 0 1x8", None),
    ],
    "MarketDataStopped": [
        ('openbourse_marketdata_problem{shard="main",problem="HistoryIsTooOld"}', "0 1 1 1", 1),
        ('openbourse_marketdata_problem{shard="main",problem="Diverged"}', "0x5", None),
    ],
    "MarketDataIsBehind": [
        ('openbourse_engine_consumer_lag_seconds{shard="main",consumer="marketdata"}', "0 31 91 151", 2),
        ('openbourse_engine_consumer_lag_seconds{shard="main",consumer="marketdata-1"}', "0 31 91 151", 2),
        ('openbourse_engine_consumer_lag_seconds{shard="main",consumer="ledger"}', "0 31 91 151", None),
        ('openbourse_engine_consumer_lag_seconds{shard="main",consumer="marketdata"}', "0 31 5 29 30 31 0", None),
        ('openbourse_engine_consumer_lag_seconds{shard="main",consumer="ledger"}', "90x5", None),
    ],
    "GatewayHasNoEngine": [
        ('openbourse_gateway_engine_connected{instance="a",shard="main"}', "1 0 0 0", 2),
        ('openbourse_gateway_engine_connected{instance="a",shard="main"}', "1 0 1 0 1 1 1", None),
    ],
    "GatewayCountsAlone": [
        ('openbourse_gateway_redis_connected{instance="a"}', "1 0x9", 6),
        ('openbourse_gateway_redis_connected{instance="a"}', "1 0 0 0 0 1 0 0 1", None),
    ],
    "NobodyLeads": [
        ("openbourse_operator_leads", "1 0 0 0", 2),
        ("openbourse_operator_leads", "1 0 1 0 1 1 0 1 1x13", None),
        # Nobody is even there to ask.
        ("openbourse_another", "0x5", 1),
    ],
    "OperatorDoesNotConverge": [
        ('openbourse_operator_unsettled_seconds{namespace="trading",exchange="demo"}', "240 300 360", 2),
        ('openbourse_operator_unsettled_seconds{namespace="trading",exchange="demo"}', "240 300 0 240", None),
    ],
    "OperatorWatchIsDead": [
        # The process ends, the next one has the same fate: seen now and then is enough.
        ('openbourse_operator_watch_untold_seconds{kind="halts"}', "0 15 0 0 15", 3),
        ('openbourse_operator_watch_untold_seconds{kind="halts"}', "0 9 0 10 0", None),
    ],
    "CertificateRunsOut": [
        ('openbourse_tls_expiry_seconds{instance="a"}', "1728001 1727999x12", 11),
        ('openbourse_tls_expiry_seconds{instance="a"}', "1727999x5 2592000x14", None),
    ],
    "GlassWasBroken": [
        (f'{POLICY_CHECKS}{{policy="openbourse-break-glass",enforcement_action="warn"}}', "_ _ 1 1 1", 2),
        (f'{POLICY_CHECKS}{{policy="openbourse-break-glass",enforcement_action="audit"}}', "3x11 4x5", 12),
        (f'{POLICY_CHECKS}{{policy="openbourse-break-glass",enforcement_action="allow"}}', "0+1x20", None),
        (f'{POLICY_CHECKS}{{policy="openbourse-halts",enforcement_action="deny"}}', "0+1x20", None),
    ],
}

# Where names of metrics are put together, and what they begin with.
METRICS = {
    "ledger/openbourse/ledger/metrics.py": "openbourse_ledger_",
    "workloads/engine/openbourse/engine/metrics.py": "openbourse_engine_consumer_lag_",
    "workloads/marketdata/openbourse/marketdata/metrics.py": "openbourse_marketdata_",
    "workloads/gateway/openbourse/gateway/metrics.py": "openbourse_gateway_",
    "operator/openbourse/operator/metrics.py": "openbourse_operator_watch_",
    "workloads/contracts/openbourse/contracts/tls_metrics.py": "openbourse_tls_",
}


def promtool() -> str:
    """Which .ci/install-servers gets. A test that needs it and has it not is not run, in CI it fails."""
    cache = Path(os.environ.get("OPENBOURSE_CACHE", Path.home() / ".cache" / "openbourse"))
    found = shutil.which("promtool") or shutil.which("promtool", path=cache / "bin")
    if found is not None:
        return found
    message = "needs promtool: .ci/install-servers gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def checked(folder: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    file = folder / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    command = [promtool(), "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def cases(alert: str) -> list[dict[str, Any]]:
    """Silent a minute before, firing at that minute; or silent all the time."""
    tests = []
    for series, values, minute in CASES[alert]:
        at = range(20) if minute is None else (max(minute - 1, 0), minute)
        firing = {**ALERTS[alert]["labels"], **dict(re.findall(r'(\w+)="(\w+)"', series))}
        # Its sentence is Prometheus' to write: that the alert fires, and for whom, is what is looked at.
        count = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
        labels = ",".join(f'{name}="{value}"' for name, value in firing.items())
        whose = f'count(ALERTS{{alertname="{alert}",alertstate="firing",{labels}}}) or vector(0)'
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": series, "values": values}],
                "promql_expr_test": [
                    {
                        "expr": expr,
                        "eval_time": f"{now}m",
                        "exp_samples": [{"labels": "{}", "value": float(now == minute)}],
                    }
                    for now in at
                    for expr in (count, whose)
                ],
            }
        )
    return tests


@pytest.mark.server
@pytest.mark.parametrize("alert", sorted(ALERTS))
def test_an_alert_fires_when_its_fact_is_so_and_not_before(alert: str, tmp_path: Path) -> None:
    done = checked(tmp_path, cases(alert))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.server
def test_the_rules_are_such_as_prometheus_takes() -> None:
    done = subprocess.run(
        [promtool(), "check", "rules", RULES], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alert_names_its_page_and_asks_for_metrics_that_there_are() -> None:
    text = SealMetrics(SealProgress()).text().decode()
    for module, prefix in METRICS.items():
        source = (ROOT / module).read_text()
        text += source + " ".join(f"{prefix}{name}" for name in re.findall(r'\("(\w+)", "', source))
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"runbooks/{name}.md"
        for metric in re.findall(r"openbourse_\w+", rule["expr"]):
            assert metric.removesuffix("_total") in text, metric
    assert Progress("main").state != "stopped"
    assert {path.stem for path in PAGES} == set(ALERTS) == set(CASES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_there_and_take_these_options(page: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)
    for line in "".join(blocks).splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "openbourse", line
        # Folders of which some have to be there.
        parsed([str(tmp_path) if word.startswith("/mnt/") else word for word in words[1:]], line)


def parsed(words: list[str], line: str) -> None:
    """Read as the command line would be, and not carried out."""
    command: Any = typer.main.get_command(app)
    environment = {"OPENBOURSE_DATABASE": "postgresql://db/openbourse", "OPENBOURSE_ORIGIN": "o"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        while hasattr(command, "commands"):
            found = command.commands.get(words[0])
            assert found is not None, f"{line}: there is no {words[0]}"
            command, words = found, words[1:]
        command.make_context(command.name, list(words))
