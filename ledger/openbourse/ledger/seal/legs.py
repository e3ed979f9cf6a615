"""Sums the legs of entries, most of what a verification costs: rows of one layout are taken apart together, by numpy.

A layout is what rows have in common that only differ in their numbers: the length of every field, and all texts but the
correlation id's. A few of its bytes tell which layout a row has; then every row is compared with all of it, so nothing
is summed unchecked. Sums are exact: 64 bits are added up in two halves.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT
from openbourse.ledger.copy_rows import COLUMNS
from openbourse.ledger.seal.checkpoint import Total
from openbourse.ledger.seal.copies import Tuples

Ints: TypeAlias = NDArray[np.int64]

# Names of fields by their place; a change of the columns is a change of the format.
_FIELDS = len(COLUMNS)
_SEQ, _INDEX, _ACCOUNT, _COUNTER = (COLUMNS.index(name) for name in ("seq", "index", "account", "counter_account"))
_AMOUNTS, _OTHER_AMOUNTS = COLUMNS.index("available"), COLUMNS.index("other_available")
_KIND, _SHARD, _CORRELATION = (COLUMNS.index(name) for name in ("kind", "shard", "correlation_id"))
_ASSET, _OTHER_ASSET = COLUMNS.index("asset"), COLUMNS.index("other_asset")
# Available and hold of the account, available and hold of the counter account, fees.
_SIDES = 5
# Where the seq and the index are in every row, and the account after them.
_SEQ_AT, _INDEX_AT, _ACCOUNT_AT = 2 + 4, 2 + 3 * 12 + 4, 2 + 3 * 12 + 8 + 4
LAYOUTS_MOST = 1000
# Rows that are compared at a time: what fits into a processor's cache.
_BLOCK = 1024
# Accounts are numbered from 1000 on; those below this have a place in a table.
_TABLE_MOST = 1_000_000

_HALF = np.int64(32)
_LOW = np.int64(0xFFFFFFFF)


@dataclass(slots=True, eq=False)
class Layout:
    """Rows of `size` bytes that move the same assets."""

    size: int
    # What tells it apart: all its texts, with the length of the one that differs.
    names_at: int
    names: bytes
    # All bits of what is equal in all its rows, and what it is there.
    mask: NDArray[np.uint8]
    pattern: NDArray[np.uint8]
    # Where the counter account is, if there is one; where each asset's amounts begin, at the length of the first.
    counter_at: int | None
    assets: tuple[tuple[str, int], ...]
    # Where its rows are that are not summed yet, and how many it ever had.
    places: list[int] = field(default_factory=list)
    used: int = 0

    @classmethod
    def of(cls, row: bytes, shard: str) -> "Layout":
        """Of a whole row of this shard, checked field by field. Raises ValueError with what is wrong."""
        spans = list(_spans(row))
        if len(spans) != _FIELDS:
            raise ValueError(f"{len(spans)} fields and not {_FIELDS}")
        if _text(row, spans[_SHARD]) != shard:
            raise ValueError(f"it is of shard {_text(row, spans[_SHARD])!r}")
        if [spans[at] for at in (_SEQ, _INDEX, _ACCOUNT)] != [
            (_SEQ_AT, _SEQ_AT + 8),
            (_INDEX_AT, _INDEX_AT + 4),
            (_ACCOUNT_AT, _ACCOUNT_AT + 8),
        ]:
            raise ValueError("its key and account are not bigint, integer, bigint")
        assets = []
        for name, first in ((_ASSET, _AMOUNTS), (_OTHER_ASSET, _OTHER_AMOUNTS)):
            amounts = spans[first : first + _SIDES]
            if name == _OTHER_ASSET and spans[name][0] == spans[name][1]:
                if any(start != end for start, end in amounts):
                    raise ValueError("amounts of no asset")
                continue
            if any(end - start != 8 for start, end in amounts):
                raise ValueError("its amounts are not all bigint")
            assets.append((_text(row, spans[name]), amounts[0][0] - 4))
        counter = spans[_COUNTER]
        if counter[1] - counter[0] not in (0, 8):
            raise ValueError("its counter account is no bigint")
        mask = np.full(len(row), 0xFF, dtype=np.uint8)
        for start, end in (*spans[:_KIND], spans[_CORRELATION]):
            mask[start:end] = 0
        names_at = spans[_KIND][0] - 4
        return cls(
            len(row),
            names_at,
            row[names_at : spans[_CORRELATION][0]],
            mask,
            np.frombuffer(row, dtype=np.uint8) & mask,
            counter[0] if counter[1] > counter[0] else None,
            tuple(assets),
        )


def _spans(row: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    for _ in range(int.from_bytes(row[:2], "big")):
        (length,) = struct.unpack_from(">i", row, at)
        at += 4
        yield at, at + max(length, 0)
        at += max(length, 0)


def _text(row: bytes, span: tuple[int, int]) -> str:
    return row[span[0] : span[1]].decode()


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong with a row, which is found only when many are looked at together."""

    seq: int
    index: int
    what: str


