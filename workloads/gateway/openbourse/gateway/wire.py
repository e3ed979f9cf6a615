"""One HTTP request of the Binance wire, from bytes to bytes: limits, key, signature, parameters, handler, answer.

This is plain ASGI: the signature is over the bytes as they came, before anybody parsed them, and orders are the hot
path. A refusal is answered in Binance's words, anything unexpected with -1000 and the request's id; the trace goes to
the log. What is logged of a request never includes its query, its body or its key.
"""

import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from openbourse.contracts.tracing import Span, Tracing, Value
from openbourse.gateway import errors, parameters, signatures
from openbourse.gateway.calls import Call, Endpoint, Security, carried_out_once, microseconds, new_id, proven_holder
from openbourse.gateway.errors import Invalid, Refused, TooMany
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.parameters import Parameters
from openbourse.gateway.replays import Sending
from openbourse.gateway.requests_counted import UNKNOWN_CALL, Requests

log = logging.getLogger(__name__)
access = logging.getLogger("openbourse.gateway.access")

BODY_BYTES_MOST = 16 * 1024
QUERY_BYTES_MOST = 16 * 1024
OK = 200

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADERS = frozenset(
    {b"x-mbx-apikey", b"content-type", b"content-length", b"x-request-id", b"x-mbx-time-unit", b"traceparent"}
)


@dataclass(slots=True)
class _Request:
    """One request as it came."""

    method: str
    query: bytes
    headers: dict[bytes, bytes]
    # Of the headers that we read one was sent twice: whoever is between may have read the other one.
    repeats: bool
    now_us: int
    id: bytes
    request_id: str
    sending: Sending
    charge: Charge
    span: Span | None = None

    @classmethod
    def of(cls, scope: Scope, usage: Usage) -> "_Request":
        now_us = time.time_ns() // 1000
        sent = [(name, value) for name, value in scope["headers"] if name in _HEADERS]
        headers = dict(sent)
        unique = new_id(now_us)
        sent_id = headers.get(b"x-request-id", b"")
        address = scope["client"][0] if scope["client"] else ""
        return cls(
            method=scope["method"],
            query=scope["query_string"],
            headers=headers,
            now_us=now_us,
            id=unique,
            request_id=sent_id.decode() if REQUEST_ID.fullmatch(sent_id) else unique.hex(),
            repeats=len(headers) != len(sent),
            sending=Sending(address, now_us),
            charge=usage.begin(address, now_us),
        )


