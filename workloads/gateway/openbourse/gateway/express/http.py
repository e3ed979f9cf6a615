"""Orders of REST that are as most: from a request to `orders`, and the answer to a response."""

import time

from openbourse.gateway import signatures
from openbourse.gateway.errors import Refused
from openbourse.gateway.express.orders import Order, Orders
from openbourse.gateway.express.requests import Cancel, Place, of_form
from openbourse.gateway.http_protocol import Exchange, Takers
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.replays import Sending
from openbourse.gateway.requests_counted import CallCounts, Requests
from openbourse.gateway.sockets import written
from openbourse.gateway.wire import OK, QUERY_BYTES_MOST, REQUEST_ID, answer_headers, refusal_headers, usage_headers

PATH = "/api/v3/order"
_FORM = b"application/x-www-form-urlencoded"
_UNITS = {b"": False, b"MILLISECOND": False, b"MICROSECOND": True}


class HttpOrder(Order):
    """Of a request of HTTP, which it answers."""

    __slots__ = ("_exchange",)

    def __init__(
        self,
        exchange: Exchange,
        way: str,
        counts: CallCounts,
        sending: Sending,
        *,
        microseconds: bool,
        request_id: str,
        traceparent: str | None,
    ) -> None:
        super().__init__(
            way, counts, sending, microseconds=microseconds, request_id=request_id, traceparent=traceparent
        )
        self._exchange = exchange

    def answered(self, result: str | Refused) -> None:
        if isinstance(result, Refused):
            data = written(result.as_json()).encode()
            headers = [*usage_headers(self.charge), *refusal_headers(result, {})]
            headers += [(b"x-request-id", self.request_id.encode()), *answer_headers(data)]
            head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self._exchange.answer(result.status, head, data)
            self.tell(result.status, result)
        else:
            data = result.encode()
            self._exchange.answer(OK, head_of(self.charge, self.request_id, len(data)), data)
            self.tell(OK, None)


def head_of(charge: Charge, request_id: str, size: int) -> bytes:
    """Of an answer of so many bytes: the lines of `usage_headers`, the request's id, and `answer_headers`, at once."""
    used = b""
    if charge.weight_used is not None:
        used = b"x-mbx-used-weight-1m: %d\r\nx-mbx-used-weight: %d\r\n" % (charge.weight_used, charge.weight_used)
        if charge.account:
            orders = charge.orders_10s, charge.orders_day
            used += b"x-mbx-order-count-10s: %d\r\nx-mbx-order-count-1d: %d\r\n" % orders
    return (
        b"%bx-request-id: %b\r\n"
        b"content-type: application/json;charset=UTF-8\r\ncontent-length: %d\r\ncache-control: no-store\r\n"
    ) % (used, request_id.encode(), size)


class HttpOrders:
    def __init__(self, orders: Orders, requests: Requests) -> None:
        self._orders = orders
        self._ways = {
            Place: (f"POST {PATH}", requests.of("rest", "order.place")),
            Cancel: (f"DELETE {PATH}", requests.of("rest", "order.cancel")),
        }

    def takers(self) -> Takers:
        return {
            PATH: {
                "POST": lambda exchange: self._take(exchange, Place),
                "DELETE": lambda exchange: self._take(exchange, Cancel),
            }
        }

    def _take(self, exchange: Exchange, kind: type[Place] | type[Cancel]) -> bool:
        headers = dict(exchange.headers)
        query, body = exchange.query, exchange.body
        # A header that is there twice, or a body of another kind, is for the general way.
        if len(headers) != len(exchange.headers) or (query and body) or len(query) > QUERY_BYTES_MOST:
            return False
        microseconds = _UNITS.get(headers.get(b"x-mbx-time-unit", b""))
        if microseconds is None or headers.get(b"content-type", _FORM) != _FORM:
            return False
        now_us = time.time_ns() // 1000
        api_key = headers.get(b"x-mbx-apikey", b"").decode("latin-1")
        holder = self._orders.holder_of(api_key, exchange.client, now_us)
        sent = None if holder is None else of_form(kind, query or body)
        if holder is None or sent is None:
            return False
        own_id, trace = headers.get(b"x-request-id", b""), headers.get(b"traceparent")
        order = HttpOrder(
            exchange,
            *self._ways[kind],
            Sending(exchange.client, now_us),
            microseconds=microseconds,
            request_id=own_id.decode() if REQUEST_ID.fullmatch(own_id) else "",
            traceparent=None if trace is None else trace.decode("latin-1"),
        )
        return self._orders.begin(order, sent, holder, signatures.signed_bytes(query, body))
