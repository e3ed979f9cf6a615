"""uvicorn's HTTP protocol with bounds of ours: connections of an address, the size of a head, the time that a request
may take to come. What it refuses before there is a request it answers as any refusal of the wire, and closes.

It decides nothing about a request: that is `wire`'s. Where somebody takes requests of a path as a whole, past uvicorn's
tasks and messages, it offers them; what is left goes on as any other.
"""

import asyncio
import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from openbourse.contracts.networks import Network
from openbourse.gateway import errors
from openbourse.gateway.addresses import is_within
from openbourse.gateway.errors import Refused
from openbourse.gateway.streams.protocol import StreamProtocol

# A query string and a key fit in it several times.
HEAD_BYTES_MOST = 64 * 1024
# Half of what a gateway takes of all: many traders may share one address.
CONNECTIONS_OF_ADDRESS_MOST = 5_000
# From the first byte of a head, or the opening of a connection, to its end; and again so long for a body, and for
# a client to go on reading.
COMES_WITHIN_S = 10.0
# Longer bodies go to the application at once, so that they are bounded as they come.
WHOLE_BYTES_MOST = 16 * 1024

Headers = list[tuple[bytes, bytes]]
# Whether it will answer.
Take = Callable[["Exchange"], bool]
# By path, then method.
Takers = Mapping[str, Mapping[str, Take]]


