"""Sums of an account's balances over shards, in every order in which updates and answers of both may come: what is told
last is what the account has, and nothing is told before both shards are known.
"""

import itertools
from collections.abc import Iterator

import pytest

from openbourse.contracts import v1
from openbourse.gateway.user_data.holdings import Holdings

ACCOUNT, SHARDS = 1001, ("main", "hot")
# What the account has of an asset after each seq of a shard: available and hold.
HELD = {"main": [(100, 0), (90, 10), (90, 0)], "hot": [(7, 0), (5, 2)]}


def balance(held: tuple[int, int], asset: str = "BTC") -> v1.Balance:
    return v1.Balance(account=ACCOUNT, asset=asset, available=held[0], hold=held[1])


def interleavings() -> Iterator[list[str]]:
    """Of each shard its updates after the first, in their order, and somewhere its one answer."""
    updates = [shard for shard in SHARDS for _ in HELD[shard][1:]]
    for order in sorted(set(itertools.permutations(updates))):
        for main, hot in itertools.product(range(len(order) + 1), repeat=2):
            told: list[str] = list(order)
            told.insert(main, "main answers")
            told.insert(hot + (hot >= main), "hot answers")
            yield told


def play(events: list[str], ahead: int) -> list[v1.Balance]:
    """All that is told. An answer is `ahead` updates newer than what was heard, as far as there are some."""
    holdings, heard, told = Holdings(ACCOUNT, SHARDS), dict.fromkeys(SHARDS, 0), list[v1.Balance]()
    for event in events:
        shard = event.split()[0]
        if event.endswith("answers"):
            seq = min(heard[shard] + ahead, len(HELD[shard]) - 1)
            holdings.answered(shard, seq, [balance(HELD[shard][seq]), balance((1, 1), "ETH")])
            told += holdings.take_untold()
        else:
            heard[shard] += 1
            told += holdings.changed(shard, heard[shard], [balance(HELD[shard][heard[shard]])])
        assert not (holdings.unheard and told)
    assert not holdings.unheard
    return told


def check() -> None:
    last = balance((95, 2))
    count = 0
    for events in interleavings():
        for ahead in range(3):
            count += 1
            told = play(events, ahead)
            assert told[-1] == last, (events, ahead)
    assert count > 100


def test_what_is_told_last_is_what_the_account_has() -> None:
    check()


def test_an_older_update_that_undoes_an_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(self: Holdings, shard: str, _seq: int, balances: list[v1.Balance]) -> list[v1.Balance]:
        self._parts[shard].by_asset |= {each.asset: each for each in balances}
        return [] if self.unheard else self._sums([each.asset for each in balances])

    monkeypatch.setattr(Holdings, "changed", changed)
    with pytest.raises((AssertionError, IndexError)):
        check()


def test_assets_that_one_shard_alone_has_are_told_as_they_are() -> None:
    holdings = Holdings(ACCOUNT, SHARDS)
    for shard in SHARDS:
        holdings.answered(shard, 5, [balance((3, 1), shard)])
    assert holdings.changed("hot", 6, [balance((4, 0), "hot")]) == [balance((4, 0), "hot")]