class Sums:
    """One shard's balances as the legs make them, and what all of them are together."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        # By asset: what each account has available, and on hold.
        self._sums: defaultdict[str, tuple[Balances, Balances]] = defaultdict(lambda: (Balances(), Balances()))
        self._layouts: list[Layout] = []
        # Where the rows are that were passed and not summed yet, in order.
        self._passed: list[int] = []
        self._last = (0, -1)
        self.wrong: list[Wrong] = []

    def take(self, tuples: Tuples, last_seq: int) -> int:
        """Passes the rows here through `last_seq` that are in memory; how many. `flush` sums them, before more."""
        data, at, limit = tuples.data, tuples.at, tuples.limit
        last, passed, count = last_seq.to_bytes(8, "big"), self._passed, 0
        starts_with = data.startswith
        while at < limit:
            # Seqs are positive, so their bytes are in their order.
            if data[at + _SEQ_AT : at + _SEQ_AT + 8] > last:
                break
            for layout in self._layouts:
                if starts_with(layout.names, at + layout.names_at):
                    break
            else:
                tuples.at = at
                if (made := self._new_layout(tuples)) is None:
                    tuples.take()
                    at, count = tuples.at, count + 1
                    continue
                layout = made
            passed.append(at)
            layout.places.append(at)
            layout.used += 1
            at += layout.size
            count += 1
        tuples.at = at
        if at > tuples.end:
            raise tuples.malformed("a tuple that does not fit")
        return count

    def _new_layout(self, tuples: Tuples) -> Layout | None:
        """That of the row here; None for one that is no entry of this shard, with why."""
        data, at = tuples.data, tuples.at
        tuples.take()
        row, tuples.at = bytes(data[at : tuples.at]), at
        try:
            layout = Layout.of(row, self._shard)
        except (ValueError, struct.error) as error:
            self.wrong.append(Wrong(tuples.seq(), 0, f"a row that is no entry: {error}"))
            return None
        self._layouts.append(layout)
        return layout

    def flush(self, tuples: Tuples) -> None:
        """Checks and sums what was passed of what is in memory."""
        if not self._passed:
            return
        data = np.frombuffer(tuples.data, dtype=np.uint8)
        keys = sliding_window_view(data, _INDEX_AT + 4)[np.array(self._passed)]
        self._check_order(_integers(keys[:, _SEQ_AT : _SEQ_AT + 8]), _integers(keys[:, _INDEX_AT:], ">i4"))
        legs: defaultdict[str, list[tuple[Ints, Ints, Ints]]] = defaultdict(list)
        for layout in self._layouts:
            if layout.places:
                places = np.array(layout.places)
                for first in range(0, len(places), _BLOCK):
                    self._add(data, layout, places[first : first + _BLOCK], legs)
                layout.places = []
        # The ones that most rows have are asked first; of those that few have not all are remembered.
        self._layouts = sorted(self._layouts, key=lambda layout: -layout.used)[:LAYOUTS_MOST]
        for asset, parts in legs.items():
            accounts, available, hold = (np.concatenate(column) for column in zip(*parts, strict=True))
            for balances, changes in zip(self._sums[asset], (available, hold), strict=True):
                balances.add(accounts, changes)
        self._passed = []

    def _check_order(self, seqs: Ints, indexes: Ints) -> None:
        before_seqs = np.concatenate(([self._last[0]], seqs[:-1]))
        before_indexes = np.concatenate(([self._last[1]], indexes[:-1]))
        after = (seqs > before_seqs) | ((seqs == before_seqs) & (indexes > before_indexes))
        for at in np.flatnonzero(~after).tolist():
            before = f"seq {before_seqs[at]} index {before_indexes[at]}"
            self.wrong.append(Wrong(int(seqs[at]), int(indexes[at]), f"it does not come after {before}"))
        self._last = (int(seqs[-1]), int(indexes[-1]))

    def _add(
        self,
        data: NDArray[np.uint8],
        layout: Layout,
        places: NDArray[np.intp],
        legs: defaultdict[str, list[tuple[Ints, Ints, Ints]]],
    ) -> None:
        rows = sliding_window_view(data, layout.size)[places]
        like = (rows & layout.mask == layout.pattern).all(axis=1)
        for at in places[~like].tolist():
            self.wrong.append(Wrong(*_key(data, at), "a row that is no entry: its fields have other lengths"))
        places, rows = places[like], rows[like] if not like.all() else rows
        accounts = _integers(rows[:, _ACCOUNT_AT : _ACCOUNT_AT + 8])
        fees = np.full(len(rows), FEES_ACCOUNT)
        at = layout.counter_at
        counters = fees if at is None else _integers(rows[:, at : at + 8])
        for asset, first in layout.assets:
            sides = _integers(rows[:, first : first + 12 * _SIDES].reshape(len(rows), _SIDES, 12)[:, :, 4:])
            high, low = (sides >> _HALF).sum(axis=1), (sides & _LOW).sum(axis=1)
            for wrong in np.flatnonzero((low & _LOW != 0) | (low >> _HALF != -high)).tolist():
                total = (int(high[wrong]) << 32) + int(low[wrong])
                key = _key(data, places[wrong])
                self.wrong.append(Wrong(*key, f"its legs of {asset} sum to {total} and not to zero"))
            if at is None:
                for wrong in np.flatnonzero(sides[:, 2:4].any(axis=1)).tolist():
                    self.wrong.append(Wrong(*_key(data, places[wrong]), f"{asset} of an account that it does not name"))
            available, hold, counter_available, counter_hold, fee = sides.T
            legs[asset] += (
                (accounts, available, hold),
                (counters, counter_available, counter_hold),
                (fees, fee, np.zeros_like(fee)),
            )

    def totals(self) -> list[Total]:
        """As a checkpoint says them, right after the rows so far, which are flushed."""
        result = []
        for asset, (available, hold) in sorted(self._sums.items()):
            fees, external = ((available.of(account), hold.of(account)) for account in (FEES_ACCOUNT, EXTERNAL_ACCOUNT))
            result.append(
                Total(
                    self._shard,
                    asset,
                    available.all - fees[0] - external[0],
                    hold.all - fees[1] - external[1],
                    sum(fees),
                    sum(external),
                )
            )
        return result

    def balances(self) -> dict[tuple[int, str], tuple[int, int]]:
        """(account, asset) -> (available, hold); those of nothing are left out."""
        found = {}
        for asset, sides in self._sums.items():
            available, hold = (side.as_dict() for side in sides)
            for account in available.keys() | hold.keys():
                found[account, asset] = (available.get(account, 0), hold.get(account, 0))
        return found


class Balances:
    """Sums by account: of small accounts in a table of two halves, of others one by one."""

    def __init__(self) -> None:
        self.all = 0
        # Fewer than 2**31 halves of 32 bits never leave 64 bits.
        self._high = np.zeros(0, dtype=np.int64)
        self._low = np.zeros(0, dtype=np.int64)
        self._others: defaultdict[int, int] = defaultdict(int)

    def add(self, accounts: Ints, changes: Ints) -> None:
        moved = np.flatnonzero(changes)
        if not len(moved):
            return
        accounts, changes = accounts[moved], changes[moved]
        small = (accounts >= 0) & (accounts < _TABLE_MOST)
        if not small.all():
            for account, change in zip(accounts[~small].tolist(), changes[~small].tolist(), strict=True):
                self._others[account] += change
                self.all += change
            accounts, changes = accounts[small], changes[small]
        if len(accounts) and (size := int(accounts.max()) + 1) > len(self._high):
            self._high, self._low = (np.pad(half, (0, 2 * size - len(half))) for half in (self._high, self._low))
        high, low = changes >> _HALF, changes & _LOW
        np.add.at(self._high, accounts, high)
        np.add.at(self._low, accounts, low)
        self.all += (int(high.sum()) << 32) + int(low.sum())

    def of(self, account: int) -> int:
        if account < len(self._high):
            return (int(self._high[account]) << 32) + int(self._low[account])
        return self._others.get(account, 0)

    def as_dict(self) -> dict[int, int]:
        """Those that have something."""
        there = np.flatnonzero((self._high != 0) | (self._low != 0)).tolist()
        return {account: sum for account in [*there, *self._others] if (sum := self.of(account))}


def _integers(fields: NDArray[np.uint8], kind: str = ">i8") -> Ints:
    """Big-endian integers, of which the last axis has the bytes."""
    found: Ints = np.ascontiguousarray(fields).view(kind)[..., 0].astype(np.int64)
    return found


def _key(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    row = data[at : at + _INDEX_AT + 4].tobytes()
    return struct.unpack_from(">q", row, _SEQ_AT)[0], struct.unpack_from(">i", row, _INDEX_AT)[0]
