"""The short way of orders is the general way: what it takes means the same, and what it answers are the same bytes."""

import json
import time
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from fixtures.markets import a_market
from openbourse.contracts import v1
from openbourse.gateway import errors, orders, parameters, reports, signatures
from openbourse.gateway.errors import Invalid
from openbourse.gateway.express import answers, commands, requests
from openbourse.gateway.express.sockets import limits_text
from openbourse.gateway.limits.charges import Charge
from openbourse.gateway.parameters import Parameters
from openbourse.gateway.sockets import written
from openbourse.gateway.websocket_api.requests import Malformed, request_of
from openbourse.gateway.words import ResponseType

MARKET = a_market()
ACCOUNT = 1001
ID = b"i" * 16
NOW_US = 1_700_000_000_000_000
MANY = settings(max_examples=400, deadline=None)

KEYS = {"apiKey", "signature", "timestamp", "recvWindow", "returnRateLimits"}
KNOWN = {"order.place": orders.PLACE | KEYS, "order.cancel": orders.CANCEL | KEYS}
# Of each parameter what is right, and what is wrong or not for the short way: one of those is in a request at most.
Values = tuple[list[object], list[object]]
NAMES: Values = ["a-name_1", "x" * 36], ["x" * 37, "", "sp ace", "é", "a:b", 'q"uote', 5, None]
DECIMALS: list[object] = ["0.00001", "1000000.01", "5.", ".5", "1e3", "", "-1", "+1", "٣", "0.50000000000", "1" * 21]
DECIMALS += ["1_0", " 1", "0", "0.0", 1, 1.5, None, "007", "0.5000"]
STAMP = NOW_US // 1000
STAMPS: Values = (
    [STAMP, str(STAMP), NOW_US, str(NOW_US), STAMP + 500, STAMP - 5_000],
    [0, -1, "", "x", 1e12, None, True, STAMP + 1_000, STAMP + 999, STAMP - 5_001, STAMP - 60_001, 10**17, -0.0],
)
COMMON: dict[str, Values] = {
    "newClientOrderId": NAMES,
    "recvWindow": ([5_000, "5000", "60000", 60_000, 10_000], [60_001, 0, "0", "1.5", 1.5, "", -1, None, "5 ", 1]),
    "apiKey": (["0" * 64], ["", 5, None]),
    "signature": (["f" * 64], ["", "é", None]),
    "returnRateLimits": ([True, False], ["true", "false", 0, None, ""]),
}
PLACE: dict[str, Values] = {
    "symbol": (["BTCUSDT"], ["ETHUSDT", "btcusdt", ""]),
    "side": (["BUY", "SELL"], ["buy", "", None]),
    "type": (["LIMIT", "LIMIT_MAKER"], ["MARKET", "STOP_LOSS", "", "limit"]),
    "quantity": (["0.5", "1", "0.0025"], DECIMALS),
    "price": (["20000", "20000.01", "19999.5"], DECIMALS),
    "timestamp": STAMPS,
}
PLACE_MORE: dict[str, Values] = {
    "timeInForce": (["GTC", "IOC", "FOK"], ["GTX", "", None]),
    "newOrderRespType": (["FULL", "ACK", "RESULT"], ["full", ""]),
    "selfTradePreventionMode": (["NONE", "EXPIRE_BOTH", "DECREMENT"], ["none", ""]),
}
CANCEL: dict[str, Values] = {"symbol": PLACE["symbol"], "timestamp": STAMPS}
CANCEL_MORE: dict[str, Values] = {
    "orderId": ([77, "77"], [0, -1, 2**63, "x", "", None, "٣"]),
    "origClientOrderId": NAMES,
}
FLAWS = ("a value", "a name twice", "a name less", "a name that is unknown", "one around", "an id")
IDS, WRONG_IDS = ["1", '"e2a-1"', "null", "-7", "-0"], ["1.5", '"a b"', str(2**63), "true", '"a:b"']


@st.composite
def members(draw: st.DrawFn, mandatory: dict[str, Values], more: dict[str, Values]) -> tuple[str, list[Any]]:
    """Which flaw it has, and names with values."""
    flaw = draw(st.sampled_from(["none"] * len(FLAWS) + [*FLAWS]))
    optional = {**COMMON, **more}
    names = [*mandatory, *(name for name in optional if draw(st.integers(0, 2)) == 0)]
    if flaw == "a name twice":
        names.append(draw(st.sampled_from(names)))
    if flaw == "a name less":
        names.remove(draw(st.sampled_from(names)))
    wrong = draw(st.sampled_from(names)) if flaw == "a value" else ""
    made = {**optional, **mandatory}
    pairs = [(name, draw(st.sampled_from(made[name][name == wrong]))) for name in names]
    if flaw == "a name that is unknown":
        pairs.append((draw(st.sampled_from(["unknown", "quoteOrderQty", "cancelRestrictions", "stopPrice"])), "1"))
    return flaw, draw(st.permutations(pairs))


