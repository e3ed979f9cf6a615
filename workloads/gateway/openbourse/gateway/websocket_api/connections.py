"""Connections of `/ws-api/v3`: requests in, one answer each, in whatever order they are done.

A request goes through the same calls as over REST. At most REQUESTS_MOST of a connection are under way; the next one is
read when one of them is answered. Whoever does not read answers is let go.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs

from openbourse.gateway import calls, errors, signatures
from openbourse.gateway.calls import Call, Endpoint, Endpoints, Security
from openbourse.gateway.errors import Invalid, Refused
from openbourse.gateway.keys import Holder, KeyRing
from openbourse.gateway.limits import Usage
from openbourse.gateway.parameters import Parameters, flag_of
from openbourse.gateway.sockets import POLICY, RESTART, SHUTDOWN_S, TRY_LATER, Peer
from openbourse.gateway.websocket_api.requests import (
    RETURN_RATE_LIMITS,
    Malformed,
    Request,
    answered,
    refused,
    request_of,
)
from openbourse.gateway.websocket_api.sessions import Session, SessionCalls
from openbourse.gateway.wire import Receive, Scope, Send, access

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 2_000
REQUESTS_MOST = 100
MESSAGES_MOST = 5_000
BYTES_MOST = 16 * 1024 * 1024
CONNECT_WEIGHT = 2
# Requests under way are answered within this when the gateway stops; the engine has ten seconds for one.
DRAIN_S = 4.0


class _Connection:
    """One that was accepted: who is on it, and how many of its requests are under way."""

    def __init__(self, session: Session, address: str) -> None:
        self.session = session
        self.address = address
        self.under_way = asyncio.Semaphore(REQUESTS_MOST)
        self.idle = asyncio.Event()
        self.idle.set()
        self._count = 0

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Of a request that has a place under way."""
        self._count += 1
        self.idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            self.under_way.release()
            if not self._count:
                self.idle.set()


