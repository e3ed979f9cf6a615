"""Sums the legs of entries as fast as Python can: rows of one layout are taken apart by one struct, column by column.

A layout is what rows have in common that only differ in their numbers: the length of every field, the kind, the shard
and the assets of the legs. A row belongs to a layout when all of that is equal, so nothing is read unchecked.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add

from openbourse.contracts.units import EXTERNAL_ACCOUNT, FEES_ACCOUNT
from openbourse.ledger.copy_rows import COLUMNS
from openbourse.ledger.seal.checkpoint import Total
from openbourse.ledger.seal.copies import Tuples

# Names of fields by their place; a change of the columns is a change of the format.
_FIELDS = len(COLUMNS)
_SEQ, _INDEX, _SHARD = COLUMNS.index("seq"), COLUMNS.index("index"), COLUMNS.index("shard")
_ACCOUNTS, _ASSETS = COLUMNS.index("leg_accounts"), COLUMNS.index("leg_assets")
_AVAILABLE, _HOLD = COLUMNS.index("leg_available"), COLUMNS.index("leg_hold")
# Where the first field that is not of a fixed size begins, its length first.
_NAMES_AT = 2 + 12 + 12 + 12 + 8
_INT8_ARRAY, _TEXT_ARRAY = 20, 25
LAYOUTS_MOST = 4096


@dataclass(slots=True, eq=False)
class Layout:
    """Rows of `size` bytes. `values`: seq, index, then each leg's account, available, hold in three runs."""

    size: int
    names: bytes
    mask: int
    pattern: int
    values: struct.Struct
    assets: tuple[str, ...]

    @classmethod
    def of(cls, row: bytes, shard: str) -> "Layout":
        """Of a whole row of this shard, checked field by field. Raises ValueError with what is wrong."""
        spans = list(_spans(row))
        if len(spans) != _FIELDS:
            raise ValueError(f"{len(spans)} fields and not {_FIELDS}")
        if _text(row, spans[_SHARD]) != shard:
            raise ValueError(f"it is of shard {_text(row, spans[_SHARD])!r}")
        if spans[_SEQ][1] - spans[_SEQ][0] != 8 or spans[_INDEX][1] - spans[_INDEX][0] != 4:
            raise ValueError("its key is not a bigint and an integer")
        assets = tuple(row[start:end].decode() for start, end in _elements(row, spans[_ASSETS], _TEXT_ARRAY))
        columns = [_elements(row, spans[name], _INT8_ARRAY) for name in (_ACCOUNTS, _AVAILABLE, _HOLD)]
        numbers = [span for column in columns for span in column]
        if any(len(column) != len(assets) for column in columns) or any(end - start != 8 for start, end in numbers):
            raise ValueError("its legs are not four arrays of one length")
        # Everything is compared but for the bytes of values.
        free = [span for at, span in enumerate(spans) if at not in (_SHARD, _ACCOUNTS, _ASSETS, _AVAILABLE, _HOLD)]
        mask = bytearray(b"\xff" * len(row))
        for start, end in (*free, *numbers):
            mask[start:end] = bytes(end - start)
        wanted, at, parts = [(spans[_SEQ][0], "q", 8), (spans[_INDEX][0], "i", 4)], 0, [">"]
        wanted += [(start, "q", 8) for start, _ in numbers]
        for start, code, size in wanted:
            parts.append(f"{start - at}x{code}")
            at = start + size
        masked = int.from_bytes(mask, "big")
        # Kind and shard, as far as they are the same in many rows, tell layouts apart quickly.
        names = row[_NAMES_AT : spans[_SHARD][1]]
        return cls(len(row), names, masked, int.from_bytes(row, "big") & masked, struct.Struct("".join(parts)), assets)


def _spans(row: bytes) -> Iterator[tuple[int, int]]:
    at = 2
    for _ in range(int.from_bytes(row[:2], "big")):
        (length,) = struct.unpack_from(">i", row, at)
        at += 4
        yield at, at + max(length, 0)
        at += max(length, 0)


def _text(row: bytes, span: tuple[int, int]) -> str:
    return row[span[0] : span[1]].decode()


def _elements(row: bytes, span: tuple[int, int], kind: int) -> list[tuple[int, int]]:
    """Where the elements of a one-dimensional array without NULL are."""
    start, end = span
    if end - start < 20:
        raise ValueError("an array of no legs")
    dimensions, nulls, oid, length, lower = struct.unpack_from(">iiIii", row, start)
    if (dimensions, nulls, oid, lower) != (1, 0, kind, 1) or length < 1:
        raise ValueError("an array of another kind")
    at, elements = start + 20, []
    for _ in range(length):
        (size,) = struct.unpack_from(">i", row, at)
        at += 4
        if size < 0 or at + size > end:
            raise ValueError("an array that does not fit")
        elements.append((at, at + size))
        at += size
    if at != end:
        raise ValueError("an array that is longer than it says")
    return elements


