"""A condition names the first thing that is in the way, and says nothing that was not observed."""

import datetime
import itertools
import time
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_worlds import NOW, a_shard, a_symbol, an_empty_world, an_exchange, settled
from openbourse.contracts.resources import Condition
from openbourse.contracts.resources.engine_shard import EngineShardStatus
from openbourse.operator.conditions import (
    exchange_facts,
    shard_facts,
    statuses,
    symbol_facts,
)
from openbourse.operator.facts import Fact
from openbourse.operator.observed import (
    EngineFacts,
    Heard,
    HeardMarketData,
    MarketDataFacts,
    Observed,
    Refusal,
    Subject,
)
from openbourse.operator.plan import MakeRecord, plan

MARKET_DATA = "demo-marketdata-main"
PODS = ("demo-engine-main-0", "demo-engine-main-1")
TOOK = {"at": "2026-01-01T00:00:00.250Z", "epoch": 3, "detect_ms": 20, "led_ms": 12, "committed_ms": 15}
LEADER = EngineFacts.model_validate_json(
    '{"role": "leader", "member": "a", "in_sync": ["a", "b"], "ready": true, "epoch": 3, "committed_seq": 77, '
    '"last_checkpoint_seq": 70, "state_hash": "ab", "lag": {}, "last_failover": null}'
)
STANDBY = EngineFacts(role="standby in sync", member="b", ready=True, epoch=3, committed_seq=76)


def the_pair(*said: EngineFacts | None) -> dict[str, Heard]:
    """By pod, what its engine said just now; None: it is silent."""
    return {pod: Heard("main", facts, NOW) for pod, facts in zip(PODS, said, strict=False) if facts is not None}


@pytest.fixture(scope="module")
def running() -> Observed:
    world, _ = settled(an_empty_world())
    return replace(world, engines=the_pair(LEADER, STANDBY))


def ready(world: Observed) -> Fact:
    assert world.exchange is not None
    return exchange_facts(world, world.exchange)[0]


def stalled(world: Observed) -> Fact:
    assert world.exchange is not None
    return exchange_facts(world, world.exchange)[1]


def test_a_running_exchange_is_ready_and_not_stalled(running: Observed) -> None:
    assert (ready(running).holds, stalled(running).holds) == (True, False)


def test_what_a_person_must_do_stalls_and_what_takes_time_does_not(running: Observed) -> None:
    assert ready(replace(running, shards=())).reason == "NoShard"
    assert stalled(replace(running, shards=())).holds
    assert ready(replace(running, secrets={})).message == "Secret database with dsn and owner-dsn is needed"
    young = an_empty_world()
    assert (ready(young).reason, ready(young).message) == ("EngineNotReady", "demo-engine-main is not there yet")
    assert not stalled(young).holds


def test_a_refusal_is_told_in_the_api_servers_words(running: Observed) -> None:
    taken = a_refusal("Service x is missing: port is taken", status=422)
    fact = stalled(replace(running, refusals=(taken,)))
    assert (fact.holds, fact.reason) == (True, "Refused")
    assert fact.message == (
        "Service x is missing: port is taken; change what is named where it is said, in the Exchange or the "
        "EngineShard, or take away what is in the way; it is tried again every few seconds, and what does not need it "
        "goes on"
    )
    forbidden = a_refusal("Role y is missing: may not", status=403)
    assert (
        "Role y is missing: may not; give the operator the right"
        in stalled(replace(running, refusals=(forbidden,))).message
    )
    many = replace(running, refusals=(taken,) * 40)
    assert len(stalled(many).message) <= 1024
    assert stalled(many).message.endswith(fact.message.removeprefix("Service x is missing: port is taken"))


def a_refusal(sentence: str, status: int) -> Refusal:
    return Refusal("network", Subject("Apply", "Service", "x"), status, sentence)


