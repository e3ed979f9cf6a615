"""What becomes of the listing, and of the shard's word about it, when a Symbol is deleted, spoiled or made again."""

from dataclasses import replace

import pytest

from fixtures.operator_checks import settled_safely
from fixtures.operator_worlds import NOW, a_symbol, an_empty_world, an_exchange
from openbourse.contracts.listings import Listings
from openbourse.contracts.resources import Symbol
from openbourse.operator import listed
from openbourse.operator.conditions import symbol_facts
from openbourse.operator.manifests import listings
from openbourse.operator.observed import EngineFacts, Heard, Observed


def two() -> tuple[Symbol, ...]:
    return (a_symbol(), a_symbol("ETH"))


@pytest.fixture
def world() -> Observed:
    assets = [{"name": name, "scale": 8} for name in ("BTC", "ETH", "USDT")]
    empty = replace(an_empty_world(), symbols=two(), exchange=an_exchange(assets=assets))
    return settled_safely(empty)


def listing(world: Observed) -> Listings:
    data = world.children["ConfigMap", "demo-engine-main-listings"]["data"]
    return Listings.model_validate_json(data["listings.json"])


def names(world: Observed) -> tuple[list[str], tuple[str, ...]]:
    document = listing(world)
    return [symbol.symbol for symbol in document.symbols], document.delisted


def heard(world: Observed, delisted: dict[str, int]) -> Observed:
    facts = EngineFacts(role="leader", ready=True, member="a", delisted=delisted)
    return replace(world, engines={"demo-engine-main-0": Heard("main", facts, NOW)})


def test_a_symbol_that_was_deleted_is_delisted_and_stays_so_until_it_is_made_again(world: Observed) -> None:
    assert names(world) == (["BTCUSDT", "ETHUSDT"], ())
    assert '"delisted"' not in world.children["ConfigMap", "demo-engine-main-listings"]["data"]["listings.json"]
    gone = settled_safely(replace(world, symbols=two()[:1]))
    assert names(gone) == (["BTCUSDT"], ("ETHUSDT",))
    assert names(settled_safely(gone)) == (["BTCUSDT"], ("ETHUSDT",))
    assert names(settled_safely(replace(gone, symbols=two()))) == (["BTCUSDT", "ETHUSDT"], ())


def test_one_that_somebody_else_still_holds_back_is_delisted_as_soon_as_it_is_deleted(world: Observed) -> None:
    kept, deleted = two()
    metadata = deleted.metadata.model_copy(update={"deletion_timestamp": NOW})
    going = settled_safely(replace(world, symbols=(kept, deleted.model_copy(update={"metadata": metadata}))))
    assert names(going) == (["BTCUSDT"], ("ETHUSDT",))


def test_what_does_not_fit_or_cannot_be_read_is_not_delisted(world: Observed) -> None:
    unreadable = replace(world, symbols=two()[:1], unreadable_symbols=frozenset({"ethusdt"}))
    assert names(settled_safely(unreadable)) == (["BTCUSDT"], ())
    # Its asset is not the exchange's any more: told in its condition, and its market goes on.
    unfit = replace(world, symbols=(two()[0], a_symbol("ETH", tickSize="0.000000000000000001")))
    assert names(settled_safely(unfit)) == (["BTCUSDT"], ())


def test_nothing_is_delisted_by_an_exchange_that_is_deleted_itself(world: Observed) -> None:
    assert world.exchange is not None
    metadata = world.exchange.metadata.model_copy(update={"deletion_timestamp": NOW})
    going = replace(world, symbols=(), exchange=world.exchange.model_copy(update={"metadata": metadata}))
    assert names(settled_safely(going)) == (["BTCUSDT", "ETHUSDT"], ())


@pytest.mark.parametrize(
    ("delisted", "expected"),
    [
        ({}, (False, "Delisting", "ETHUSDT is not halted yet")),
        ({"ETHUSDT": 7}, (False, "Delisting", "ETHUSDT is halted, 7 orders are open")),
        ({"ETHUSDT": 0}, (True, "Done", "ETHUSDT: halted, without orders")),
    ],
)
def test_the_shard_says_how_far_the_engine_is(
    world: Observed, delisted: dict[str, int], expected: tuple[bool, str, str]
) -> None:
    gone = heard(settled_safely(replace(world, symbols=two()[:1])), delisted)
    assert gone.exchange is not None
    fact = listed.fact(gone, gone.exchange, gone.shards[0])
    assert (fact.holds, fact.reason, fact.message) == expected


def test_a_listing_that_is_full_keeps_what_it_has_and_says_so_to_those_that_come_later(
    world: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name the newcomer would be the first of all."""
    document = world.children["ConfigMap", "demo-engine-main-listings"]["data"]["listings.json"]
    monkeypatch.setattr(listings, "BYTES_MOST", len(document) + 60)
    came = replace(world, symbols=(*two(), a_symbol("BTC", "ETH")))
    after = settled_safely(came)
    assert names(after) == (["BTCUSDT", "ETHUSDT"], ())
    _, (late,) = symbol_facts(after, came.symbols[2])
    said = "the listing of shard main is full with 2 symbols: give it another spec.shard"
    assert (late.holds, late.reason, late.message) == (False, "DoesNotFit", said)
    assert symbol_facts(after, came.symbols[0])[1][0].holds
    # As soon as there is room, it is in it.
    gone = settled_safely(replace(after, symbols=came.symbols[1:]))
    assert names(gone) == (["BTCETH", "ETHUSDT"], ("BTCUSDT",))
