"""One order on its way: counted, sent to the engine, answered. Each step calls the next, and nobody waits.

What it means is said elsewhere: the command by `commands`, the answer by `answers` and `refusals`. How an answer
reaches the trader is for whoever asked.
"""

import logging
import time

from openbourse.contracts import v1
from openbourse.contracts.tracing import Span, Tracing
from openbourse.gateway import errors, refusals
from openbourse.gateway.calls import Security, new_id
from openbourse.gateway.errors import Invalid, Refused, TooMany
from openbourse.gateway.express import answers, commands
from openbourse.gateway.express.commands import Asked
from openbourse.gateway.express.requests import Cancel, Place
from openbourse.gateway.key_ring import Holder, KeyRing
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.replays import Sending
from openbourse.gateway.requests_counted import CallCounts
from openbourse.gateway.shards import Shards
from openbourse.gateway.signatures import check_signature
from openbourse.gateway.wire import access, tell

log = logging.getLogger(__name__)

_TRADE = Security.TRADE.permission


class Order:
    """One of a trader, who is told by `answered`: that is whoever asked's to say."""

    __slots__ = (
        "_asked",
        "_began_ns",
        "_good_until_us",
        "_orders",
        "_span",
        "charge",
        "counts",
        "microseconds",
        "request_id",
        "sending",
        "traceparent",
        "way",
    )

    def __init__(
        self,
        way: str,
        counts: CallCounts,
        sending: Sending,
        *,
        microseconds: bool,
        request_id: str = "",
        traceparent: str | None = None,
    ) -> None:
        # As the log and the trace name it, and where it is counted.
        self.way = way
        self.counts = counts
        # Who asks, when, and how.
        self.sending = sending
        # Times are answered in these.
        self.microseconds = microseconds
        # Its own, where it brought one.
        self.request_id = request_id
        self.traceparent = traceparent

    # Once it has begun.
    charge: Charge
    _orders: "Orders"
    _asked: Asked
    # Of one that was signed, and may be sent again where nothing came of it; else 0.
    _good_until_us: int
    _span: Span | None
    _began_ns: int

    def answered(self, result: str | Refused) -> None:
        """Called once: with the result as text, or with why there is none."""
        raise NotImplementedError

    def begun(self, orders: "Orders", asked: Asked, good_until_us: int, charge: Charge, span: Span | None) -> None:
        self._orders = orders
        self._asked = asked
        self._good_until_us = good_until_us
        self._span = span
        self._began_ns = time.perf_counter_ns()
        self.charge = charge

    def counted(self, refused: TooMany | None) -> None:
        """Its charge is settled."""
        if refused is not None:
            self._refuse(refused)
            return
        try:
            asked = self._asked
            body = asked.command.SerializeToString()
            self._orders.submit(asked.market.symbol, asked.command_id, body, self._heard)
        except Refused as refusal:
            self._refuse(refusal)

    def _heard(self, reply: v1.Reply | Refused) -> None:
        if isinstance(reply, Refused):
            self._refuse(reply)
            return
        try:
            result = self._result(reply)
        except Exception:
            log.exception("request %s failed", self.request_id)
            self._refuse(Refused(errors.UNKNOWN, detail=f"request {self.request_id}"))
        else:
            self.answered(result)

    def _result(self, reply: v1.Reply) -> str | Refused:
        asked = self._asked
        cancel_id = asked.cancel_id
        clock = _microseconds if self.microseconds else _milliseconds
        if reply.HasField("rejection"):
            return (refusals.of_cancel if cancel_id else refusals.of_place)(reply.rejection)
        if cancel_id:
            return answers.canceled(reply.order.order, cancel_id, reply.occurred_at_us, asked.market, clock)
        return answers.placed(reply.order, reply.occurred_at_us, asked.kind, asked.market, clock)

    def _refuse(self, refusal: Refused) -> None:
        """Nothing was done, or nobody knows."""
        if self._good_until_us:
            self._orders.keys.replays.reopen(self._asked.command_id, self._good_until_us)
        if refusal.status >= 500:
            log.warning("request %s: %s %s", self.request_id, refusal.message, refusal.detail)
        self.answered(refusal)

    def tell(self, status: int, refusal: Refused | None) -> None:
        """Once it is answered: to the trace, the log and the counts."""
        if self._span is not None:
            tell(self._span, self.request_id, status, None if refusal is None else refusal.as_json())
        took_ns = time.perf_counter_ns() - self._began_ns
        self.counts.note(status, took_ns)
        if access.isEnabledFor(logging.INFO):
            access.info("%s %s %d %d us", self.request_id, self.way, status, took_ns // 1000)


def _milliseconds(time_us: int) -> int:
    return time_us // 1000


def _microseconds(time_us: int) -> int:
    return time_us


class Orders:
    """Begins orders. Whatever it does not begin has changed nothing and was not counted."""

    def __init__(self, shards: Shards, keys: KeyRing, usage: Usage, traces: Tracing) -> None:
        self.submit = shards.submit
        self.known_market = shards.known_market
        self.keys = keys
        self._traces = traces
        self._usage = usage

    def holder_of(self, api_key: str, address: str, now_us: int) -> Holder | None:
        try:
            return self.keys.holder(api_key, address, now_us)
        except Invalid:
            return None

    def begin(self, order: Order, sent: Place | Cancel, holder: Holder, signed: bytes | None) -> bool:
        """`signed` must have the request's signature; None: it need not be signed. False: it goes the general way."""
        sending = order.sending
        now_us = sending.at_us
        market = self.known_market(sent.symbol)
        if market is None or (good_until_us := sent.good_until_us(now_us)) is None:
            return False
        charge = self._usage.begin(sending.address, now_us)
        if charge.banned_until_ms or _TRADE not in holder.permissions:
            return False
        if signed is not None:
            try:
                check_signature(holder.key, signed, sent.signature)
            except Invalid:
                return False
        own_id = new_id(now_us)
        if not order.request_id:
            order.request_id = own_id.hex()
        if isinstance(sent, Place):
            # By the name that the general way has for the call.
            name, asked = "order.place", commands.place(sent, market, holder.account, own_id, order.request_id)
            charge.account = holder.account
        else:
            name, asked = "order.cancel", commands.cancel(sent, market, holder.account, own_id, order.request_id)
        if asked is None:
            return False
        may_reopen = False
        if signed is not None:
            replays = self.keys.replays
            taken = replays.take(replays.request_id(holder.api_key, name, signed), good_until_us, sending)
            if taken is None:
                return False
            if taken:
                asked.command.command_id = asked.command_id = taken
                may_reopen = True
        charge.api_key = holder.api_key
        span = self._traces.begin(order.way, order.traceparent)
        if span is not None:
            asked.command.traceparent = span.traceparent
        order.begun(self, asked, good_until_us if may_reopen else 0, charge, span)
        self._usage.count(charge, order.counted)
        return True
