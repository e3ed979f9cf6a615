"""The private part of the history in SQLite: orders, prevented matches, balances. `sqlite_history` has the connections.

Writes are part of its transaction; nothing here begins or ends one.
"""

import sqlite3
from collections.abc import Callable
from importlib.resources import files
from typing import Any

from openbourse.contracts import v1
from openbourse.marketdata.accounts import Accounts, AccountsRecord, key_of
from openbourse.marketdata.history import OrdersWanted, PreventedWanted, require_limit

# SQLite's integers are signed.
_SIGNED_END, _ALL = 2**63, 2**64

Rows = Callable[..., list[tuple[bytes]]]


def create(writer: sqlite3.Connection) -> None:
    writer.executescript(files(__package__).joinpath("sql/accounts.sql").read_text())


def write(writer: sqlite3.Connection, record: AccountsRecord) -> None:
    writer.executemany(
        "DELETE FROM orders WHERE symbol = ? AND is_open", [(symbol,) for symbol in sorted(record.departed)]
    )
    writer.executemany(
        "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (
                row.order_id,
                _signed(row.account),
                row.symbol,
                row.client_order_id,
                row.updated_us,
                row.is_open,
                row.record,
            )
            for row in record.orders
        ),
    )
    writer.executemany(
        "INSERT OR REPLACE INTO prevented VALUES (?, ?, ?, ?, ?, ?, ?)", map(_prevented_values, record.prevented)
    )
    writer.executemany(
        "INSERT OR REPLACE INTO balances VALUES (?, ?, ?, ?)",
        ((_signed(account), asset, *amounts) for (account, asset), amounts in record.balances.items()),
    )
    writer.executemany(
        "INSERT OR REPLACE INTO trade_groups VALUES (?, ?)",
        ((_signed(account), _signed(group)) for account, group in record.trade_groups.items()),
    )


def load(reader: sqlite3.Connection, accounts: Accounts) -> None:
    for (data,) in reader.execute("SELECT record FROM orders WHERE is_open"):
        record = v1.OrderRecord.FromString(data)
        accounts.open_orders[key_of(record.order)] = record
    for account, asset, available, hold in reader.execute("SELECT account, asset, available, hold FROM balances"):
        accounts.balances[account % _ALL, asset] = available, hold
    for account, group in reader.execute("SELECT account, trade_group FROM trade_groups"):
        accounts.trade_groups[account % _ALL] = group % _ALL


def orders(rows: Rows, wanted: OrdersWanted) -> list[v1.OrderRecord]:
    require_limit(wanted.limit)
    conditions, values = _wanted(
        ("account = ?", _signed(wanted.account)),
        ("symbol = ?", wanted.symbol),
        ("order_id >= ?", wanted.from_id),
        ("updated_us >= ?", wanted.start_us),
        ("updated_us <= ?", wanted.end_us),
    )
    by_time = wanted.start_us is not None or wanted.end_us is not None
    latest = wanted.from_id is None and wanted.start_us is None
    order = ", ".join(f"{column}{' DESC' * latest}" for column in (["updated_us"] * by_time + ["order_id"]))
    query = f"SELECT record FROM orders WHERE {conditions} ORDER BY {order} LIMIT ?"  # noqa: S608
    found = [v1.OrderRecord.FromString(data) for (data,) in rows(query, *values, wanted.limit)]
    return sorted(found, key=lambda record: record.order.order_id)


def order(rows: Rows, account: int, symbol: str, order_id: int | None, client_order_id: str) -> v1.OrderRecord | None:
    named = "order_id = ?" if order_id is not None else "client_order_id = ?"
    query = f"SELECT record FROM orders WHERE account = ? AND symbol = ? AND {named} ORDER BY order_id DESC LIMIT 1"  # noqa: S608
    found = rows(query, _signed(account), symbol, client_order_id if order_id is None else order_id)
    return v1.OrderRecord.FromString(found[0][0]) if found else None


def prevented(rows: Rows, wanted: PreventedWanted) -> list[v1.PreventedMatch]:
    require_limit(wanted.limit)
    conditions, values = _wanted(
        # An order has few: found by it, not among all of the symbol.
        ("symbol = ?" if wanted.order_id is None else "+symbol = ?", wanted.symbol),
        ("? IN (taker_account, maker_account)", _signed(wanted.account)),
        ("prevented_match_id = ?", wanted.prevented_match_id),
        ("(taker_order_id = ? OR maker_order_id = ?)", wanted.order_id, wanted.order_id),
        ("prevented_match_id >= ?", wanted.from_id),
    )
    query = f"SELECT record FROM prevented WHERE {conditions} ORDER BY prevented_match_id LIMIT ?"  # noqa: S608
    return [v1.PreventedMatch.FromString(data) for (data,) in rows(query, *values, wanted.limit)]


def _wanted(*conditions: tuple[Any, ...]) -> tuple[str, list[object]]:
    """Conditions, each with its values: those that have some, as one."""
    given = [(condition, values) for condition, *values in conditions if None not in values]
    return " AND ".join(condition for condition, _ in given), [value for _, values in given for value in values]


def _prevented_values(prevented: v1.PreventedMatch) -> tuple[object, ...]:
    match = prevented.match
    return (
        *(prevented.symbol, match.prevented_match_id, _signed(match.taker.account), match.taker.order_id),
        *(_signed(match.maker.account), match.maker.order_id, prevented.SerializeToString()),
    )


def _signed(account: int) -> int:
    return account if account < _SIGNED_END else account - _ALL