def test_a_shard_shows_what_its_engine_said_lately_and_nothing_older(running: Observed) -> None:
    (shard,) = [entry for entry in statuses(running) if entry.resource.kind == "EngineShard"]
    status = shard.manifest["status"]
    shown = {key: status[key] for key in ("leader", "inSync", "epoch", "committedSeq", "checkpoint", "stateHash")}
    assert shown == {
        "leader": PODS[0],
        "inSync": 2,
        "epoch": 3,
        "committedSeq": 77,
        "checkpoint": 70,
        "stateHash": "ab",
    }
    assert status["members"] == [
        {"pod": PODS[0], "role": "leader", "inSync": True, "committedSeq": 77, "problem": ""},
        {"pod": PODS[1], "role": "standby", "inSync": True, "committedSeq": 76, "problem": ""},
    ]
    later = replace(running, now=NOW + datetime.timedelta(seconds=31))
    assert [fact.reason for fact in shard_facts(later, later.shards[0])[:2]] == ["EngineSilent", "NobodyLeads"]
    (shard,) = [entry for entry in statuses(later) if entry.resource.kind == "EngineShard"]
    assert not {"leader", "inSync"} & shard.manifest["status"].keys()
    assert shard.manifest["status"]["members"] == []


def shard_status(world: Observed) -> dict[str, Any]:
    (shard,) = [entry for entry in statuses(world) if entry.resource.kind == "EngineShard"]
    status: dict[str, Any] = shard.manifest["status"]
    return status


def with_record(world: Observed, **spec: Any) -> Observed:
    return replace(world, shards=(a_shard(record="demo-engine-main", **spec),))


def in_sync(world: Observed) -> Fact:
    return shard_facts(world, world.shards[0])[1]


def test_a_standby_that_is_missing_is_named_and_the_market_is_ready_all_the_same(running: Observed) -> None:
    assert (in_sync(running).holds, in_sync(running).reason) == (True, "AllInSync")
    alone = LEADER.model_copy(update={"in_sync": ("a",)})
    for other, role in ((None, "is silent"), (STANDBY.model_copy(update={"role": "joining"}), "is joining")):
        world = replace(running, engines=the_pair(alone, other))
        fact = in_sync(world)
        assert (fact.holds, fact.reason) == (False, "StandbyMissing")
        assert fact.message == f"1 of 2 engines have everything: {PODS[1]} {role}"
        children = dict(world.children)
        workload = children["StatefulSet", "demo-engine-main"]
        children["StatefulSet", "demo-engine-main"] = workload | {"status": workload["status"] | {"readyReplicas": 1}}
        assert ready(replace(world, children=children)).holds


def test_the_leader_of_the_highest_epoch_is_the_leader(running: Observed) -> None:
    """One that was cut off goes on saying that it leads."""
    newer = EngineFacts(role="leader", member="b", in_sync=("b",), ready=True, epoch=4)
    status = shard_status(replace(running, engines=the_pair(LEADER, newer)))
    assert (status["leader"], status["epoch"]) == (PODS[1], 4)


def test_the_last_take_over_is_shown_and_stays_when_its_engine_has_forgotten_it(running: Observed) -> None:
    took = EngineFacts.model_validate(LEADER.model_dump() | {"last_failover": TOOK})
    status = shard_status(replace(running, engines=the_pair(took, STANDBY)))
    shown = status["lastFailover"]
    expected = {"epoch": 3, "leader": PODS[0], "detectMs": 20, "ledMs": 12, "committedMs": 15}
    assert shown.items() >= expected.items()
    before = running.shards[0].model_copy(update={"status": EngineShardStatus.model_validate(status)})
    assert shard_status(replace(running, shards=(before,), engines={}))["lastFailover"] == shown


def test_a_record_that_is_gone_is_said_and_left_to_a_recovery(running: Observed) -> None:
    world = replace(with_record(running), founded={})
    fact = in_sync(world)
    assert (fact.holds, fact.reason) == (False, "RecordLost")
    assert "the Lease demo-engine-main, is gone" in fact.message
    assert not plan(world).actions


def test_volumes_without_a_record_are_not_founded_over(running: Observed) -> None:
    """The shard was deleted and made anew, its volumes stayed, and somebody deleted its Lease."""
    children = {k: v for k, v in running.children.items() if k[0] not in ("StatefulSet", "Pod")}
    world = replace(running, shards=(a_shard(),), founded={}, children=children, engines={})
    assert "no Lease demo-engine-main that says who has everything: recover it" in in_sync(world).message
    assert "no Lease demo-engine-main" in ready(world).message
    assert all(not isinstance(action, MakeRecord) for action in plan(world).actions)
    assert ("StatefulSet", "demo-engine-main") not in settled(world)[0].children


