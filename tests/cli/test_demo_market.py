"""The made-up market of `openbourse local --market`: the same each time, and within bounds however long it runs."""

import pytest

from openbourse.cli.demo_market import CHANGES_MOST, LEVELS, Quote, Side, Step, Walk
from openbourse.cli.local_market import SHAPES


def steps(seed: int, count: int, shape_number: int = 0) -> tuple[Walk, list[Step], dict[int, Quote]]:
    """`count` steps of a market in which every order of the maker that would not trade is taken."""
    walk = Walk(SHAPES[shape_number], seed)
    open_orders: dict[int, Quote] = {}
    made: list[Step] = []
    for number in range(count):
        step = walk.step(open_orders)
        made.append(step)
        for order in step.cancels:
            del open_orders[order]
        for index, quote in enumerate(step.places):
            open_orders[number * 100 + index] = quote
        for take in step.takes:
            reached = [order for order, quote in open_orders.items() if quote.side is not take.side]
            for order in reached[:1]:
                del open_orders[order]
    return walk, made, open_orders


def test_the_same_seed_makes_the_same_market() -> None:
    assert steps(1, 300)[1] == steps(1, 300)[1]
    assert steps(1, 300)[1] != steps(2, 300)[1]


@pytest.mark.parametrize("shape_number", range(len(SHAPES)))
def test_it_quotes_both_sides_and_stays_within_its_bounds(shape_number: int) -> None:
    shape = SHAPES[shape_number]
    walk, made, open_orders = steps(7, 20_000, shape_number)
    sides = [quote.side for quote in open_orders.values()]
    for side in Side:
        assert LEVELS - CHANGES_MOST <= sides.count(side) <= LEVELS
    assert 0.8 < walk.ticks / shape.first_ticks < 1.25
    assert all(len(step.places) <= 2 * CHANGES_MOST and len(step.cancels) <= CHANGES_MOST + 1 for step in made)
    orders = [quote for step in made for quote in (*step.places, *step.takes)]
    assert all(quote.ticks > 0 and quote.lots > 0 for quote in orders)
    # Neither account can run out: what is taken, both ways together, nearly cancels out.
    bought = [quote.lots if quote.side is Side.BUY else -quote.lots for step in made for quote in step.takes]
    assert len(bought) > 5_000
    assert abs(sum(bought)) < 0.05 * sum(map(abs, bought))


def test_it_goes_on_where_it_was_left() -> None:
    walk = Walk(SHAPES[0], 3)
    walk.begin(7_000_000)
    walk.step({})
    assert 6_900_000 < walk.ticks < 7_100_000