class Resource:
    """One path: an ASGI application that answers its methods. Without any, it answers that there is no such path."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        keys: KeyRing,
        usage: Usage,
        traces: Tracing,
        *,
        path: str,
        requests: Requests,
    ) -> None:
        self.endpoints = endpoints
        self._counts = {
            method: requests.of("rest", endpoint.name or f"{method} {path}") for method, endpoint in endpoints.items()
        }
        self._other = requests.of("rest", UNKNOWN_CALL)
        self._traces = traces
        self._keys = keys
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_ns = time.perf_counter_ns()
        request = _Request.of(scope, self._usage)
        sent_trace = request.headers.get(b"traceparent")
        request.span = self._traces.begin(
            f"{request.method} {scope['path']}", None if sent_trace is None else sent_trace.decode("latin-1")
        )
        status, body, more = await self._outcome(request, receive)
        if request.span is not None:
            tell(request.span, request.request_id, status, body)
        took_ns = time.perf_counter_ns() - began_ns
        self._counts.get(request.method, self._other).note(status, took_ns)
        if access.isEnabledFor(logging.INFO):
            took_us = took_ns // 1000
            access.info("%s %s %s %d %d us", request.request_id, request.method, scope["path"], status, took_us)
        headers = [*usage_headers(request.charge), *more, (b"x-request-id", request.request_id.encode())]
        await respond(send, status, body, headers)

    async def _outcome(self, request: _Request, receive: Receive) -> tuple[int, object, list[tuple[bytes, bytes]]]:
        """Status, body and headers of its own."""
        try:
            return OK, await self._answer(request, receive), []
        except Refused as refusal:
            if refusal.status >= 500:
                log.warning("request %s: %s %s", request.request_id, refusal.message, refusal.detail)
            return refusal.status, refusal.as_json(), refusal_headers(refusal, self.endpoints)
        except Exception:
            log.exception("request %s failed", request.request_id)
            unknown = Refused(errors.UNKNOWN, detail=f"request {request.request_id}")
            return unknown.status, unknown.as_json(), []

    async def _answer(self, request: _Request, receive: Receive) -> object:
        charge = request.charge
        try:
            charge.check_ban()
            endpoint = self.endpoints.get(request.method)
            if endpoint is None:
                raise Invalid(errors.NO_SUCH_METHOD if self.endpoints else errors.NO_SUCH_PATH)
            if request.repeats:
                raise Invalid(errors.REPEATED_PARAMETER, detail="a header that is read was sent more than once")
            body = await read_body(request.headers, receive)
            call = _call(request, body)
            charge.weight = endpoint.weight_of(call.parameters)
            if endpoint.security is not Security.NONE:
                api_key = request.headers.get(b"x-mbx-apikey", b"").decode("latin-1")
                signed = signatures.signed_bytes(request.query, body)
                call.holder = proven_holder(self._keys, api_key, endpoint.security, call, signed)
            call.parameters.check_names(endpoint.known, endpoint.unsupported)
            if not endpoint.is_order:
                await self._usage.settle(charge)
            with carried_out_once(self._keys.replays, endpoint, call):
                return await endpoint.handler(call)
        finally:
            # What is refused is counted too: nonsense is not for free. That it was too much is said first.
            if not charge.counted:
                await self._usage.settle(charge)


def _call(request: _Request, body: bytes) -> Call:
    """Raises Invalid."""
    if len(request.query) > QUERY_BYTES_MOST:
        raise Invalid(errors.TOO_LARGE, detail=f"a query string has at most {QUERY_BYTES_MOST} bytes")
    sent = parameters.parse(request.query, request.headers.get(b"content-type", b""), body)
    unit = request.headers.get(b"x-mbx-time-unit")
    return Call(
        parameters=Parameters(sent),
        id=request.id,
        request_id=request.request_id,
        now_us=request.now_us,
        microseconds=microseconds(None if unit is None else unit.decode("latin-1")),
        address=request.sending.address,
        charge=request.charge,
        sending=request.sending,
        span=request.span,
    )


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """Raises Invalid for more than BODY_BYTES_MOST, without reading on."""
    announced = headers.get(b"content-length", b"0")
    if len(announced) > 9 or int(announced) > BODY_BYTES_MOST:
        raise _too_large()
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid(errors.ILLEGAL_CHARACTERS, detail="the connection ended within the body")
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > BODY_BYTES_MOST:
            raise _too_large()
        if not message.get("more_body", False):
            return body


def _too_large() -> Invalid:
    return Invalid(errors.TOO_LARGE, detail=f"a body has at most {BODY_BYTES_MOST} bytes")


def usage_headers(charge: Charge) -> list[tuple[bytes, bytes]]:
    """What was counted: nothing of an address that is banned."""
    if charge.weight_used is None:
        return []
    used = b"%d" % charge.weight_used
    headers = [(b"x-mbx-used-weight-1m", used), (b"x-mbx-used-weight", used)]
    if charge.account:
        headers.append((b"x-mbx-order-count-10s", b"%d" % charge.orders_10s))
        headers.append((b"x-mbx-order-count-1d", b"%d" % charge.orders_day))
    return headers


def refusal_headers(refusal: Refused, endpoints: Mapping[str, Endpoint]) -> list[tuple[bytes, bytes]]:
    if isinstance(refusal, TooMany):
        return [(b"retry-after", b"%d" % refusal.retry_after_s)]
    match refusal.status:
        case 405:
            return [(b"allow", ", ".join(endpoints).encode())]
        case 413:
            # The rest of the body is not read, so nothing more can come over this connection.
            return [(b"connection", b"close")]
        case _:
            return []


def tell(span: Span, request_id: str, status: int, body: object) -> None:
    """Ends the span of a request that has this answer. A refusal is no error of ours."""
    attributes: dict[str, Value] = {"openbourse.request_id": request_id, "http.response.status_code": status}
    if status != OK and isinstance(body, dict):
        attributes["openbourse.code"] = body["code"]
    span.end(error=f"answered {status}" if status >= 500 else "", **attributes)


async def respond(send: Send, status: int, body: object, headers: list[tuple[bytes, bytes]]) -> None:
    data = json.dumps(body, separators=(",", ":")).encode()
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *answer_headers(data)]})
    await send({"type": "http.response.body", "body": data})


def answer_headers(data: bytes) -> list[tuple[bytes, bytes]]:
    """Of every answer."""
    return [
        (b"content-type", b"application/json;charset=UTF-8"),
        (b"content-length", b"%d" % len(data)),
        (b"cache-control", b"no-store"),
    ]