def market_data(world: Observed) -> Fact:
    return shard_facts(world, world.shards[0])[2]


def test_market_data_say_whether_they_are_there_and_whole(running: Observed) -> None:
    one = replace(running, shards=(a_shard(marketData={"replicas": 1}),))
    fact = market_data(one)
    assert (fact.holds, fact.reason) == (None, "MarketDataSilent")

    def saying(at: datetime.datetime = NOW, **said: Any) -> Fact:
        return market_data(replace(one, market_datas={f"{MARKET_DATA}-0": market_data_said(at, **said)}))

    assert saying(ready=True).holds
    late = saying(ready=True, beginsSeq=700)
    assert (late.holds, late.reason) == (True, "BeginsLate")
    assert late.message == f"what was before seq 700 is not in the history of {MARKET_DATA}-0"
    old = saying(ready=False, reason="what to do", problem="HistoryIsTooOld")
    assert (old.holds, old.reason, old.message) == (False, "HistoryIsTooOld", "what to do")
    assert saying(ready=False, reason="nothing read yet").reason == "Starting"
    assert saying(NOW - datetime.timedelta(seconds=31), ready=True).reason == "MarketDataSilent"


def market_data_said(at: datetime.datetime = NOW, **said: Any) -> HeardMarketData:
    return HeardMarketData("main", MarketDataFacts.model_validate(said), at)


def test_of_two_market_data_one_serves_alone_and_who_is_away_is_named(running: Observed) -> None:
    first, second = f"{MARKET_DATA}-0", f"{MARKET_DATA}-1"
    children = dict(running.children)
    workload = children["StatefulSet", MARKET_DATA]
    children["StatefulSet", MARKET_DATA] = workload | {"status": workload["status"] | {"readyReplicas": 1}}

    def saying(**heard: HeardMarketData) -> Observed:
        return replace(running, children=children, market_datas={f"{MARKET_DATA}-{n[-1]}": h for n, h in heard.items()})

    away = saying(
        _0=market_data_said(ready=True), _1=market_data_said(NOW - datetime.timedelta(seconds=31), ready=True)
    )
    fact = market_data(away)
    assert (fact.holds, fact.reason) == (True, "ReplicaAway")
    assert fact.message == f"{second}: it does not answer; {first} serves"
    assert ready(away).holds
    old = saying(_0=market_data_said(reason="what to do", problem="HistoryIsTooOld"), _1=market_data_said(ready=True))
    fact = market_data(old)
    assert (fact.holds, fact.reason) == (True, "HistoryIsTooOld")
    assert fact.message == f"{first}: what to do; {second} serves"
    none = saying(_0=market_data_said(reason="catches up: seq 1 of 9"))
    assert (market_data(none).holds, market_data(none).reason) == (False, "Starting")
    assert (ready(none).reason, ready(none).message) == ("MarketDataNotReady", f"{MARKET_DATA} has 1 of 2 pods ready")
    both = saying(_0=market_data_said(ready=True), _1=market_data_said(ready=True, beginsSeq=9))
    # Kubernetes may know of a pod what its own word does not say yet.
    assert (market_data(both).reason, market_data(both).message) == (
        "ReplicaAway",
        f"{MARKET_DATA} has 1 of 2 pods ready",
    )
    there = replace(both, children=running.children)
    assert (market_data(there).holds, market_data(there).reason) == (True, "BeginsLate")
    assert market_data(there).message == f"what was before seq 9 is not in the history of {second}"


def test_market_data_that_are_away_are_said_and_those_that_are_not_wanted_keep_nobody(running: Observed) -> None:
    children = dict(running.children)
    workload = children["StatefulSet", MARKET_DATA]
    children["StatefulSet", MARKET_DATA] = workload | {"status": workload["status"] | {"readyReplicas": 0}}
    away = replace(running, children=children)
    message = f"{MARKET_DATA} has 0 of 2 pods ready"
    assert (market_data(away).holds, market_data(away).reason) == (False, "PodNotReady")
    assert market_data(away).message == message
    assert (ready(away).reason, ready(away).message) == ("MarketDataNotReady", message)
    assert not stalled(away).holds
    assert shard_facts(away, away.shards[0])[0].holds, "its engine serves"
    off = replace(away, shards=(a_shard(marketData={"enabled": False}),))
    assert market_data(off).reason == "Disabled"
    assert ready(off).holds