class WebSocketApi:
    """The ASGI application of `/ws-api/v3`."""

    def __init__(self, endpoints: Endpoints, session_calls: SessionCalls, keys: KeyRing, usage: Usage) -> None:
        of_rest: Iterable[Endpoint] = (endpoint for methods in endpoints.values() for endpoint in methods.values())
        self._session_calls = session_calls
        self._calls = {endpoint.name: endpoint for endpoint in (*of_rest, *session_calls.endpoints()) if endpoint.name}
        self._keys = keys
        self._usage = usage
        self._connections: set[_Connection] = set()
        self.open = True

    @property
    def names(self) -> frozenset[str]:
        """Of the calls that there are."""
        return frozenset(self._calls)

    async def shut_down(self) -> None:
        """Says so, lets what is under way be answered, and takes nobody any more."""
        self.open = False
        for connection in self._connections:
            peer = connection.session.peer
            peer.say({"event": {"e": "serverShutdown", "E": time.time_ns() // 1_000_000}})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                for connection in list(self._connections):
                    await connection.idle.wait()
        if self._connections:
            await asyncio.sleep(SHUTDOWN_S)
        for connection in self._connections:
            connection.session.peer.end(RESTART, "the gateway stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if not self.open or len(self._connections) >= CONNECTIONS_MOST:
            # Before it is accepted: an answer of HTTP, 403.
            await send({"type": "websocket.close", "code": TRY_LATER})
            return
        await send({"type": "websocket.accept"})
        peer, now_us = Peer(MESSAGES_MOST, BYTES_MOST), time.time_ns() // 1000
        address = scope["client"][0] if scope["client"] else ""
        connection = _Connection(Session(peer, now_us, microseconds=False, return_rate_limits=True), address)
        try:
            self._charge(address, CONNECT_WEIGHT, now_us // 1_000_000)
            _set_up(connection.session, scope["query_string"])
        except Refused as refusal:
            peer.say(refused(None, refusal, now_us // 1000))
            await send({"type": "websocket.send", "text": peer.next()})
            scope["extensions"]["cut"](POLICY, refusal.message)
            return
        self._connections.add(connection)
        try:
            await peer.serve(self._listen(connection, receive), scope, send)
        finally:
            self._connections.discard(connection)
            self._session_calls.closed(connection.session)
        if peer.ended is not None:
            log.info("WebSocket API of %s ended: %s", scope["client"], peer.ended[1])

    async def _listen(self, connection: _Connection, receive: Receive) -> None:
        async with asyncio.TaskGroup() as tasks:
            while True:
                await connection.under_way.acquire()
                message = await receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                if text is None:
                    connection.session.peer.end(POLICY, "requests are text, not bytes")
                    break
                tasks.create_task(self._answer(connection, text))

    async def _answer(self, connection: _Connection, text: str) -> None:
        with connection.counted():
            began_ns, now_us = time.perf_counter_ns(), time.time_ns() // 1000
            request = request_of(text)
            unique = calls.new_id(now_us)
            call = Call(
                parameters=Parameters({} if isinstance(request, Malformed) else request.sent),
                id=unique,
                request_id=unique.hex(),
                now_us=now_us,
                microseconds=connection.session.microseconds,
                session=connection.session,
            )
            document = await self._document(connection, request, call)
            connection.session.peer.say(document)
            if access.isEnabledFor(logging.INFO):
                took_us = (time.perf_counter_ns() - began_ns) // 1000
                method = request.method if isinstance(request, Request) and request.method in self._calls else "?"
                access.info("%s WS %s %d %d us", call.request_id, method, document["status"], took_us)

    def _charge(self, address: str, weight: int, now_s: int) -> int:
        """What the address has used now. Raises TooMany."""
        used = self._usage.add_weight(address, weight, now_s)
        self._usage.check_weight(used, now_s)
        return used

    async def _document(self, connection: _Connection, request: Request | Malformed, call: Call) -> dict[str, object]:
        try:
            result = await self._result(connection, request, call)
            document = answered(request.id, result)
        except Refused as refusal:
            if refusal.status >= 500:
                log.warning("request %s: %s %s", call.request_id, refusal.message, refusal.detail)
            document = refused(request.id, refusal, call.now_us // 1000)
        except Exception:
            log.exception("request %s failed", call.request_id)
            unknown = Refused(errors.UNKNOWN, detail=f"request {call.request_id}")
            document = refused(request.id, unknown, call.now_us // 1000)
        if _shows_limits(connection.session, call.parameters):
            of_orders = [] if call.order_counts is None else self._usage.limits.orders_as_json(call.order_counts)
            used = self._usage.weight(connection.address, call.now_us // 1_000_000)
            document["rateLimits"] = [*of_orders, *self._usage.limits.weight_as_json(used)]
        return document

    async def _result(self, connection: _Connection, request: Request | Malformed, call: Call) -> object:
        endpoint = self._calls.get(request.method) if isinstance(request, Request) else None
        weight = 1
        try:
            if endpoint is not None:
                weight = endpoint.weight_of(call.parameters)
        finally:
            # What is refused is counted too: nonsense is not for free.
            self._charge(connection.address, weight, call.now_us // 1_000_000)
        if isinstance(request, Malformed):
            raise request.refusal
        if endpoint is None:
            raise Invalid(errors.NO_SUCH_CALL, request.method)
        self._check_session(connection.session)
        known = endpoint.known | {RETURN_RATE_LIMITS}
        if endpoint.security is not Security.NONE:
            call.holder = self._holder(connection.session, request, endpoint, call)
            known |= {"apiKey"}
        call.parameters.flag(RETURN_RATE_LIMITS)
        call.parameters.check_names(known, endpoint.unsupported)
        return await endpoint.handler(call)

    def _check_session(self, session: Session) -> None:
        """Ends the session of a key that is not there any more. Raises Invalid then."""
        if session.holder is not None:
            try:
                session.holder = self._keys.holder(session.holder.api_key)
            except Invalid:
                session.log_off()
                raise

    def _holder(self, session: Session, request: Request, endpoint: Endpoint, call: Call) -> Holder:
        """Of the key that the request names and is signed with; else of the session's. Raises Invalid."""
        signed = signatures.signed_parameters(request.sent)
        if "apiKey" in request.sent or session.holder is None or endpoint.own_key:
            api_key = call.parameters.mandatory("apiKey")
            return calls.proven_holder(self._keys, api_key, endpoint.security, call, signed)
        calls.check_fresh(session.holder, call, signed)
        calls.check_permission(session.holder, endpoint.security)
        return session.holder


def _set_up(session: Session, query: bytes) -> None:
    """From the connection's URL. Raises Invalid."""
    asked = parse_qs(query.decode("latin-1"))
    session.microseconds = calls.microseconds(asked.get("timeUnit", [None])[0])
    session.return_rate_limits = flag_of(RETURN_RATE_LIMITS, asked.get(RETURN_RATE_LIMITS, ["true"])[0])


def _shows_limits(session: Session, sent: Parameters) -> bool:
    """A wish that is neither true nor false was refused; then as the connection says."""
    try:
        return sent.flag(RETURN_RATE_LIMITS, default=session.return_rate_limits)
    except Invalid:
        return session.return_rate_limits
