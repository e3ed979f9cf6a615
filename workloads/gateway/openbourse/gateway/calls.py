"""One request as handlers see it, whichever way it came in, and what each call takes. REST and WebSocket share these.

A call is named by path and method of REST, and by `method` on the WebSocket API; handler, weight and parameters are
the same for both.
"""

import binascii
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from openbourse.contracts import v1
from openbourse.contracts.tracing import Span
from openbourse.gateway import errors, signatures
from openbourse.gateway.errors import Invalid, NotReplaced
from openbourse.gateway.key_ring import Holder, KeyRing
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.parameters import Parameters
from openbourse.gateway.replays import Replays, Sending

if TYPE_CHECKING:
    from openbourse.gateway.websocket_api.sessions import Session

SIGNED_PARAMETERS = frozenset({"timestamp", "recvWindow", "signature"})


class Security(Enum):
    """What a call takes of its key. All but NONE and KEY take a signature and a timestamp too."""

    NONE = auto()
    TRADE = auto()
    USER_DATA = auto()
    USER_STREAM = auto()
    # A key that may sign, whatever else it is permitted.
    LOGON = auto()
    # A key that is permitted USER_STREAM, without a signature: it tells nothing and moves nothing.
    KEY = auto()

    @property
    def is_signed(self) -> bool:
        return self not in (Security.NONE, Security.KEY)

    @property
    def permission(self) -> str | None:
        """None: any key will do."""
        match self:
            case Security.NONE | Security.LOGON:
                return None
            case Security.KEY:
                return Security.USER_STREAM.name
            case _:
                return self.name


@dataclass(slots=True)
class Call:
    """One request. What a handler notes here goes out beside its answer."""

    parameters: Parameters
    # 16 bytes of this request alone: its command's id, and in hexadecimal its request id when it brought none.
    id: bytes
    request_id: str
    now_us: int
    microseconds: bool
    # Where it came from: the client's, as `addresses` says. Limits may count it with its neighbours.
    address: str
    # What the request uses of its limits.
    charge: Charge
    sending: Sending
    # What was signed, where it was, and until when that is good.
    signed: bytes = b""
    good_until_us: int = 0
    # Of a request that is traced.
    span: Span | None = None
    holder: Holder | None = None
    # Over the WebSocket API.
    session: "Session | None" = None

    @property
    def account(self) -> int:
        """Of a request with a key."""
        assert self.holder is not None
        return self.holder.account

    def command(self, command_id: bytes | None = None, caused_by: str = "") -> v1.Command:
        """Without a body. `caused_by` is the trader's own name for a cancel: who hears of it on a stream is told it,
        through whichever gateway."""
        return v1.Command(
            command_id=command_id or self.id,
            correlation_id=self.request_id,
            causation_id=caused_by or self.request_id,
            traceparent="" if self.span is None else self.span.traceparent,
        )

    def clock(self, time_us: int) -> int:
        """A time in the unit that the request asked for."""
        return time_us if self.microseconds else time_us // 1000


Handler = Callable[[Call], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one call takes; `parameters` without those of the signature."""

    handler: Handler
    security: Security = Security.NONE
    weight: int | Callable[[Parameters], int] = 1
    parameters: frozenset[str] = frozenset()
    unsupported: frozenset[str] = frozenset()
    # On the WebSocket API. Empty: it is not there.
    name: str = ""
    # There, what some clients send beside the parameters.
    also: frozenset[str] = frozenset()
    # There, the request names its key itself: the one that the connection is logged on with is not taken.
    own_key: bool = False
    # Its handler has the request counted, as an order, once it knows that it is one; others are counted before.
    is_order: bool = False
    # What is said to whoever sends a signed request to trade once more. None: it does nothing, so he may.
    replayed: errors.Word | None = errors.DUPLICATE_ORDER
    # Worked out once: they are asked for in every request.
    known: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        more = SIGNED_PARAMETERS if self.security.is_signed else frozenset[str]()
        object.__setattr__(self, "known", self.parameters | more)

    def weight_of(self, sent: Parameters) -> int:
        """Raises Invalid."""
        return self.weight if isinstance(self.weight, int) else self.weight(sent)


# By path, then method.
Endpoints = dict[str, dict[str, Endpoint]]


class _Chance:
    """The system's random bytes, fetched for many requests at once. Of one process: a fork would give them twice."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        at = self._at
        if at + count > len(self._bytes):
            self._bytes, at = os.urandom(_CHANCE_BYTES), 0
        self._at = at + count
        return self._bytes[at : at + count]


_CHANCE_BYTES = 4096
_chance = _Chance()
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def new_id(now_us: int) -> bytes:
    """16 bytes that no other request has: milliseconds first, as in a version 7 UUID, then chance."""
    return (now_us // 1000).to_bytes(6) + _chance.take(10)


def new_client_order_id() -> str:
    """Of an order, or a cancel, that came without one: 22 characters of base64 for URLs, which are 16 bytes."""
    return binascii.b2a_base64(_chance.take(16))[:22].translate(_URL_SAFE).decode()


def microseconds(unit: str | None) -> bool:
    """Raises Invalid."""
    match unit and unit.upper():
        case None | "MILLISECOND":
            return False
        case "MICROSECOND":
            return True
        case _:
            raise Invalid(errors.BAD_TIME_UNIT)


def proven_holder(keys: KeyRing, api_key: str, security: Security, call: Call, signed: bytes) -> Holder:
    """Whose key this is, who signed `signed` with it just now, and may do this. Raises Invalid."""
    holder = keys.holder(api_key, call.address, call.now_us)
    if security.is_signed:
        signature = call.parameters.mandatory("signature")
        call.parameters.mandatory("timestamp")
        signatures.check_signature(holder.key, signed, signature)
        call.good_until_us = signatures.check_timestamp(call.parameters, call.now_us)
        call.signed = signed
        call.charge.api_key = holder.api_key
    check_permission(holder, security)
    return holder


def check_fresh(holder: Holder, call: Call, signed: bytes) -> None:
    """Of a request of a session that this holder began: it need not be signed, and if it is, then rightly.

    Raises Invalid.
    """
    call.parameters.mandatory("timestamp")
    signature = call.parameters.optional("signature")
    if signature is not None:
        signatures.check_signature(holder.key, signed, signature)
        call.signed = signed
    call.good_until_us = signatures.check_timestamp(call.parameters, call.now_us)
    call.charge.api_key = holder.api_key


@contextmanager
def carried_out_once(replays: Replays, endpoint: Endpoint, call: Call) -> Iterator[None]:
    """Around the handler of a call: one that trades, and was signed, is not carried out again. Raises Invalid."""
    if not call.signed or endpoint.security is not Security.TRADE or endpoint.replayed is None:
        yield
        return
    assert call.holder is not None
    request_id = replays.request_id(call.holder.api_key, endpoint.name, call.signed)
    command_id = replays.take(request_id, call.good_until_us, call.sending)
    if command_id is None:
        raise Invalid(endpoint.replayed, detail="this very request came before: sign another one")
    call.id = command_id or call.id
    is_open = True
    try:
        yield
        is_open = False
    except (Invalid, NotReplaced):
        is_open = False
        raise
    finally:
        if is_open and command_id:
            replays.reopen(request_id, call.good_until_us)


def check_permission(holder: Holder, security: Security) -> None:
    """Raises Invalid."""
    needed = security.permission
    if needed is not None and needed not in holder.permissions:
        raise Invalid(errors.BAD_KEY, detail=f"the key has no permission {needed}")
