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

from openbourse.gateway import errors, parameters, signatures
from openbourse.gateway.calls import Call, Endpoint, Security, microseconds, new_id, proven_holder
from openbourse.gateway.errors import Invalid, Refused, TooMany
from openbourse.gateway.keys import KeyRing
from openbourse.gateway.limits import Usage
from openbourse.gateway.parameters import Parameters

log = logging.getLogger(__name__)
access = logging.getLogger("openbourse.gateway.access")

BODY_BYTES_MOST = 16 * 1024
QUERY_BYTES_MOST = 16 * 1024

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HEADERS = frozenset({b"x-mbx-apikey", b"content-type", b"content-length", b"x-request-id", b"x-mbx-time-unit"})


@dataclass(slots=True)
class _Request:
    """One request as it came, and the headers that its answer has collected so far."""

    method: str
    query: bytes
    headers: dict[bytes, bytes]
    address: str
    now_us: int
    id: bytes
    request_id: str
    answer_headers: list[tuple[bytes, bytes]]

    @classmethod
    def of(cls, scope: Scope) -> "_Request":
        now_us = time.time_ns() // 1000
        headers = {name: value for name, value in scope["headers"] if name in _HEADERS}
        unique = new_id(now_us)
        sent_id = headers.get(b"x-request-id", b"")
        return cls(
            method=scope["method"],
            query=scope["query_string"],
            headers=headers,
            address=scope["client"][0] if scope["client"] else "",
            now_us=now_us,
            id=unique,
            request_id=sent_id.decode() if _REQUEST_ID.fullmatch(sent_id) else unique.hex(),
            answer_headers=[],
        )


class Resource:
    """One path: an ASGI application that answers its methods. Without any, it answers that there is no such path."""

    def __init__(self, endpoints: Mapping[str, Endpoint], keys: KeyRing, usage: Usage) -> None:
        self.endpoints = endpoints
        self._keys = keys
        self._usage = usage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_ns = time.perf_counter_ns()
        request = _Request.of(scope)
        status, body = await self._status_and_body(request, receive)
        if access.isEnabledFor(logging.INFO):
            took_us = (time.perf_counter_ns() - began_ns) // 1000
            access.info("%s %s %s %d %d us", request.request_id, request.method, scope["path"], status, took_us)
        await respond(send, status, body, [*request.answer_headers, (b"x-request-id", request.request_id.encode())])

    async def _status_and_body(self, request: _Request, receive: Receive) -> tuple[int, object]:
        try:
            return 200, await self._answer(request, receive)
        except Refused as refusal:
            request.answer_headers += _refusal_headers(refusal, self.endpoints)
            if refusal.status >= 500:
                log.warning("request %s: %s %s", request.request_id, refusal.message, refusal.detail)
            return refusal.status, refusal.as_json()
        except Exception:
            log.exception("request %s failed", request.request_id)
            unknown = Refused(errors.UNKNOWN, detail=f"request {request.request_id}")
            return unknown.status, unknown.as_json()

    async def _answer(self, request: _Request, receive: Receive) -> object:
        endpoint = self.endpoints.get(request.method)
        now_s = request.now_us // 1_000_000
        weight = 1
        try:
            if endpoint is None:
                raise Invalid(errors.NO_SUCH_METHOD if self.endpoints else errors.NO_SUCH_PATH)
            body = await read_body(request.headers, receive)
            call = _call(request, body)
            weight = endpoint.weight_of(call.parameters)
        finally:
            # What is refused is counted too: nonsense is not for free.
            used = self._usage.add_weight(request.address, weight, now_s)
            request.answer_headers.append((b"x-mbx-used-weight-1m", b"%d" % used))
            request.answer_headers.append((b"x-mbx-used-weight", b"%d" % used))
        self._usage.check_weight(used, now_s)
        if endpoint.security is not Security.NONE:
            api_key = request.headers.get(b"x-mbx-apikey", b"").decode("latin-1")
            signed = signatures.signed_bytes(request.query, body)
            call.holder = proven_holder(self._keys, api_key, endpoint.security, call, signed)
        call.parameters.check_names(endpoint.known, endpoint.unsupported)
        try:
            return await endpoint.handler(call)
        finally:
            if call.order_counts is not None:
                in_10s, in_day = call.order_counts
                request.answer_headers.append((b"x-mbx-order-count-10s", b"%d" % in_10s))
                request.answer_headers.append((b"x-mbx-order-count-1d", b"%d" % in_day))


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


def _refusal_headers(refusal: Refused, endpoints: Mapping[str, Endpoint]) -> list[tuple[bytes, bytes]]:
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


async def respond(send: Send, status: int, body: object, headers: list[tuple[bytes, bytes]]) -> None:
    data = json.dumps(body, separators=(",", ":")).encode()
    headers = [
        *headers,
        (b"content-type", b"application/json;charset=UTF-8"),
        (b"content-length", b"%d" % len(data)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
