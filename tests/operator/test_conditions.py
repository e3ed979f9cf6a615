"""A condition names the first thing that is in the way, and says nothing that was not observed."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_worlds import NOW, a_halt, a_shard, a_symbol, an_empty_world, settled
from openbourse.contracts.resources import Condition
from openbourse.operator.conditions import (
    Fact,
    exchange_facts,
    halt_facts,
    shard_facts,
    statuses,
    symbol_facts,
)
from openbourse.operator.observed import EngineFacts, Heard, Observed

ANSWER = EngineFacts.model_validate_json(
    '{"role": "leader", "epoch": 3, "committed_seq": 77, "last_checkpoint_seq": 70, "state_hash": "ab", "lag": {}}'
)


@pytest.fixture(scope="module")
def running() -> Observed:
    world, _ = settled(an_empty_world())
    return replace(world, engines={"main": Heard(ANSWER, NOW)})


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
    assert ready(replace(running, shards=(a_shard("other"),))).reason == "NoGatewayShard"
    assert ready(replace(running, secrets={})).message == "Secret database with dsn and owner-dsn is needed"
    young = an_empty_world()
    assert (ready(young).reason, ready(young).message) == ("EngineNotReady", "demo-engine-main is not there yet")
    assert not stalled(young).holds


def test_a_refusal_is_told_in_the_api_servers_words(running: Observed) -> None:
    fact = stalled(replace(running, refusals=("Service x is missing: port is taken",)))
    assert (fact.holds, fact.reason, fact.message) == (True, "Refused", "Service x is missing: port is taken")


def test_a_shard_shows_what_its_engine_said_lately_and_nothing_older(running: Observed) -> None:
    (shard,) = [entry for entry in statuses(running) if entry.resource.kind == "EngineShard"]
    status = shard.manifest["status"]
    shown = {key: status[key] for key in ("role", "epoch", "committedSeq", "checkpoint", "stateHash")}
    assert shown == {"role": "leader", "epoch": 3, "committedSeq": 77, "checkpoint": 70, "stateHash": "ab"}
    later = replace(running, now=NOW + datetime.timedelta(seconds=31))
    assert shard_facts(later, later.shards[0])[0].reason == "EngineSilent"
    (shard,) = [entry for entry in statuses(later) if entry.resource.kind == "EngineShard"]
    assert "role" not in shard.manifest["status"]


def test_a_shard_that_waits_for_its_ledger_says_so(running: Observed) -> None:
    facts = EngineFacts.model_validate(
        {"role": "leader", "safety": {"level": "HALT", "why": "ledger is 61000 ms behind"}}
    )
    behind = replace(running, engines={"main": Heard(facts, NOW)})
    (fact,) = shard_facts(behind, behind.shards[0])
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


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ([], (False, "Waiting")),
        ([("main", "Halted")], (True, "Halted")),
        ([("main", "Refused")], (False, "Refused")),
        ([("other", "Halted")], (False, "Waiting")),
    ],
)
def test_a_halt_is_acknowledged_when_every_shard_in_scope_says_so(
    running: Observed, said: list[tuple[str, str]], fact: tuple[bool, str]
) -> None:
    acknowledged, expired = halt_facts(running, a_halt("stop", said, symbols=("BTCUSDT",)))
    assert (acknowledged.holds, acknowledged.reason) == fact
    assert not expired.holds


def test_a_halt_of_a_symbol_waits_for_the_shards_that_list_it_alone(running: Observed) -> None:
    world = replace(running, shards=(a_shard(), a_shard("second")))
    assert halt_facts(world, a_halt("stop", [("main", "Halted")], symbols=("BTCUSDT",)))[0].holds
    assert halt_facts(world, a_halt("stop", [("main", "Halted")]))[0].message == "no answer yet from second"
    assert halt_facts(world, a_halt("stop", symbols=("XYUSDT",)))[0].reason == "NothingInScope"


def test_an_expired_halt_is_acknowledged_when_it_is_lifted(running: Observed) -> None:
    later = replace(running, now=NOW + datetime.timedelta(minutes=2))
    over = a_halt("stop", [("main", "Halted")], duration="1m")
    assert [fact.holds for fact in halt_facts(later, over)] == [False, True]
    over = a_halt("stop", [("main", "Lifted")], duration="1m")
    assert [fact.holds for fact in halt_facts(later, over)] == [True, True]


def test_a_symbols_state_is_the_most_restrictive_of_the_halts_in_force(running: Observed) -> None:
    symbol = running.symbols[0]
    soft = a_halt("soft", [("main", "Halted")], mode="CANCEL_ONLY")
    hard = a_halt("tough", [("main", "Halted")], mode="HALT", symbols=("BTCUSDT",))
    lifted = a_halt("was", [("main", "Lifted")])
    elsewhere = a_halt("else", [("main", "Halted")], symbols=("ETHUSDT",))
    for halts, state in (((lifted, elsewhere), "TRADING"), ((soft, lifted), "CANCEL_ONLY"), ((soft, hard), "HALT")):
        fields, (listed,) = symbol_facts(replace(running, halts=halts), symbol)
        assert fields["state"] == state
        assert ("by Halt" in listed.message) == (state != "TRADING")


def test_a_symbol_says_why_it_is_not_listed(running: Observed) -> None:
    world = replace(running, symbols=(*running.symbols, a_symbol("ETH")))
    assert symbol_facts(world, world.symbols[1])[1][0].reason == "DoesNotFit"
    assert symbol_facts(running, a_symbol(shard="third"))[1][0].reason == "NoShard"
    assert symbol_facts(replace(running, children={}), running.symbols[0])[1][0].reason == "BeingListed"
    assert symbol_facts(replace(running, exchange=None), running.symbols[0])[1][0].reason == "NoExchange"