class Addresses:
    """How many connections each address has, whatever is spoken on them. Those of `proxies` are of many, and not held
    to it."""

    def __init__(
        self,
        most: int = CONNECTIONS_OF_ADDRESS_MOST,
        comes_within_s: float = COMES_WITHIN_S,
        proxies: Sequence[Network] = (),
    ) -> None:
        self.most = most
        self.comes_within_s = comes_within_s
        self._proxies = tuple(proxies)
        self._open: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """One more. False: it has as many as it may."""
        if self._open[address] >= self.most and not is_within(address, self._proxies):
            return False
        self._open[address] += 1
        return True

    def release(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


class _Nobody:
    """Waits for a message that nobody waits for."""

    def set(self) -> None: ...


_NOBODY = _Nobody()


class Exchange:
    """One request that somebody may take as a whole, to be answered once.

    For uvicorn it is the cycle of its connection, as far as it asks one for anything.
    """

    __slots__ = (
        "_protocol",
        "_take",
        "body",
        "client",
        "disconnected",
        "headers",
        "keep_alive",
        "more_body",
        "query",
        "response_complete",
        "response_started",
    )

    message_event = _NOBODY

    def __init__(self, protocol: "TradersProtocol", take: Take, query: bytes, headers: Headers) -> None:
        self._protocol = protocol
        self._take = take
        self.query = query
        self.headers = headers
        self.client: str = protocol.client[0] if protocol.client else ""
        self.body = b""
        self.keep_alive = protocol.parser.should_keep_alive()
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False

    def is_taken(self) -> bool:
        """Once it is there as a whole: whether it will be answered."""
        return self._take(self)

    def answer(self, status: int, head: bytes, body: bytes) -> None:
        """In one write. `head`: whole lines, none of them about the connection."""
        self._protocol.answer(self, status, head, body)


class TradersProtocol(HttpToolsProtocol):
    """One connection. `addresses` and `takers` are its subclass's: see `traders_protocol`."""

    addresses: Addresses
    # As they come: path, then method.
    _takers: Mapping[bytes, Mapping[bytes, Take]]

    def __init__(self, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._address: str | None = None
        # Since when nothing is under way, where it was asked something before; and what looks at that.
        self._idle_since_s: float | None = None
        # "head" or "body" while there is more of it to come; None between requests.
        self._coming: str | None = None
        # What the timer that runs is for.
        self._timed: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reads_again: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._handed_over = False
        # What comes just now, until it is there as a whole.
        self._comes: Exchange | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if not self.addresses.take(address):
            self._refuse(Refused(errors.TOO_MANY_CONNECTIONS, self.addresses.most))
            return
        self._address = address
        self._time()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._stop_waiting_for_reader()
        self._forget_idle()
        super().connection_lost(exc)
        self._release()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._coming != "body":
            self._head_bytes += len(data)
        super().data_received(data)
        if self._handed_over or self.transport.is_closing():
            return
        if self._coming == "head" and self._head_bytes > HEAD_BYTES_MOST:
            self._refuse(Refused(errors.HEAD_TOO_LARGE, detail=f"a head has at most {HEAD_BYTES_MOST} bytes"))
            return
        self._time()

    def on_message_begin(self) -> None:
        """What uvicorn makes of a request is made when it is clear that nobody takes it before."""
        self._coming = "head"
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._coming = "body"
        self._head_bytes = 0
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise ValueError("HTTP is 1.0 or 1.1")
        exchange = self._exchange() if version == "1.1" else None
        if exchange is None:
            self._go_on()
        else:
            self._comes = exchange
            self.cycle = cast(RequestResponseCycle, exchange)

    def _exchange(self) -> Exchange | None:
        """What has its head there now, if somebody may take it, and nothing is under way before it."""
        path, _, query = self.url.partition(b"?")
        methods = self._takers.get(path)
        take = None if methods is None else methods.get(self.parser.get_method())
        most = self.limit_concurrency
        busy = most is not None and (len(self.connections) >= most or len(self.tasks) >= most)
        if (
            take is None
            or busy
            or self._answering()
            or b"#" in query
            or self.parser.should_upgrade()
            or not _is_short(self.headers)
        ):
            return None
        return Exchange(self, take, query, self.headers)

    def _go_on(self) -> None:
        """As uvicorn does, with the head that is there."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._coming = None
        exchange, self._comes = self._comes, None
        if exchange is not None and not exchange.is_taken():
            # It is uvicorn's request from here on, and has come as a whole.
            exchange.response_complete = True
            self._go_on()
            if exchange.body:
                self.on_body(exchange.body)
        super().on_message_complete()

    def answer(self, exchange: Exchange, status: int, head: bytes, body: bytes) -> None:
        if exchange.disconnected or self.transport.is_closing():
            return
        always, closes = _lines(tuple(self.server_state.default_headers))
        closes = closes or not exchange.keep_alive
        end = b"connection: close\r\n\r\n" if closes else b"\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], always, head, end, body)))
        exchange.response_started = exchange.response_complete = True
        if closes:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but that a connection has one timer that looks whether it is idle, and not one an answer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            return
        self._idle_since_s = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _unset_keepalive_if_required(self) -> None:
        """Something comes."""
        self._idle_since_s = None

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since_s is None:
            return
        rest_s = self._idle_since_s + self.timeout_keep_alive - self.loop.time()
        if rest_s <= 0:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_task = self.loop.call_later(rest_s, self.timeout_keep_alive_handler)

    def _forget_idle(self) -> None:
        self._idle_since_s = None
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def handle_websocket_upgrade(self) -> None:
        self._handed_over = True
        self._stop_timer()
        self._stop_waiting_for_reader()
        self._forget_idle()
        super().handle_websocket_upgrade()
        # Its count goes with the connection, which is another protocol's from here on.
        protocol = self.transport.get_protocol()
        assert isinstance(protocol, StreamProtocol)
        protocol.when_lost = self._release

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(errors.NO_HTTP, detail=msg))

    def pause_writing(self) -> None:
        """A client that does not read its answer has so long to go on."""
        super().pause_writing()
        self._reads_again = self.loop.call_later(self.addresses.comes_within_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()

    def _stop_waiting_for_reader(self) -> None:
        if self._reads_again is not None:
            self._reads_again.cancel()
            self._reads_again = None

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _time(self) -> None:
        """A head that is awaited or a body has a deadline; an answer is the application's matter."""
        waits_for = self._coming
        if waits_for is None and not self._answering() and self._idle_since_s is None:
            waits_for = "head"
        if waits_for == self._timed:
            return
        self._stop_timer()
        if waits_for is not None:
            self._timed = waits_for
            self._timer = self.loop.call_later(self.addresses.comes_within_s, self._too_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timed = None

    def _too_late(self) -> None:
        what = self._timed
        self._stop_timer()
        if self._coming is None and (self._answering() or self._idle_since_s is not None):
            return
        within_s = self.addresses.comes_within_s
        self._refuse(Refused(errors.REQUEST_TOO_SLOW, detail=f"the {what} did not come within {within_s:g} s"))

    def _refuse(self, refusal: Refused) -> None:
        """Says so where no answer has begun, and closes."""
        if self.transport.is_closing():
            return
        if not (self._answering() and self.cycle.response_started):
            body = json.dumps(refusal.as_json(), separators=(",", ":")).encode()
            head = b"content-type: application/json;charset=UTF-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[refusal.status] + head % len(body) + body)
        self.transport.close()

    def _release(self) -> None:
        if self._address is not None:
            self.addresses.release(self._address)
            self._address = None


def _is_short(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether it will come as a whole, and is not asked for first."""
    for name, value in headers:
        if name == b"content-length" and (len(value) > 5 or int(value) > WHOLE_BYTES_MOST):
            return False
        if name in (b"transfer-encoding", b"expect"):
            return False
    return True


@functools.lru_cache(maxsize=4)
def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, bool]:
    """Without what is about the connection, and whether that is closed."""
    lines = [name + b": " + value + b"\r\n" for name, value in headers if name != b"connection"]
    return b"".join(lines), len(lines) < len(headers)


def traders_protocol(addresses: Addresses, takers: Takers | None = None) -> type[TradersProtocol]:
    """For a listener whose connections `addresses` counts."""
    as_they_come = {
        path.encode(): {method.encode(): take for method, take in methods.items()}
        for path, methods in (takers or {}).items()
    }
    return type("CountedProtocol", (TradersProtocol,), {"addresses": addresses, "_takers": as_they_come})
