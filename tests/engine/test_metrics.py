"""What Prometheus reads of real engines: read by its own parser, through a take-over and a record that is away."""

import asyncio
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fixtures.engines import RunningEngine
from fixtures.failover_load import under_load
from fixtures.members import RunningShard

pytestmark = pytest.mark.server

Metrics = dict[tuple[str, str], float]


def read(engine: RunningEngine) -> Metrics:
    """Each sample by its name and its own label: role, phase, member, why; those of buckets are left out."""
    with urllib.request.urlopen(f"http://{engine.status_address}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    found: Metrics = {}
    for family in text_string_to_metric_families(text):
        # Of certificates each process says the same, whatever it serves.
        if family.name.startswith("openbourse_tls_"):
            continue
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("shard") == engine.shard
            if "le" not in labels:
                found[sample.name, next(iter(labels.values()), "")] = sample.value
    return found


async def test_metrics_say_who_leads_how_far_everybody_is_and_how_long_a_take_over_took(pair: RunningShard) -> None:
    async with under_load(pair, pace_s=0.02) as load:
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        (standby,) = (member for member in pair.members if member is not leader)
        leads, follows = await asyncio.to_thread(read, leader), await asyncio.to_thread(read, standby)
        member = standby.status()["member"]
        assert leads["openbourse_engine_role", "leader"] == 1
        assert leads["openbourse_engine_role", "standby in sync"] == 0
        assert follows["openbourse_engine_role", "leader"] == 0
        assert leads["openbourse_engine_epoch", ""] == 1
        assert leads["openbourse_engine_in_sync_members", ""] == 2
        assert leads["openbourse_engine_committed_seq", ""] > 0
        assert 0 <= leads["openbourse_engine_follower_lag_commands", member] < 1000
        assert leads["openbourse_engine_record_trouble", ""] == 0
        assert leads["openbourse_engine_disk_trouble", "no_room"] == 0
        assert ("openbourse_engine_failover_seconds_count", "detect") not in leads

        await asyncio.to_thread(leader.kill)
        await asyncio.to_thread(pair.wait_for_leader)
        await load.goes_on(20)
        status, leads = await asyncio.to_thread(standby.status), await asyncio.to_thread(read, standby)
    took = status["last_failover"]
    for phase, name in (
        ("detect", "detect_ms"),
        ("lead", "led_ms"),
        ("commit", "committed_ms"),
        ("acknowledge", "acknowledged_ms"),
    ):
        assert leads["openbourse_engine_failover_seconds_count", phase] == 1
        assert abs(leads["openbourse_engine_failover_seconds_sum", phase] * 1000 - took[name]) <= 1
    assert took["led_ms"] <= took["committed_ms"] <= took["acknowledged_ms"]
    assert 0 <= took["in_flight"] <= 16
    assert leads["openbourse_engine_resent_commands_total", ""] == took["resent"] <= 16
    assert leads["openbourse_engine_epoch", ""] == 2


@pytest.mark.alone
async def test_a_record_that_is_away_is_said_and_trading_goes_on(pair: RunningShard, tmp_path: Path) -> None:
    async with under_load(pair, pace_s=0.02) as load:
        leader = await asyncio.to_thread(pair.wait_for_leader, 2)
        (tmp_path / "record").rename(tmp_path / "away")
        status = await asyncio.to_thread(leader.wait_for, "it is said", lambda status: status["record"] != "")
        assert "No such file or directory" in status["record"]
        assert (await asyncio.to_thread(read, leader))["openbourse_engine_record_trouble", ""] == 1
        await load.goes_on(5)
        assert load.pause_s() < 1.0
        (tmp_path / "away").rename(tmp_path / "record")
        await asyncio.to_thread(leader.wait_for, "it is over", lambda status: status["record"] == "")
    assert leader.status()["epoch"] == 1
    assert len(leader.status()["in_sync"]) == 2
