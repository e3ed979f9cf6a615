"""Connections of `/ws-api/v3`: requests in, one answer each, in whatever order they are done.

A request goes through the same calls as over REST. At most REQUESTS_MOST of a connection are under way; the next one is
read when one of them is answered. Whoever does not read answers is let go.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from openbourse.contracts.tracing import Tracing
from openbourse.gateway import calls, errors, signatures
from openbourse.gateway.calls import Call, Endpoint, Endpoints, Security
from openbourse.gateway.errors import Invalid, Refused
from openbourse.gateway.express.sockets import SocketOrders
from openbourse.gateway.key_ring import Holder, KeyRing
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.parameters import Parameters, flag_of
from openbourse.gateway.replays import Sending
from openbourse.gateway.requests_counted import UNKNOWN_CALL, Requests
from openbourse.gateway.sockets import NO_TEXT, POLICY, RESTART, SHUTDOWN_S, TRY_LATER, Peer, written
from openbourse.gateway.websocket_api.requests import (
    RETURN_RATE_LIMITS,
    Malformed,
    Request,
    answered,
    refused,
    request_of,
)
from openbourse.gateway.websocket_api.sessions import Session, SessionCalls
from openbourse.gateway.websocket_frames import text_frame
from openbourse.gateway.wire import Receive, Scope, Send, access, tell

log = logging.getLogger(__name__)

CONNECTIONS_MOST = 2_000
REQUESTS_MOST = 100
MESSAGES_MOST = 5_000
BYTES_MOST = 16 * 1024 * 1024
CONNECT_WEIGHT = 2
# Requests under way are answered within this when the gateway stops; the engine has ten seconds for one.
DRAIN_S = 4.0


class _Connection(Peer):
    """One that was accepted: who is on it, and how many of its requests are under way."""

    def __init__(self, address: str, begin: "Callable[[_Connection, bytes], None]", connected_us: int) -> None:
        super().__init__(MESSAGES_MOST, BYTES_MOST)
        self.session = Session(self, connected_us, address, microseconds=False, return_rate_limits=True)
        self.idle = asyncio.Event()
        self.idle.set()
        # Of its requests, those that go the general way: all of them, and those of which nothing was done yet.
        self.tasks = asyncio.TaskGroup()
        self.unstarted = 0
        self._begin = begin
        self._under_way = 0
        # What one read brought beyond REQUESTS_MOST.
        self._held: deque[bytes] = deque()
        self._beginning = False
        self.takes_requests = True

    def heard(self, texts: list[bytes]) -> None:
        if not self.takes_requests:
            # The connection ends before anybody could answer them: nothing is done of what nobody hears of.
            return
        self._held += texts
        self._begin_held()

    def heard_bytes(self, data: bytes) -> None:
        self.end(POLICY, "requests are text, not bytes")

    def answered(self, frame: bytes) -> None:
        """One of those that were begun."""
        self.say_frame(frame)
        self.over()

    def over(self) -> None:
        self._under_way -= 1
        if self._held:
            self._begin_held()
        elif not self._under_way:
            self.idle.set()

    def _begin_held(self) -> None:
        """As many as may be under way; the client is read again when all are."""
        if self._beginning:
            return
        assert self.socket is not None
        self._beginning = True
        while self._held and self._under_way < REQUESTS_MOST and self.ended is None:
            self._under_way += 1
            self.idle.clear()
            self._begin(self, self._held.popleft())
        self._beginning = False
        if self._held:
            self.socket.stop_reading()
        else:
            self.socket.resume_reading()


class WebSocketApi:
    """The ASGI application of `/ws-api/v3`."""

    def __init__(
        self,
        endpoints: Endpoints,
        session_calls: SessionCalls,
        keys: KeyRing,
        usage: Usage,
        traces: Tracing,
        *,
        express: SocketOrders,
        requests: Requests,
    ) -> None:
        of_rest: Iterable[Endpoint] = (endpoint for methods in endpoints.values() for endpoint in methods.values())
        self._session_calls = session_calls
        self._calls = {endpoint.name: endpoint for endpoint in (*of_rest, *session_calls.endpoints()) if endpoint.name}
        self._keys = keys
        self._usage = usage
        self._traces = traces
        self._express = express
        self._counts = {name: requests.of("websocket", name) for name in self._calls}
        self._other = requests.of("websocket", UNKNOWN_CALL)
        # Why connections were ended from here, since the start.
        self.let_go: Counter[str] = Counter()
        self._connections: set[_Connection] = set()
        self.open = True

    @property
    def names(self) -> frozenset[str]:
        """Of the calls that there are."""
        return frozenset(self._calls)

    @property
    def connected(self) -> int:
        """How many connections there are."""
        return len(self._connections)

    def bytes_waiting(self) -> int:
        return sum(connection.bytes_waiting for connection in self._connections)

    async def shut_down(self) -> None:
        """Says so, and takes nobody any more; a little later also no request, and answers those that it has."""
        self.open = False
        for connection in self._connections:
            connection.say({"event": {"e": "serverShutdown", "E": time.time_ns() // 1_000_000}})
        if self._connections:
            await asyncio.sleep(SHUTDOWN_S)
        for connection in self._connections:
            connection.takes_requests = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                for connection in list(self._connections):
                    await connection.idle.wait()
        for connection in self._connections:
            connection.end(RESTART, "the gateway stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if not self.open or len(self._connections) >= CONNECTIONS_MOST:
            # Before it is accepted: an answer of HTTP, 403.
            await send({"type": "websocket.close", "code": TRY_LATER})
            return
        await send({"type": "websocket.accept"})
        socket, now_us = scope["extensions"]["socket"], time.time_ns() // 1000
        address = scope["client"][0] if scope["client"] else ""
        connection = _Connection(address, self._begin, now_us)
        try:
            charge = self._usage.begin(address, now_us)
            charge.weight = CONNECT_WEIGHT
            await self._usage.settle(charge)
            _set_up(connection.session, scope["query_string"])
        except Refused as refusal:
            socket.write(text_frame(written(refused(None, refusal, now_us // 1000))))
            socket.cut(POLICY, refusal.message)
            return
        self._connections.add(connection)
        # What is under way is done, though nobody may hear the answers any more.
        async with connection.tasks:
            try:
                await connection.serve(socket)
            finally:
                self._connections.discard(connection)
                self._session_calls.closed(connection.session)
        if connection.ended is not None:
            self.let_go[connection.let_go] += 1
            log.info("WebSocket API of %s ended: %s", scope["client"], connection.ended[1])

    def _begin(self, connection: _Connection, data: bytes) -> None:
        """What was sent before it and goes the general way has begun before it."""
        if not connection.unstarted and self._express.begin(connection, data):
            return
        try:
            text = data.decode()
        except UnicodeDecodeError:
            connection.end(*NO_TEXT)
            connection.over()
            return
        connection.unstarted += 1
        connection.tasks.create_task(self._answer(connection, text))

    async def _answer(self, connection: _Connection, text: str) -> None:
        connection.unstarted -= 1
        began_ns, now_us = time.perf_counter_ns(), time.time_ns() // 1000
        request = request_of(text)
        unique = calls.new_id(now_us)
        method = request.method if isinstance(request, Request) and request.method in self._calls else "?"
        call = Call(
            parameters=Parameters({} if isinstance(request, Malformed) else request.sent),
            id=unique,
            request_id=unique.hex(),
            now_us=now_us,
            microseconds=connection.session.microseconds,
            address=connection.session.address,
            charge=self._usage.begin(connection.session.address, now_us),
            sending=Sending(connection.session.address, now_us, connection.session.number, repr(request.id)),
            span=self._traces.begin(f"WS {method}", None),
            session=connection.session,
        )
        document = await self._document(connection, request, call)
        status = document["status"]
        assert isinstance(status, int)
        connection.answered(text_frame(written(document)))
        if call.span is not None:
            tell(call.span, call.request_id, status, document.get("error"))
        took_ns = time.perf_counter_ns() - began_ns
        self._counts.get(method, self._other).note(status, took_ns)
        if access.isEnabledFor(logging.INFO):
            access.info("%s WS %s %d %d us", call.request_id, method, status, took_ns // 1000)

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
        if call.charge.weight_used is not None and _shows_limits(connection.session, call.parameters):
            document["rateLimits"] = call.charge.as_json()
        return document

    async def _result(self, connection: _Connection, request: Request | Malformed, call: Call) -> object:
        charge = call.charge
        try:
            charge.check_ban()
            if isinstance(request, Malformed):
                raise request.refusal
            endpoint = self._calls.get(request.method)
            if endpoint is None:
                raise Invalid(errors.NO_SUCH_CALL, request.method)
            charge.weight = endpoint.weight_of(call.parameters)
            self._check_session(connection.session, call.now_us)
            known = endpoint.known | endpoint.also | {RETURN_RATE_LIMITS}
            if endpoint.security is not Security.NONE:
                call.holder = self._holder(connection.session, request, endpoint, call)
                known |= {"apiKey"}
            call.parameters.flag(RETURN_RATE_LIMITS)
            call.parameters.check_names(known, endpoint.unsupported)
            if not endpoint.is_order:
                await self._usage.settle(charge)
            with calls.carried_out_once(self._keys.replays, endpoint, call):
                return await endpoint.handler(call)
        finally:
            # What is refused is counted too: nonsense is not for free. That it was too much is said first.
            if not charge.counted:
                await self._usage.settle(charge)

    def _check_session(self, session: Session, now_us: int) -> None:
        """Ends the session of a key that is not good any more. Raises Invalid then."""
        if session.holder is not None:
            try:
                session.holder = self._keys.holder(session.holder.api_key, session.address, now_us)
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
