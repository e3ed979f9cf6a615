"""A ledger that reconciles by itself: says when it was equal, and stops settlement where it is not."""

import asyncio
import json
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.databases import LedgerDatabase
from fixtures.engines import LISTINGS, EngineFactory, RunningEngine
from fixtures.ledgers import LedgerFactory, RunningLedger, all_settled, deposit
from openbourse.ledger import rebuild
from openbourse.ledger.errors import Diverged
from openbourse.ledger.progress import Progress, State
from openbourse.ledger.settlement import Watermark

EVERY = ("--reconcile-every", "0.2")


@pytest.fixture
def engine(engine_factory: EngineFactory) -> RunningEngine:
    """That throttles when its ledger is a second behind."""
    engine = engine_factory("--consumer", "ledger")
    limits = {"throttleSeconds": 1, "cancelOnlySeconds": 0, "haltSeconds": 0}
    engine.listings.write_text(json.dumps(LISTINGS | {"safety": {"settlementLag": limits}}))
    engine.start()
    return engine


@pytest.fixture
def eager(ledger_factory: LedgerFactory, engine: RunningEngine, ledger_database: LedgerDatabase) -> RunningLedger:
    """A ledger that reconciles five times a second."""
    ledger = ledger_factory(engine, ledger_database)
    ledger.options = EVERY
    ledger.start()
    return ledger


def metrics(ledger: RunningLedger) -> dict[tuple[str, ...], float]:
    """(name, values of labels but the shard's) -> value."""
    with urllib.request.urlopen(f"http://{ledger.status_address}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(value for label, value in sample.labels.items() if label != "shard")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def shown(ledger: RunningLedger, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    status = await asyncio.to_thread(ledger.wait_for, what, lambda status: holds(status["reconciliation"]))
    found: dict[str, Any] = status["reconciliation"]
    return found


@pytest.mark.server
async def test_it_says_when_and_at_which_seq_all_was_last_equal(engine: RunningEngine, eager: RunningLedger) -> None:
    async with eager.client() as client:
        await deposit(client, 1000, "USDT", "10")
        seq = (await all_settled(engine))["committed_seq"]
        # Coverage is looked at before balances are: of one round it may be the older.
        first = await shown(
            eager, "equal and covered at the deposit", lambda now: now["covered_seq"] >= now["equal_seq"] >= seq
        )
        assert (first["equal"], first["found"], first["trouble"]) == (True, None, "")
        assert first["entries_equal_seq"] > 0 and first["covered_seq"] >= first["entries_equal_seq"]
        await deposit(client, 1000, "USDT", "10")
        then = await shown(eager, "equal at the next", lambda now: now["equal_seq"] > first["equal_seq"])
        # The sum of all entries is for later: only what is new was looked at.
        assert then["entries_equal_seq"] == first["entries_equal_seq"]
        assert then["equal_at_us"] > first["equal_at_us"]
    seen = await asyncio.to_thread(metrics, eager)
    assert seen["openbourse_ledger_reconciled_seq",] >= then["equal_seq"]
    assert seen["openbourse_ledger_reconciled_timestamp_seconds",] >= then["equal_at_us"] / 1e6
    assert seen["openbourse_ledger_covered_seq",] >= then["covered_seq"]
    assert seen["openbourse_ledger_watermark_seq",] == eager.status()["watermark_seq"]
    assert seen["openbourse_ledger_reconciliations_total",] >= 2
    assert seen["openbourse_ledger_state", "settling"] == 1
    assert {value for (name, *_), value in seen.items() if name == "openbourse_ledger_findings_total"} == {0}


@pytest.mark.server
async def test_a_difference_stops_settlement_and_the_engine_throttles_by_its_lag(
    engine: RunningEngine, eager: RunningLedger, ledger_database: LedgerDatabase
) -> None:
    async with eager.client() as client:
        await deposit(client, 1000, "USDT", "10")
        seq = (await all_settled(engine))["committed_seq"]
        await shown(eager, "equal", lambda now: now["equal_seq"] >= seq)
        application = await asyncpg.connect(ledger_database.application)
        await application.execute("UPDATE ledger.balances SET available = available + 5 WHERE account = 1000")
        await application.close()
        found = (await shown(eager, "it is found", lambda now: now["found"] is not None))["found"]
        assert (found["kind"], found["seq"]) == ("engine", seq)
        assert (
            "1 balances differ, first account 1000 USDT: engine (1000000000, 0), ledger (1000000005, 0)"
            in (found["sentence"])
        )
        status = eager.status()
        assert (status["state"], status["ready"]) == ("stopped", False)
        assert f"reconciliation found at seq {seq}" in status["reason"]
        assert f"; last equal at seq {seq}" in status["reason"]
        asked = {"account": 1000, "asset": "USDT", "amount": "1", "transfer_id": str(uuid.uuid4())}
        assert (await client.post("/v1/deposits", json=asked)).status_code == 202
        await asyncio.to_thread(
            engine.wait_for, "it throttles", lambda status: status["safety"]["level"] == "THROTTLED"
        )
        assert (eager.status()["state"], eager.status()["watermark_seq"]) == ("stopped", seq)
    seen = await asyncio.to_thread(metrics, eager)
    assert seen["openbourse_ledger_findings_total", "engine"] == 1
    assert seen["openbourse_ledger_state", "stopped"] == 1
    assert f"ERROR openbourse.ledger.reconciling shard main: reconciliation found at seq {seq}" in eager.log.read_text()

    # A restart alone is no way around it; a rebuild and a restart are.
    eager.stop()
    eager.start(ready=False)
    await shown(eager, "it is found again", lambda now: now["found"] is not None)
    eager.stop()
    assert (await rebuild.rebuild(ledger_database.owner, "main", swap=True)).swapped == 1
    eager.start()
    await shown(eager, "equal again", lambda now: now["equal_seq"] > seq)
    await asyncio.to_thread(engine.wait_for, "it is back", lambda status: status["safety"]["level"] == "NORMAL")


async def test_what_is_stopped_stays_stopped_whatever_was_on_its_way() -> None:
    progress = Progress("main")
    await progress.opened(Watermark(1, 5))
    progress.stopped(Diverged("why"))
    await progress.opened(Watermark(1, 6))
    assert (progress.state, progress.watermark.seq, progress.last_error) == (State.STOPPED, 6, "why")


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "often"])
def test_an_interval_that_is_none_is_refused_with_what_is_allowed(interval: str) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "openbourse.ledger", "serve", "--engine", "e:1", "--listen", "l:1"),
            *("--status", "s:1", "--tls", "tls", f"--reconcile-every={interval}"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2
    assert f"--reconcile-every: '{interval}' is no number of seconds from 0.1 on" in done.stderr
