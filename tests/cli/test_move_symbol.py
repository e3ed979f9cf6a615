"""`kubectl bourse move-symbol`: what it asks for and when it asks for nothing; and on a real API server."""

import json

import pytest

from fixtures.bourses import Cluster
from fixtures.operator_worlds import NOW, a_shard, a_symbol
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.moving import became, to_ask, to_ask_back
from openbourse.contracts.resources import Symbol

SHARDS = (a_shard("main"), a_shard("second"))


def a_moving_symbol(
    state: str | None, *, wanted: str, generation: int = 2, said: tuple[str, str] | None = None
) -> Symbol:
    """Whose move from main to second, which generation 2 asked for, is so far."""
    move = {"id": "1", "fromShard": "main", "toShard": "second", "state": state, "since": NOW, "generation": 2}
    condition = {"type": "Moving", "lastTransitionTime": NOW, "observedGeneration": generation, "message": "why"}
    made = a_symbol(shard=wanted).model_dump(by_alias=True)
    made["metadata"]["generation"] = generation
    conditions = [] if said is None else [condition | {"status": said[0], "reason": said[1]}]
    status = {"shard": "main", "conditions": conditions, "observedGeneration": generation}
    return Symbol.model_validate(made | {"status": status | ({"move": move} if state else {})})


@pytest.mark.parametrize(
    ("symbol", "to", "steps"),
    [
        (a_moving_symbol(None, wanted="main"), "second", ("second",)),
        # Asked for already: only waited for.
        (a_moving_symbol("Frozen", wanted="second"), "second", ()),
        # Answered with no: another wish is made of it.
        (a_moving_symbol("Undone", wanted="second"), "second", ("main", "second")),
        (a_moving_symbol("Undone", wanted="second"), "main", ("main",)),
        (a_moving_symbol("Completed", wanted="second"), "main", ("main",)),
    ],
)
def test_what_spec_shard_is_set_to(symbol: Symbol, to: str, steps: tuple[str, ...]) -> None:
    assert to_ask(symbol, SHARDS, to) == steps


@pytest.mark.parametrize(
    ("symbol", "to", "sentence"),
    [
        (a_moving_symbol(None, wanted="main"), "main", "BTCUSDT is in shard main already"),
        (a_moving_symbol(None, wanted="main"), "third", "has no EngineShard third; there is main, second"),
        (a_moving_symbol("Frozen", wanted="main"), "second", r"on its way from shard main to second \(Frozen\): wait"),
        (a_moving_symbol("Completed", wanted="second"), "second", "BTCUSDT is in shard second already"),
    ],
)
def test_nothing_is_asked_for_with_a_reason(symbol: Symbol, to: str, sentence: str) -> None:
    with pytest.raises(NotDone, match=sentence):
        to_ask(symbol, SHARDS, to)


def test_a_symbol_is_had_back_while_it_is_on_its_way() -> None:
    assert to_ask_back(a_moving_symbol("Frozen", wanted="second")) == ("main",)
    assert to_ask_back(a_moving_symbol("Frozen", wanted="main")) == ()
    assert to_ask_back(a_moving_symbol(None, wanted="second")) == ("main",), "nobody has begun with it"
    with pytest.raises(NotDone, match="is in shard second already; to move it back: kubectl bourse move-symbol"):
        to_ask_back(a_moving_symbol("Imported", wanted="second"))
    with pytest.raises(NotDone, match="is not on its way: it is in shard second"):
        to_ask_back(a_moving_symbol("Completed", wanted="second"))


def test_what_became_of_it_is_known_when_the_operator_has_seen_the_wish_and_the_move_is_over() -> None:
    there = a_moving_symbol("Completed", wanted="second", said=("False", "InPlace"))
    done = became(there, 2)
    assert done is not None
    assert (done.shard, done.state, done.message) == ("second", "Completed", "why")
    assert became(there, 3) is None, "of an earlier wish"
    assert became(a_moving_symbol("Frozen", wanted="second", said=("True", "Frozen")), 2) is None
    held = became(a_moving_symbol(None, wanted="second", said=("False", "HaltWouldBeLeft")), 2)
    assert held is not None
    assert (held.shard, held.wanted, held.state) == ("main", "second", "Held")
    undone = became(a_moving_symbol("Undone", wanted="second", said=("False", "Undone")), 2)
    assert undone is not None
    assert (undone.shard, undone.state) == ("main", "Undone")


@pytest.mark.server
def test_a_person_asks_and_is_told(bourse_cluster: Cluster) -> None:
    """No operator runs: what it would note is written by hand."""
    cluster = bourse_cluster
    nowhere = cluster.bourse("move-symbol", "BTCUSDT", "--to", "second", "--yes")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "has no EngineShard second; there is main" in nowhere.stderr
    shard = {"apiVersion": "openbourse.dev/v1alpha1", "kind": "EngineShard", "metadata": {"name": "second"}}
    cluster.kubectl("create", "-f", "-", input_=json.dumps(shard | {"spec": {"exchange": "demo"}}))
    unsure = cluster.bourse("move-symbol", "BTCUSDT", "--to", "second")
    assert unsure.returncode != 0, "nobody says yes"
    assert cluster.kubectl("get", "symbol", "btcusdt", "-o", "jsonpath={.spec.shard}") == "main"
    asked = cluster.bourse("move-symbol", "BTCUSDT", "--to", "second", "--yes", "--no-wait", "-o", "json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["state"] == "Asked"
    assert cluster.kubectl("get", "symbol", "btcusdt", "-o", "jsonpath={.spec.shard}") == "second"
    generation = int(cluster.kubectl("get", "symbol", "btcusdt", "-o", "jsonpath={.metadata.generation}"))
    move = {"id": "1", "fromShard": "main", "toShard": "second", "generation": generation, "pausedMs": 42}
    move |= {"state": "Completed", "since": "2026-01-01T00:00:00Z"}
    status = {"status": {"shard": "second", "observedGeneration": generation, "move": move}}
    cluster.kubectl("patch", "symbol", "btcusdt", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    there = cluster.bourse("move-symbol", "BTCUSDT", "--to", "second", "--yes")
    assert "BTCUSDT is in shard second already" in there.stderr
    shown = cluster.bourse("status")
    assert "second" in shown.stdout
    late = cluster.bourse("move-symbol", "BTCUSDT", "--to", "main", "--yes", "--timeout", "1")
    assert late.returncode == 1
    assert "not over within 1 s: the wish stands" in late.stdout