class Sums:
    """One shard's balances as the legs make them, and what all of them are together."""

    def __init__(self, shard: str) -> None:
        self._shard = shard
        self.available: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self.hold: defaultdict[str, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        self._all_available: defaultdict[str, int] = defaultdict(int)
        self._all_hold: defaultdict[str, int] = defaultdict(int)
        # By their names; of those the ones that came last first.
        self._layouts: dict[bytes, list[Layout]] = {}
        self._last = (0, -1)

    def take(self, tuples: Tuples, last_seq: int) -> tuple[int, list[str]]:
        """Sums the rows here through `last_seq` that are in memory: how many, and what is wrong with which."""
        data, at, limit = tuples.data, tuples.at, tuples.limit
        rows: dict[Layout, list[tuple[int, ...]]] = {}
        wrong: list[str] = []
        count, last = 0, self._last
        layout: Layout | None = None
        from_bytes = int.from_bytes
        while at < limit:
            if layout is None or from_bytes(data[at : at + layout.size], "big") & layout.mask != layout.pattern:
                tuples.at = at
                if tuples.seq() > last_seq:
                    break
                layout = self._layout(tuples, wrong)
                if layout is None:
                    tuples.take()
                    at, count = tuples.at, count + 1
                    continue
            values = layout.values.unpack_from(data, at)
            key = values[:2]
            if key[0] > last_seq:
                break
            if key <= last:
                wrong.append(f"seq {key[0]} index {key[1]}: it does not come after seq {last[0]} index {last[1]}")
            last = key
            try:
                rows[layout].append(values)
            except KeyError:
                rows[layout] = [values]
            at += layout.size
            count += 1
        tuples.at, self._last = at, last
        if at > tuples.end:
            raise tuples.malformed("a tuple that does not fit")
        for layout, alike in rows.items():
            self._add(layout, alike, wrong)
        return count, wrong

    def _layout(self, tuples: Tuples, wrong: list[str]) -> Layout | None:
        """That of the row here; None for one that is no entry of this shard, with why."""
        data, at = tuples.data, tuples.at
        for names, layouts in self._layouts.items():
            if not data.startswith(names, at + _NAMES_AT):
                continue
            for place, layout in enumerate(layouts):
                if int.from_bytes(data[at : at + layout.size], "big") & layout.mask == layout.pattern:
                    layouts.insert(0, layouts.pop(place))
                    return layout
        tuples.take()
        row, tuples.at = data[at : tuples.at], at
        try:
            layout = Layout.of(row, self._shard)
        except (ValueError, struct.error) as error:
            wrong.append(f"seq {tuples.seq()}: a row that is no entry: {error}")
            return None
        if sum(map(len, self._layouts.values())) >= LAYOUTS_MOST:
            self._layouts.clear()
        self._layouts.setdefault(layout.names, []).insert(0, layout)
        return layout

    def _add(self, layout: Layout, rows: list[tuple[int, ...]], wrong: list[str]) -> None:
        legs = len(layout.assets)
        columns = list(zip(*rows, strict=True))[2:]
        nets: dict[str, list[tuple[int, ...]]] = {}
        for leg, asset in enumerate(layout.assets):
            accounts = columns[leg]
            net = nets.setdefault(asset, [])
            for changes, sums, totals in (
                (columns[legs + leg], self.available, self._all_available),
                (columns[2 * legs + leg], self.hold, self._all_hold),
            ):
                if any(changes):
                    net.append(changes)
                    totals[asset] += sum(changes)
                    balances = sums[asset]
                    for account, change in zip(accounts, changes, strict=True):
                        balances[account] += change
        for asset, changed in nets.items():
            if changed and any(_sum(changed)):
                wrong += [
                    f"seq {row[0]} index {row[1]}: its legs of {asset} sum to {total} and not to zero"
                    for row, total in zip(rows, _sum(changed), strict=True)
                    if total
                ]

    def totals(self) -> list[Total]:
        """As a checkpoint says them, right after the rows so far."""
        result = []
        for asset in sorted(self.available.keys() | self.hold.keys()):
            available, hold = self.available[asset], self.hold[asset]
            fees, external = ((available.get(a, 0), hold.get(a, 0)) for a in (FEES_ACCOUNT, EXTERNAL_ACCOUNT))
            result.append(
                Total(
                    self._shard,
                    asset,
                    self._all_available[asset] - fees[0] - external[0],
                    self._all_hold[asset] - fees[1] - external[1],
                    sum(fees),
                    sum(external),
                )
            )
        return result

    def balances(self) -> dict[tuple[int, str], tuple[int, int]]:
        """(account, asset) -> (available, hold); those of nothing are left out."""
        found = {}
        for asset in self.available.keys() | self.hold.keys():
            available, hold = self.available[asset], self.hold[asset]
            for account in available.keys() | hold.keys():
                amounts = (available.get(account, 0), hold.get(account, 0))
                if any(amounts):
                    found[account, asset] = amounts
        return found


def _sum(columns: list[tuple[int, ...]]) -> Iterator[int]:
    total: Iterator[int] = iter(columns[0])
    for column in columns[1:]:
        total = map(add, total, column)
    return total
