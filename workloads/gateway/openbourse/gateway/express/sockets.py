"""Orders of the WebSocket API that are as most: from a frame to `orders`, and the answer to a frame."""

import functools
import json
import time
from typing import Protocol

from openbourse.gateway.errors import Refused
from openbourse.gateway.express import requests
from openbourse.gateway.express.orders import Order, Orders
from openbourse.gateway.express.requests import Place
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.rules import Limits
from openbourse.gateway.replays import Sending
from openbourse.gateway.requests_counted import CallCounts, Requests
from openbourse.gateway.sockets import written
from openbourse.gateway.websocket_api.requests import refused
from openbourse.gateway.websocket_api.sessions import Session
from openbourse.gateway.websocket_frames import text_frame
from openbourse.gateway.wire import OK


class Answered(Protocol):
    """A connection, as far as its orders have to do with it."""

    session: Session

    def answered(self, frame: bytes) -> None: ...


class SocketOrder(Order):
    """Of a connection, which hears of it in the frame of its request."""

    __slots__ = ("_connection", "_request_id", "_shows_limits")

    def __init__(
        self,
        connection: Answered,
        way: str,
        counts: CallCounts,
        sending: Sending,
        request_id: str,
        *,
        microseconds: bool,
        shows_limits: bool,
    ) -> None:
        """`request_id` as it is written."""
        super().__init__(way, counts, sending, microseconds=microseconds)
        self._connection = connection
        self._request_id = request_id
        self._shows_limits = shows_limits

    def answered(self, result: str | Refused) -> None:
        request_id = self._request_id
        limits = limits_text(self.charge) if self._shows_limits else ""
        if isinstance(result, Refused):
            self._connection.answered(text_frame(_refusal(request_id, result, self.charge, limits)))
            self.tell(result.status, result)
        else:
            self._connection.answered(text_frame(f'{{"id":{request_id},"status":200,"result":{result}{limits}}}'))
            self.tell(OK, None)


class SocketOrders:
    def __init__(self, orders: Orders, requests: Requests) -> None:
        self._orders = orders
        self._place, self._cancel = (
            (f"WS {name}", requests.of("websocket", name)) for name in ("order.place", "order.cancel")
        )

    def begin(self, connection: Answered, text: bytes) -> bool:
        """False: it goes the general way, and nothing has been done."""
        request = requests.of_frame(text)
        if request is None:
            return False
        sent, session, now_us = request.params, connection.session, time.time_ns() // 1000
        holder = session.holder
        if holder is not None:
            # Whether its key is still good; if not, the general way ends the session.
            holder = self._orders.holder_of(holder.api_key, session.address, now_us)
            if holder is None:
                return False
            session.holder = holder
        must_be_signed = sent.signature != ""
        if sent.apiKey or holder is None:
            holder, must_be_signed = self._orders.holder_of(sent.apiKey, session.address, now_us), True
            if holder is None or not sent.signature:
                return False
        shows_limits = session.return_rate_limits if sent.returnRateLimits is None else sent.returnRateLimits
        way, counts = self._place if isinstance(sent, Place) else self._cancel
        order = SocketOrder(
            connection,
            way,
            counts,
            Sending(session.address, now_us, session.number, repr(request.id)),
            str(request.id) if isinstance(request.id, int) else written(request.id),
            microseconds=session.microseconds,
            shows_limits=shows_limits,
        )
        return self._orders.begin(order, sent, holder, sent.signed() if must_be_signed else None)


def _refusal(request_id: str, refusal: Refused, charge: Charge, limits: str) -> str:
    document = refused(json.loads(request_id), refusal, charge.now_ms)
    return written(document)[:-1] + limits + "}"


def limits_text(charge: Charge) -> str:
    """As `Charge.as_json` is written, behind what an answer has before it."""
    orders_10s, orders_day, weight = _around_counts(charge.limits)
    of_orders = f"{orders_10s}{charge.orders_10s}}},{orders_day}{charge.orders_day}}}," if charge.account else ""
    return f',"rateLimits":[{of_orders}{weight}{charge.weight_used}}}]'


@functools.lru_cache(maxsize=1_000)
def _around_counts(limits: Limits) -> tuple[str, str, str]:
    """What each of them is written with, up to its count."""
    rows = [*limits.orders_as_json((0, 0)), *limits.weight_as_json(0)]
    first, second, third = (written(row).removesuffix("0}") for row in rows)
    return first, second, third