@st.composite
def frames(draw: st.DrawFn, method: str, mandatory: dict[str, Values], more: dict[str, Values]) -> str:
    """In any order, with spaces or without."""
    flaw, pairs = draw(members(mandatory, more))
    ascii_only, colon = draw(st.booleans()), st.sampled_from([":", ": ", " :"])
    inner = [f"{json.dumps(name)}{draw(colon)}{json.dumps(value, ensure_ascii=ascii_only)}" for name, value in pairs]
    request_id = draw(st.sampled_from(WRONG_IDS if flaw == "an id" else IDS))
    outer = [f'"id": {request_id}', f'"method":"{method}"', f'"params": {{{", ".join(inner)}}}']
    if flaw == "one around":
        outer.append(draw(st.sampled_from(['"version": 1', '"id": 2', '"method": "ping"'])))
    return "{" + ",".join(draw(st.permutations(outer))) + "}"


FRAMES = frames("order.place", PLACE, PLACE_MORE) | frames("order.cancel", CANCEL, CANCEL_MORE)


def general_command(method: str, sent: dict[str, str]) -> v1.Command:
    """As `trading` makes it, of one that gives its own name. Raises Invalid."""
    read = Parameters(sent)
    read.check_names(KNOWN[method])
    read.flag("returnRateLimits")
    name = read.optional("newClientOrderId", parameters.CLIENT_ORDER_ID)
    command = v1.Command(command_id=ID, correlation_id="r", causation_id="r")
    if read.mandatory("symbol", parameters.SYMBOL) != "BTCUSDT":
        raise Invalid(errors.BAD_SYMBOL)
    if method == "order.place":
        orders.response_type(read)
        command.place_order.CopyFrom(orders.place(read, MARKET, ACCOUNT, "made"))
    else:
        command.causation_id = name or "made"
        command.cancel_order.CopyFrom(orders.cancel(read, MARKET, ACCOUNT, *orders.target(read)))
    return command


@MANY
@given(FRAMES)
def test_what_the_short_way_takes_is_what_the_general_way_reads(text: str) -> None:
    request = requests.of_frame(text.encode())
    if request is None or request.params.symbol != "BTCUSDT" or request.params.good_until_us(NOW_US) is None:
        event("left to the general way")
        return
    sent = request.params
    if isinstance(sent, requests.Place):
        method, asked = "order.place", commands.place(sent, MARKET, ACCOUNT, ID, "r")
    else:
        method, asked = "order.cancel", commands.cancel(sent, MARKET, ACCOUNT, ID, "r")
    if asked is None:
        event("left to the general way")
        return
    event(f"{method} taken")
    general = request_of(text)
    assert not isinstance(general, Malformed)
    assert (general.id, general.method) == (request.id, method)
    assert signatures.signed_parameters(general.sent) == sent.signed()
    assert signatures.check_timestamp(Parameters(general.sent), NOW_US) == sent.good_until_us(NOW_US)
    expected = general_command(method, general.sent)
    made = asked.command
    if not sent.newClientOrderId:
        if method == "order.place":
            assert len(made.place_order.client_order_id) == 22
            made.place_order.client_order_id = "made"
        else:
            assert len(made.causation_id) == 22
            assert asked.cancel_id == made.causation_id
            made.causation_id = "made"
    assert made == expected
    if method == "order.place":
        assert asked.kind is orders.response_type(Parameters(general.sent))
    wanted = Parameters(general.sent).flag("returnRateLimits") if "returnRateLimits" in general.sent else None
    assert wanted is sent.returnRateLimits


def form_of(pairs: list[tuple[str, object]]) -> bytes:
    return "&".join(f"{name}={value}" for name, value in pairs).encode()


FORMS = members({**PLACE, "signature": COMMON["signature"]}, PLACE_MORE).map(lambda made: form_of(made[1]))
ODDITIES = st.sampled_from([b"", b"", b"", b"", b"&", b"&side=BUY", b"&a", b"=", b"&side=%42UY", b"+"])


