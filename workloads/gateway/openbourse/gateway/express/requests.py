"""Requests about orders as most clients write them, read into fields at once. Bytes in, values out.

What these do not know is no mistake: it goes the general way, which has the last word on what is wrong. So nothing
here refuses; a reader returns None.
"""

import msgspec
from msgspec import Struct

from openbourse.gateway.parameters import CLIENT_ORDER_ID, LEGAL, MICROSECONDS_FROM, TIME_MOST
from openbourse.gateway.signatures import AHEAD_US_MOST, RECV_WINDOW_MS, RECV_WINDOW_MS_MOST
from openbourse.gateway.websocket_api.requests import ID_MOST

_LEGAL_NAME = LEGAL[CLIENT_ORDER_ID].fullmatch
# Beside the parameters: id, method, params.
_NAMES_AROUND = 3


class _Sent(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What each of them may have, in Binance's names, which are what was signed. "" and None: not sent."""

    symbol: str
    timestamp: int | str
    newClientOrderId: str = ""  # noqa: N815
    recvWindow: int | str | None = None  # noqa: N815
    apiKey: str = ""  # noqa: N815
    signature: str = ""
    returnRateLimits: bool | None = None  # noqa: N815

    def good_until_us(self, now_us: int) -> int | None:
        """Until when it may come. None: its own name is not legal, or its time, as `signatures.check_timestamp` takes
        it."""
        name, window = self.newClientOrderId, self.recvWindow
        if name and _LEGAL_NAME(name) is None:
            return None
        stamp, window_ms = _integer(self.timestamp), RECV_WINDOW_MS if window is None else _integer(window)
        if not (0 < stamp < TIME_MOST and 0 < window_ms <= RECV_WINDOW_MS_MOST):
            return None
        made_us = stamp if stamp >= MICROSECONDS_FROM else stamp * 1000
        until_us = made_us + window_ms * 1000
        return until_us if made_us < now_us + AHEAD_US_MOST and now_us <= until_us else None

    def common_count(self) -> int:
        return (
            2
            + (self.newClientOrderId != "")
            + (self.recvWindow is not None)
            + (self.apiKey != "")
            + (self.signature != "")
            + (self.returnRateLimits is not None)
        )

    def window_and_limits(self) -> str:
        """As they were signed; by the alphabet no parameter is between the two."""
        window = "" if self.recvWindow is None else f"recvWindow={self.recvWindow}&"
        if self.returnRateLimits is None:
            return window
        return f"{window}returnRateLimits={'true' if self.returnRateLimits else 'false'}&"


class Place(_Sent):
    """An order with a price."""

    side: str
    type: str
    quantity: str
    price: str
    timeInForce: str = ""  # noqa: N815
    newOrderRespType: str = ""  # noqa: N815
    selfTradePreventionMode: str = ""  # noqa: N815

    def count(self) -> int:
        """Of its parameters, each sent once and none of them empty."""
        return (
            self.common_count()
            + 4
            + (self.timeInForce != "")
            + (self.newOrderRespType != "")
            + (self.selfTradePreventionMode != "")
        )

    def signed(self) -> bytes:
        """As `signatures.signed_parameters`: sorted by name."""
        api_key = f"apiKey={self.apiKey}&" if self.apiKey else ""
        name = f"newClientOrderId={self.newClientOrderId}&" if self.newClientOrderId else ""
        kind = f"newOrderRespType={self.newOrderRespType}&" if self.newOrderRespType else ""
        prevention = f"selfTradePreventionMode={self.selfTradePreventionMode}&" if self.selfTradePreventionMode else ""
        force = f"timeInForce={self.timeInForce}&" if self.timeInForce else ""
        return (
            f"{api_key}{name}{kind}price={self.price}&quantity={self.quantity}&{self.window_and_limits()}{prevention}"
            f"side={self.side}&symbol={self.symbol}&{force}timestamp={self.timestamp}&type={self.type}"
        ).encode()


class Cancel(_Sent):
    """Of one order, by one of its names."""

    orderId: int | str | None = None  # noqa: N815
    origClientOrderId: str = ""  # noqa: N815

    def count(self) -> int:
        return self.common_count() + (self.orderId is not None) + (self.origClientOrderId != "")

    def target(self) -> tuple[int | None, str | None] | None:
        """None unless it is one name, and a legal one."""
        if self.orderId is None:
            name = self.origClientOrderId
            return (None, name) if _LEGAL_NAME(name) is not None else None
        order_id = _integer(self.orderId)
        return (order_id, None) if not self.origClientOrderId and 0 < order_id <= ID_MOST else None

    def signed(self) -> bytes:
        api_key = f"apiKey={self.apiKey}&" if self.apiKey else ""
        name = f"newClientOrderId={self.newClientOrderId}&" if self.newClientOrderId else ""
        order_id = "" if self.orderId is None else f"orderId={self.orderId}&"
        original = f"origClientOrderId={self.origClientOrderId}&" if self.origClientOrderId else ""
        return (
            f"{api_key}{name}{order_id}{original}{self.window_and_limits()}symbol={self.symbol}"
            f"&timestamp={self.timestamp}"
        ).encode()


class PlaceRequest(Struct, tag_field="method", tag="order.place", forbid_unknown_fields=True, gc=False):
    id: int | str | None
    params: Place


class CancelRequest(Struct, tag_field="method", tag="order.cancel", forbid_unknown_fields=True, gc=False):
    id: int | str | None
    params: Cancel


_decoder = msgspec.json.Decoder(PlaceRequest | CancelRequest)


def of_frame(text: bytes) -> PlaceRequest | CancelRequest | None:
    try:
        request = _decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    # Each name has its colon, and no value here may have one: so nothing was sent twice, and nothing empty.
    if text.count(b":") != request.params.count() + _NAMES_AROUND:
        return None
    name = request.id
    if isinstance(name, str):
        return request if _LEGAL_NAME(name) is not None else None
    return request if name is None or -ID_MOST <= name <= ID_MOST else None


def of_form(kind: type[Place] | type[Cancel], form: bytes) -> Place | Cancel | None:
    """Of a query string, or a form, with nothing in it that stands for something else."""
    if b"%" in form or b"+" in form or not form.isascii():
        return None
    pairs = [pair.split("=") for pair in form.decode().split("&")]
    try:
        sent: Place | Cancel = msgspec.convert(dict(pairs), kind)
    except (ValueError, msgspec.MsgspecError):
        return None
    # What the WebSocket API has besides is none of REST's.
    there = sent.apiKey == "" and sent.signature != "" and sent.returnRateLimits is None
    return sent if there and sent.count() == len(pairs) else None


def _integer(sent: int | str) -> int:
    """-1 for what is none."""
    if isinstance(sent, str):
        return int(sent) if sent.isdigit() and len(sent) <= 20 and sent.isascii() else -1
    return sent
