"""An overview as tables for people. Everything that is shown was decided before."""

import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from openbourse.cli.bourse.overview import HaltLine, Health, Overview, ShardLine, SymbolLine

UNKNOWN = Text("-", style="dim")


def screen(seen: Overview, now: datetime.datetime) -> RenderableType:
    parts: list[RenderableType] = [_head(seen, now), _shards(seen.shards, now)]
    problems = [problem for shard in seen.shards for problem in shard.problems]
    parts += [Text(f"  {problem}", style="yellow") for problem in problems]
    parts += [Text(), _symbols(seen.symbols) if seen.symbols else Text("no symbols", style="dim")]
    parts += [Text(), _halts(seen.halts, now)] if seen.halts else []
    return Group(*parts)


def ago(at: datetime.datetime, now: datetime.datetime) -> str:
    seconds = int((now - at).total_seconds())
    return f"{span(seconds)} ago" if seconds > 0 else "now"


def span(seconds: int) -> str:
    """Two units at the most, as kubectl has ages."""
    for size, unit, smaller, name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size}{unit}{rest}{name}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


def _head(seen: Overview, now: datetime.datetime) -> Text:
    head = Text.assemble(("Exchange ", "dim"), (seen.exchange, "bold"), "  ", _ready(seen.health))
    head.append(f"  {seen.image}", style="dim")
    if seen.sealed_at is not None:
        head.append(f"  sealed {ago(seen.sealed_at, now)}", style="dim")
    if seen.health.ready is False and seen.health.message:
        head.append(f"\n  {seen.health.message}", style="yellow")
    return head


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        number = column in {"EPOCH", "COMMITTED", "LAG"}
        table.add_column(column, justify="right" if number else "left", no_wrap=column != "REASON")
    return table


def _ready(health: Health) -> Text:
    match health.ready:
        case True:
            return Text("Ready", style="green")
        case False:
            return Text(health.reason or "NotReady", style="bold red")
        case None:
            return Text("unknown", style="yellow")


def _value(value: object) -> Text:
    return UNKNOWN if value is None else Text(str(value))


def _shards(shards: tuple[ShardLine, ...], now: datetime.datetime) -> Table:
    table = _table("SHARD", "STATE", "LEADER", "EPOCH", "IN SYNC", "COMMITTED", "LAG", "LAST FAILOVER")
    for shard in shards:
        in_sync = UNKNOWN
        if shard.in_sync is not None:
            whole = shard.in_sync == shard.members
            in_sync = Text(f"{shard.in_sync}/{shard.members}", style="" if whole else "yellow")
        failover = UNKNOWN
        if (last := shard.last_failover) is not None:
            took = "" if last.acknowledged_ms is None else f", {last.acknowledged_ms} ms"
            failover = Text(f"{ago(last.at, now)} to {last.leader}{took}")
        table.add_row(
            *(shard.name, _ready(shard.health), _value(shard.leader), _value(shard.epoch), in_sync),
            *(_value(shard.committed_seq), _value(shard.lag), failover),
        )
    return table


def _symbols(symbols: tuple[SymbolLine, ...]) -> Table:
    table = _table("SYMBOL", "SHARD", "STATE", "HELD BY")
    for symbol in symbols:
        trades = symbol.state == "TRADING"
        state = Text("not listed", style="yellow") if symbol.state is None else Text(symbol.state)
        state.stylize("green" if trades else "bold red" if symbol.state == "HALT" else "yellow")
        shard = Text(symbol.shard)
        if symbol.moving_to is not None:
            shard = Text(f"{symbol.shard} to {symbol.moving_to}: {symbol.move_state or 'waits'}", style="yellow")
        table.add_row(symbol.name, shard, state, ", ".join(symbol.held_by) or UNKNOWN)
    return table


def _halts(halts: tuple[HaltLine, ...], now: datetime.datetime) -> Table:
    table = _table("HALT", "MODE", "SYMBOLS", "ACKNOWLEDGED", "UNTIL", "BY", "REASON")
    for halt in halts:
        every = halt.acknowledged == halt.shards > 0 and not halt.refused
        acknowledged = Text(f"{halt.acknowledged}/{halt.shards}", style="" if every else "bold red")
        if halt.refused:
            acknowledged.append(f" refused by {'; '.join(halt.refused)}")
        until = f"another than {halt.requester} lifts it" if halt.two_person else "it is lifted"
        if halt.ends_at is not None:
            until = "over" if halt.over else f"in {span(int((halt.ends_at - now).total_seconds()))}"
        of = ", ".join(halt.symbols) or (f"all of {', '.join(halt.in_shards)}" if halt.in_shards else "all")
        table.add_row(halt.name, halt.mode, of, acknowledged, until, _value(halt.requester), halt.reason)
    return table