@MANY
@given(FORMS, ODDITIES)
def test_a_form_that_the_short_way_takes_is_what_the_general_way_reads(form: bytes, oddity: bytes) -> None:
    sent = requests.of_form(requests.Place, form + oddity)
    if not isinstance(sent, requests.Place) or sent.symbol != "BTCUSDT" or sent.good_until_us(NOW_US) is None:
        event("left to the general way")
        return
    asked = commands.place(sent, MARKET, ACCOUNT, ID, "r")
    if asked is None:
        event("left to the general way")
        return
    event("taken")
    general = parameters.parse(form + oddity, b"", b"")
    assert not general.keys() & {"apiKey", "returnRateLimits"}
    assert signatures.check_timestamp(Parameters(general), NOW_US) == sent.good_until_us(NOW_US)
    expected, made = general_command("order.place", general), asked.command
    if not sent.newClientOrderId:
        made.place_order.client_order_id = "made"
    assert made == expected


def test_usual_requests_are_taken() -> None:
    """Or the tests above say nothing."""
    place: dict[str, object] = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.5",
    }
    place |= {"price": "20000", "timestamp": NOW_US // 1000, "apiKey": "0" * 64, "signature": "f" * 64}
    for method, sent in (
        ("order.place", place),
        ("order.place", {**place, "recvWindow": 5_000, "newClientOrderId": "mine", "returnRateLimits": False}),
        ("order.cancel", {"symbol": "BTCUSDT", "orderId": 77, "timestamp": NOW_US // 1000}),
        ("order.cancel", {"symbol": "BTCUSDT", "origClientOrderId": "mine", "timestamp": str(NOW_US // 1000)}),
    ):
        request = requests.of_frame(json.dumps({"id": 1, "method": method, "params": sent}).encode())
        assert request is not None
        assert request.params.good_until_us(NOW_US) is not None
    form = requests.of_form(requests.Place, form_of([pair for pair in place.items() if pair[0] != "apiKey"]))
    assert isinstance(form, requests.Place)
    assert commands.place(form, MARKET, ACCOUNT, ID, "r") is not None


LOTS = st.integers(0, 10**12)
ORDERS = st.builds(
    v1.Order,
    order_id=st.integers(1, 2**62),
    client_order_id=st.sampled_from(["mine", "x" * 36, 'q"uote', "é"]),
    account=st.just(ACCOUNT),
    symbol=st.just("BTCUSDT"),
    side=st.sampled_from([1, 2]),
    type=st.sampled_from([1, 1, 1, 2, 3]),
    time_in_force=st.sampled_from([1, 2, 3]),
    price_ticks=LOTS,
    quantity_lots=LOTS,
    executed_lots=st.just(0) | LOTS,
    executed_quote_units=st.just(0) | LOTS,
    status=st.sampled_from([1, 2, 3, 4, 5]),
    created_at_us=st.just(NOW_US),
    quote_units=st.just(0) | LOTS,
    prevented_lots=st.just(0) | LOTS,
    self_trade_prevention=st.sampled_from([0, 0, 1, 2, 3, 4, 5]),
)
FILLS = st.builds(
    v1.Fill,
    trade_id=st.integers(1, 2**62),
    price_ticks=LOTS,
    quantity_lots=LOTS,
    fee_units=LOTS,
    fee_asset=st.just("BTC"),
)
CLOCKS = st.sampled_from([lambda us: us, lambda us: us // 1000])


@MANY
@given(ORDERS, st.just([]) | st.lists(FILLS, max_size=2), st.sampled_from(list(ResponseType)), CLOCKS)
def test_what_it_answers_are_the_bytes_of_the_general_way(
    order: v1.Order, fills: list[v1.Fill], kind: ResponseType, clock: Any
) -> None:
    result = v1.OrderResult(order=order, fills=fills)
    general = reports.placed_as_json(result, NOW_US + 1_001, kind, MARKET, clock)
    assert answers.placed(result, NOW_US + 1_001, kind, MARKET, clock) == written(general)
    canceled = reports.canceled_as_json(order, "cancel-1", NOW_US + 1_001, MARKET, clock)
    assert answers.canceled(order, "cancel-1", NOW_US + 1_001, MARKET, clock) == written(canceled)


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6), st.sampled_from([0, ACCOUNT]))
def test_what_was_used_is_written_as_the_general_way_does(used: int, in_10s: int, in_day: int, account: int) -> None:
    charge = Charge("127.0.0.1", time.time_ns() // 1_000_000, account=account)
    charge.weight_used, charge.orders_10s, charge.orders_day = used, in_10s, in_day
    assert "{" + limits_text(charge)[1:] + "}" == written({"rateLimits": charge.as_json()})
