"""In which times a shard had a symbol, as its log says: each freeze, departure and arrival, with what went along.

Events in, JSON out. It does not judge, and knows one shard alone: whoever has the logs of both holds them together.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from openbourse.contracts import v1

NAMED_MOST = 20
# What a symbol can have no event of in a shard that does not have it.
_OF_WHO_HAS_IT = frozenset(
    {
        *("order_accepted", "order_canceled", "order_expired", "order_amended"),
        *("trade_executed", "match_prevented", "book_delta"),
    }
)


@dataclass(slots=True)
class Whereabouts:
    """Of one symbol, from one seq on. `here`: it is traded in this shard; at first, before that seq."""

    symbol: str
    here: bool
    here_first: bool = field(init=False)
    passages: list[dict[str, Any]] = field(default_factory=list)
    # Commands that did something to it while it was not here.
    away: int = 0
    away_first: list[str] = field(default_factory=list)
    trade_gaps: list[str] = field(default_factory=list)
    _trade_id: int | None = None

    def __post_init__(self) -> None:
        self.here_first = self.here

    def take(self, events: Sequence[v1.Event]) -> None:
        """All events of one command."""
        own = [event for event in events if event.symbol == self.symbol]
        strange = None
        for event in own:
            body = event.WhichOneof("body")
            if passage := self._passage(event, own):
                self.passages.append(passage)
                self.here = passage["what"] in {"Listed", "Unfrozen", "Imported"}
            if body in _OF_WHO_HAS_IT and not self.here:
                strange = strange or f"{body} at seq {event.seq}"
            if body == "trade_executed":
                self._trade(event)
        if strange is not None:
            self.away += 1
            self.away_first.append(strange)

    def document(self) -> dict[str, Any]:
        return {
            "here_first": self.here_first,
            "passages": self.passages,
            "away": self.away,
            "away_first": self.away_first[:NAMED_MOST],
            "trade_gaps": self.trade_gaps[:NAMED_MOST],
        }

    def _trade(self, event: v1.Event) -> None:
        before, self._trade_id = self._trade_id, event.trade_executed.trade_id
        if before is not None and self._trade_id != before + 1:
            self.trade_gaps.append(f"{self.symbol} at seq {event.seq}: trade {self._trade_id} after {before}")

    def _passage(self, event: v1.Event, command: Sequence[v1.Event]) -> dict[str, Any] | None:
        """None: it neither came nor left by this event."""
        match event.WhichOneof("body"):
            case "symbol_frozen":
                frozen = event.symbol_frozen
                numbers = {"update_id": frozen.last_update_id, "trade_id": self._trade_id or 0}
                went = {"shard": frozen.to_shard, "record": frozen.record_sha256.hex(), **numbers}
                return _said("Frozen", event, frozen.move_id, open=_orders(command, "order_departed"), **went)
            case "symbol_unfrozen":
                unfrozen = event.symbol_unfrozen
                return _said("Unfrozen", event, unfrozen.move_id, open=_orders(command, "order_returned"))
            case "symbol_departed":
                departed = event.symbol_departed
                return _said("Departed", event, departed.move_id, shard=departed.to_shard)
            case "symbol_imported":
                imported = event.symbol_imported
                self._trade_id = imported.last_trade_id
                numbers = {"update_id": imported.last_update_id, "trade_id": imported.last_trade_id}
                came = {"shard": imported.from_shard, "record": imported.record_sha256.hex(), **numbers}
                return _said("Imported", event, imported.move_id, open=_orders(command, "order_arrived"), **came)
            case "symbol_defined" if not self.here and not any(each.HasField("symbol_imported") for each in command):
                return _said("Listed", event)
            case _:
                return None


def _said(what: str, event: v1.Event, move_id: bytes = b"", **more: Any) -> dict[str, Any]:
    move = {"move": str(uuid.UUID(bytes=move_id))} if move_id else {}
    return {"what": what, "seq": event.seq, "at_us": event.occurred_at_us, **move, **more}


def _orders(command: Sequence[v1.Event], body: str) -> dict[str, list[Any]]:
    """Of a command that moves them: by order id, its client order id, and everything of it that matters in a book."""
    orders = [getattr(event, body).order for event in command if event.WhichOneof("body") == body]
    return {
        str(order.order_id): [
            *(order.client_order_id, order.account, int(order.side), order.price_ticks),
            *(order.quantity_lots, order.executed_lots, order.prevented_lots),
        ]
        for order in orders
    }
