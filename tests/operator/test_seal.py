"""A ledger that is to be sealed has a sealer, and its Exchange says whether what is settled is signed."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from fixtures.operator_worlds import NOW, an_empty_world, settled
from openbourse.contracts.resources.exchange import Sealed
from openbourse.operator import seal
from openbourse.operator.conditions import exchange_facts, statuses
from openbourse.operator.facts import Fact
from openbourse.operator.manifests import ledger, sealer
from openbourse.operator.observed import FACT_AGE_MAX, HeardSealer, Observed, SealFacts, SecretFacts
from openbourse.operator.plan import plan

SEALER = ("StatefulSet", "demo-sealer")
SPEC: dict[str, Any] = {
    "databaseSecret": "database",
    "seal": {"origin": "exchange.example/ledger", "pinSecret": "pin", "archive": {"storageClassName": "elsewhere"}},
}
DATABASE = SecretFacts(frozenset({ledger.APPLICATION_KEY, ledger.OWNER_KEY, ledger.SEALER_KEY}))
SEALING = SealFacts(
    state="sealing", checkpoint=7, leaves=40, time_us=1_700_000_000_900_000, key="ab", witnessed_leaves=39
)


def a_world(*, witness: bool = False, **secrets: SecretFacts) -> Observed:
    of = SPEC["seal"] | ({"witness": {"url": "http://witness:7300", "key": "w+1+2"}} if witness else {})
    world = an_empty_world(ledger=SPEC | {"seal": of})
    given = {"database": DATABASE, "pin": SecretFacts(frozenset({"pin"})), **secrets}
    return replace(world, secrets={**world.secrets, **given})


@pytest.fixture(scope="module")
def running() -> Observed:
    return settled(a_world())[0]


def said(running: Observed, facts: SealFacts | None, age: datetime.timedelta = datetime.timedelta(0)) -> Fact:
    world = replace(running, sealer=HeardSealer(facts, NOW - age) if facts else None)
    assert world.exchange is not None
    (fact,) = seal.sealed(world, world.exchange)
    return fact


def pod_of(world: Observed) -> dict[str, Any]:
    pod: dict[str, Any] = world.children[SEALER]["spec"]["template"]["spec"]
    return pod


def test_a_ledger_that_is_to_be_sealed_has_a_sealer_and_another_has_none(running: Observed) -> None:
    assert SEALER in running.children
    other, _ = settled(an_empty_world())
    assert not [name for _, name in other.children if "sealer" in name]
    assert other.exchange is not None
    assert seal.sealed(other, other.exchange) == []


def test_token_and_archive_are_volumes_of_their_own_and_the_pin_is_a_file(running: Observed) -> None:
    claims = {
        claim["metadata"]["name"]: claim["spec"] for claim in running.children[SEALER]["spec"]["volumeClaimTemplates"]
    }
    assert set(claims) == {"token", "archive"}
    assert (claims["archive"]["storageClassName"], "storageClassName" in claims["token"]) == ("elsewhere", False)
    pod = pod_of(running)
    (container,), (init,) = pod["containers"], pod["initContainers"]
    values = [entry.get("value", "") for each in (container, init) for entry in each["env"]]
    assert sealer.PIN_FOLDER + "/pin" in values and not any("--pin" in word for word in container["command"])
    # Who makes the token has no use for the archive.
    assert "archive" not in {mount["name"] for mount in init["volumeMounts"]}
    assert "--witness" not in container["command"]


def test_a_witness_that_is_named_is_asked() -> None:
    (container,) = pod_of(settled(a_world(witness=True))[0])["containers"]
    at = container["command"].index("--witness")
    assert container["command"][at : at + 4] == ["--witness", "http://witness:7300", "--witness-key", "w+1+2"]


def test_a_sealer_waits_for_the_migration_that_gives_it_its_role(running: Observed) -> None:
    assert plan(running).actions == ()
    assert running.exchange is not None
    job = ("Job", ledger.migration_name(running.exchange))
    bare = {name: child for name, child in running.children.items() if name != SEALER}
    migrating = bare | {job: {**bare[job], "status": {}}}
    assert plan(replace(running, children=migrating)).actions == ()
    assert plan(replace(running, children=bare)).phase == "sealer"
    unsealed = an_empty_world().exchange
    assert unsealed is not None
    # A database that was migrated before sealing was wanted is migrated once more: the role gets its password.
    assert ledger.migration_name(running.exchange) != ledger.migration_name(unsealed)
    assert "OPENBOURSE_SEALER_DATABASE" in str(ledger.migration(running.exchange))
    assert "OPENBOURSE_SEALER_DATABASE" not in str(ledger.migration(unsealed))


def test_without_its_address_the_exchange_says_so_and_without_a_pin_only_the_seal_is_missing() -> None:
    world, _ = settled(a_world(database=SecretFacts(frozenset({ledger.APPLICATION_KEY, ledger.OWNER_KEY}))))
    assert world.exchange is not None
    ready = exchange_facts(world, world.exchange)[0]
    assert (ready.holds, ready.reason) == (False, "SecretMissing") and "sealer-dsn" in ready.message
    world, _ = settled(a_world(pin=SecretFacts(frozenset({"other"}))))
    assert world.exchange is not None
    assert SEALER not in world.children and ("Deployment", "demo-ledger-main") in world.children
    (fact,) = seal.sealed(world, world.exchange)
    assert (fact.holds, fact.reason) == (False, "SecretMissing")


@pytest.mark.parametrize(
    ("facts", "holds", "reason"),
    [
        (SEALING, True, "Sealing"),
        (SEALING.model_copy(update={"lag_ms": seal.STALE_MS}), True, "Sealing"),
        (SEALING.model_copy(update={"lag_ms": seal.STALE_MS + 1, "reason": "waiting: x"}), False, "CheckpointIsStale"),
        (SEALING.model_copy(update={"state": "stopped", "reason": "stopped: x"}), False, "SealingStopped"),
        (SealFacts(state="waiting", reason="waiting: no key"), False, "NothingSealed"),
        (SEALING.model_copy(update={"witness_trouble": "away"}), True, "CheckpointIsOnlyHere"),
        (SEALING.model_copy(update={"archive_trouble": "full"}), True, "CheckpointIsOnlyHere"),
        (None, None, "SealerSilent"),
    ],
)
def test_the_exchange_says_whether_what_is_settled_is_signed(
    running: Observed, facts: SealFacts | None, holds: bool | None, reason: str
) -> None:
    fact = said(running, facts)
    assert (fact.type, fact.holds, fact.reason) == ("Sealed", holds, reason)
    if facts is not None and facts.reason:
        assert fact.message == facts.reason


def test_what_the_sealer_said_long_ago_is_no_fact_but_its_last_checkpoint_stays_true(running: Observed) -> None:
    assert said(running, SEALING, FACT_AGE_MAX * 2).reason == "SealerSilent"
    world = replace(running, sealer=HeardSealer(SEALING, NOW))
    status = next(each for each in statuses(world) if each.resource.kind == "Exchange").manifest["status"]
    assert status["sealed"] == {
        "checkpoint": 7,
        "batches": 40,
        "at": "2023-11-14T22:13:20Z",
        "key": "ab",
        "witnessedBatches": 39,
    }
    assert {"type": "Sealed", "status": "True"}.items() <= status["conditions"][-1].items()
    assert world.exchange is not None
    kept = world.exchange.model_copy(
        update={"status": world.exchange.status.model_copy(update={"sealed": Sealed.model_validate(status["sealed"])})}
    )
    silent = replace(world, sealer=HeardSealer(SEALING, NOW - FACT_AGE_MAX * 2), exchange=kept)
    assert seal.fields(silent, kept)["sealed"].batches == 40
