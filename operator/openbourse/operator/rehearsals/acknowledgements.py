"""What clients were told, order by order, and what of it becomes facts. No clock, no socket: times come in.

Times are milliseconds since the rehearsal began.
"""

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openbourse.operator.rehearsals.facts import LoadFacts, LogFacts, Pause, TogetherFacts, Took

BUCKET_MS = 100
# Shorter ones are none.
PAUSE_MS_LEAST = 30
PAUSES_MOST = 50
NAMED_MOST = 20
RECENT_MS = 5_000
# Of fewer answers a share says nothing.
RECENT_LEAST = 20


@dataclass(slots=True)
class Acknowledgements:
    """`orders`: by client order id, the order that was acknowledged."""

    orders: dict[str, int] = field(default_factory=dict)
    at_ms: list[int] = field(default_factory=list)
    # Of each of them, when it was sent.
    sent_ms: list[int] = field(default_factory=list)
    asked: int = 0
    refused: int = 0
    unanswered: int = 0
    # The first thing that was said instead of an acknowledgement.
    said_first: str = ""
    _recent: deque[tuple[int, bool]] = field(default_factory=lambda: deque(maxlen=20_000))

    def acknowledged(self, name: str, order: int, now_ms: int, sent_ms: int | None = None) -> None:
        """`sent_ms`: None, just now."""
        self.orders[name] = order
        self.at_ms.append(now_ms)
        self.sent_ms.append(now_ms if sent_ms is None else sent_ms)
        self._recent.append((now_ms, True))

    def refuse(self, said: str, now_ms: int) -> None:
        self.refused += 1
        self._fault(said, now_ms)

    def unanswer(self, said: str, now_ms: int) -> None:
        self.unanswered += 1
        self._fault(said, now_ms)

    def _fault(self, said: str, now_ms: int) -> None:
        self.said_first = self.said_first or said[:200]
        self._recent.append((now_ms, False))

    def error_percent(self, now_ms: int) -> int:
        """Of the last seconds; 0 where there were too few answers to say."""
        recent = [good for at_ms, good in self._recent if now_ms - at_ms <= RECENT_MS]
        return 100 * recent.count(False) // len(recent) if len(recent) >= RECENT_LEAST else 0

    def silent_ms(self, now_ms: int) -> int:
        """Since the last acknowledgement, or since the beginning."""
        return now_ms - (self.at_ms[-1] if self.at_ms else 0)

    def since(self, from_ms: int) -> int:
        return sum(at_ms >= from_ms for at_ms in self.at_ms)

    def longest_ms(self, from_ms: int, to_ms: int) -> int | None:
        """The longest time between two acknowledgements that ended in that time; None: none ended then."""
        ends = [later - sooner for sooner, later in itertools.pairwise(self.at_ms) if from_ms < later <= to_ms]
        return max(ends, default=None)

    def took(self, from_ms: int, to_ms: int) -> Took:
        """Of those that were sent in that time."""
        found = sorted(
            at_ms - sent_ms
            for at_ms, sent_ms in zip(self.at_ms, self.sent_ms, strict=True)
            if from_ms <= sent_ms < to_ms
        )
        if not found:
            return Took()
        return Took(orders=len(found), p50_ms=found[len(found) // 2], p99_ms=found[len(found) * 99 // 100])

    def facts(self, lasted_ms: int, lifted_ms: int | None, asked_ms: int | None = None) -> LoadFacts:
        buckets = [0] * (lasted_ms // BUCKET_MS + 1)
        for at_ms in self.at_ms:
            buckets[min(at_ms // BUCKET_MS, len(buckets) - 1)] += 1
        pauses = [
            Pause(from_ms=sooner, to_ms=later)
            for sooner, later in itertools.pairwise(self.at_ms)
            if later - sooner >= PAUSE_MS_LEAST
        ]
        longest = sorted(pauses, key=lambda pause: -pause.lasted_ms)[:PAUSES_MOST]
        return LoadFacts(
            asked=self.asked,
            acknowledged=len(self.orders),
            refused=self.refused,
            unanswered=self.unanswered,
            bucket_ms=BUCKET_MS,
            acknowledged_per_bucket=tuple(buckets),
            pauses=tuple(sorted(longest, key=lambda pause: pause.from_ms)),
            acknowledged_after=0 if lifted_ms is None else self.since(lifted_ms),
            took_before=None if asked_ms is None else self.took(0, asked_ms),
            took_during=None if asked_ms is None or lifted_ms is None else self.took(asked_ms, lifted_ms),
            took_after=None if lifted_ms is None else self.took(lifted_ms, lasted_ms + 1),
        )


def compared(pod: str, audit: Mapping[str, object], orders: Mapping[str, int]) -> LogFacts:
    """What the audit of one engine's log says, held against what clients were told. Raises ValueError.

    `orders`: those that have to be in this log; none where they may be in another shard's.
    """
    content = dict(audit)
    made = content.pop("orders", None)
    if content.get("damaged") and made is None:
        return LogFacts(pod=pod, first_seq=0, last_seq=0, damaged=str(content["damaged"]))
    if not isinstance(made, dict):
        raise ValueError("the audit has no orders")
    lost = [
        f"{name}: acknowledged as {order}, in the log {made.get(name, 'nothing')}"
        for name, order in orders.items()
        if made.get(name) != [order]
    ]
    repeated = [f"{name}: {ids}" for name, ids in made.items() if len(ids) > 1]
    return LogFacts.model_validate(
        {
            **content,
            "whereabouts": _whereabouts(content.get("whereabouts")),
            "pod": pod,
            "compared": len(orders),
            "lost": len(lost),
            "lost_first": tuple(lost[:NAMED_MOST]),
            "repeated": len(repeated),
            "repeated_first": tuple(repeated[:NAMED_MOST]),
        }
    )


def compared_together(audits: Mapping[str, Mapping[str, Any]], orders: Mapping[str, int]) -> TogetherFacts:
    """What clients were told, held against the audits of one log of each shard, by pod.

    An order is accepted in one shard, and goes along with its symbol: it has to come as it left.
    """
    made: dict[str, list[int]] = {}
    for audit in audits.values():
        for name, ids in (audit.get("orders") or {}).items():
            made.setdefault(name, []).extend(ids)
    lost = [
        f"{name}: acknowledged as {order}, in the logs {made.get(name, 'nothing')}"
        for name, order in orders.items()
        if order not in made.get(name, ())
    ]
    lost += _left_behind(audits)
    repeated = [f"{name}: {ids}" for name, ids in made.items() if len(ids) > 1]
    return TogetherFacts(
        pods=tuple(sorted(audits)),
        compared=len(orders),
        lost=len(lost),
        lost_first=tuple(lost[:NAMED_MOST]),
        repeated=len(repeated),
        repeated_first=tuple(repeated[:NAMED_MOST]),
    )


def _left_behind(audits: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Orders that left one shard and did not come to the other. A move that ended nowhere is none of it."""
    passages = [
        passage for audit in audits.values() for passage in (audit.get("whereabouts") or {}).get("passages", ())
    ]
    came = {passage["move"]: passage for passage in passages if passage["what"] == "Imported"}
    for passage in passages:
        arrived = came.get(passage.get("move", ""))
        if passage["what"] != "Frozen" or arrived is None:
            continue
        for order_id, order in passage["open"].items():
            if (there := arrived["open"].get(order_id)) != order:
                said = "nowhere" if there is None else f"as {there}"
                yield f"{order[0]}: left {arrived['shard']} as order {order_id}, came to {passage['shard']} {said}"


def _whereabouts(told: Any) -> Any:
    """Of the open orders that went along, their number and digest: there may be many."""
    if not isinstance(told, dict):
        return told
    passages = []
    for passage in told.get("passages", ()):
        kept = dict(passage)
        went: Mapping[str, Any] | None = kept.pop("open", None)
        if went is not None:
            text = json.dumps(went, sort_keys=True, separators=(",", ":"))
            kept |= {"open_orders": len(went), "orders": hashlib.sha256(text.encode()).hexdigest()}
        passages.append(kept)
    return told | {"passages": passages}
