"""One request as handlers see it, whichever way it came in, and what each call takes. REST and WebSocket share these.

A call is named by path and method of REST, and by `method` on the WebSocket API; handler, weight and parameters are
the same for both.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from openbourse.gateway import errors, signatures
from openbourse.gateway.errors import Invalid
from openbourse.gateway.keys import Holder, KeyRing
from openbourse.gateway.parameters import Parameters

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
    holder: Holder | None = None
    # Over the WebSocket API.
    session: "Session | None" = None
    # Of the account, in ten seconds and in the day, where the request counts as an order.
    order_counts: tuple[int, int] | None = None

    @property
    def account(self) -> int:
        """Of a request with a key."""
        assert self.holder is not None
        return self.holder.account

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
    # There, the request names its key itself: the one that the connection is logged on with is not taken.
    own_key: bool = False
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


def new_id(now_us: int) -> bytes:
    """16 bytes that no other request has: milliseconds first, as in a version 7 UUID, then chance."""
    return (now_us // 1000).to_bytes(6) + os.urandom(10)


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
    holder = keys.holder(api_key)
    if security.is_signed:
        signature = call.parameters.mandatory("signature")
        call.parameters.mandatory("timestamp")
        signatures.check_signature(holder.key, signed, signature)
        signatures.check_timestamp(call.parameters, call.now_us)
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
    signatures.check_timestamp(call.parameters, call.now_us)


def check_permission(holder: Holder, security: Security) -> None:
    """Raises Invalid."""
    needed = security.permission
    if needed is not None and needed not in holder.permissions:
        raise Invalid(errors.BAD_KEY, detail=f"the key has no permission {needed}")