def test_one_engine_has_everything_by_itself(running: Observed) -> None:
    world, _ = settled(an_empty_world(standbys=0))
    assert (in_sync(world).holds, in_sync(world).reason) == (True, "NoStandbys")


def test_a_shard_that_waits_for_its_ledger_says_so(running: Observed) -> None:
    facts = EngineFacts.model_validate(
        {"role": "leader", "ready": True, "safety": {"level": "HALT", "why": "ledger is 61000 ms behind"}}
    )
    behind = replace(running, engines=the_pair(facts))
    fact = shard_facts(behind, behind.shards[0])[0]
    assert (fact.holds, fact.reason) == (True, "Lagging")
    assert fact.message == "its engine serves at safety level HALT: ledger is 61000 ms behind"
    (shard,) = [entry for entry in statuses(behind) if entry.resource.kind == "EngineShard"]
    assert "safety" not in shard.manifest["status"]


def test_a_status_that_says_it_already_is_not_written_again(running: Observed) -> None:
    written = {(s.resource.kind, s.manifest["metadata"]["name"]): s.manifest["status"] for s in statuses(running)}
    assert running.exchange is not None

    def with_status(owner: Any) -> Any:
        status = written[owner.resource.kind, owner.metadata.name]
        return owner.model_copy(update={"status": type(owner.status).model_validate(status)})

    later = replace(
        running,
        now=NOW + datetime.timedelta(seconds=5),
        exchange=with_status(running.exchange),
        shards=tuple(map(with_status, running.shards)),
        symbols=tuple(map(with_status, running.symbols)),
    )
    assert statuses(later) == ()
    changed = replace(later, secrets={})
    (status,) = statuses(changed)
    conditions = {c["type"]: Condition.model_validate(c) for c in status.manifest["status"]["conditions"]}
    assert conditions["Ready"].last_transition_time == changed.now


def test_a_symbol_says_why_it_is_not_listed(running: Observed) -> None:
    world = replace(running, symbols=(*running.symbols, a_symbol("ETH")))
    assert symbol_facts(world, world.symbols[1])[1][0].reason == "DoesNotFit"
    assert symbol_facts(running, a_symbol("ETH", shard="third"))[1][0].reason == "NoShard"
    assert symbol_facts(replace(running, children={}), running.symbols[0])[1][0].reason == "BeingListed"
    assert symbol_facts(replace(running, exchange=None), running.symbols[0])[1][0].reason == "NoExchange"


def test_new_symbols_are_told_once_that_they_are_listed_and_not_before_that_they_will_be(running: Observed) -> None:
    """Unless nothing goes on, and they would wait in vain."""
    world = replace(running, children={}, symbols=tuple(a_symbol(quote=quote) for quote in ("USDT", "EUR")))
    told = {s.manifest["metadata"]["name"]: s.manifest["status"] for s in statuses(world, goes_on=True)}
    assert "btcusdt" not in told
    assert told["btceur"]["conditions"][0]["reason"] == "DoesNotFit"
    told = {s.manifest["metadata"]["name"]: s.manifest["status"] for s in statuses(world)}
    assert told["btcusdt"]["conditions"][0]["reason"] == "BeingListed"


def test_a_thousand_symbols_are_looked_at_in_less_than_a_second(running: Observed) -> None:
    """Each by itself is checked against its exchange's assets once, not once for each other symbol."""
    named = [f"A{number}" for number in range(34)]
    assets = [{"name": name, "scale": 6} for name in named]
    pairs = itertools.islice(itertools.permutations(named, 2), 1000)
    world = replace(running, exchange=an_exchange(assets=assets), symbols=tuple(a_symbol(*pair) for pair in pairs))
    statuses(world)
    began = time.process_time()
    assert len(statuses(world)) >= 1000
    assert time.process_time() - began < 1
