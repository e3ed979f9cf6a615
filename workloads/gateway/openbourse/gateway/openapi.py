"""An OpenAPI description of the traders' REST API, made of the table of calls: it cannot say what is not there.

Values in, values out. Answers are Binance's and are described as JSON; a refusal has a code and a message.
"""

from collections.abc import Iterable

from openbourse.gateway.calls import Endpoint, Endpoints, Security
from openbourse.gateway.parameters import CLIENT_ORDER_ID, DECIMAL, INTEGER, SYMBOL
from openbourse.gateway.words import (
    CancelRestriction,
    OrderType,
    ReplaceMode,
    ResponseType,
    SelfTradePrevention,
    Side,
    TimeInForce,
)

PATH = "/api/v3/openapi.json"
Json = dict[str, object]


def _text(pattern: str | None = None) -> Json:
    return {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}


def _one_of(names: Iterable[str]) -> Json:
    return {"type": "string", "enum": list(names)}


_INTEGER, _DECIMAL, _NAME = _text(INTEGER), _text(DECIMAL), _text(CLIENT_ORDER_ID)
# By name, in whichever call; what is not here is text.
_PARAMETERS: dict[str, Json] = {
    "symbol": _text(SYMBOL),
    "side": _one_of(Side.__members__),
    "type": {"type": "string", "description": f"of an order: {', '.join(OrderType.__members__)}; else FULL or MINI"},
    "timeInForce": _one_of(TimeInForce.__members__),
    "newOrderRespType": _one_of(ResponseType.__members__),
    "selfTradePreventionMode": _one_of(SelfTradePrevention.__members__),
    "cancelRestrictions": _one_of(CancelRestriction.__members__),
    "cancelReplaceMode": _one_of(ReplaceMode.__members__),
    **dict.fromkeys(("quantity", "quoteOrderQty", "price", "newQty", "recvWindow"), _DECIMAL),
    **dict.fromkeys(("timestamp", "orderId", "fromId", "startTime", "endTime", "limit", "cancelOrderId"), _INTEGER),
    **dict.fromkeys(("preventedMatchId", "fromPreventedMatchId", "tradeId", "countdownTime"), _INTEGER),
    **dict.fromkeys(("newClientOrderId", "origClientOrderId"), _NAME),
    **dict.fromkeys(("cancelOrigClientOrderId", "cancelNewClientOrderId"), _NAME),
    **dict.fromkeys(("computeCommissionRates", "omitZeroBalances", "showPermissionSets"), _one_of(("true", "false"))),
}
_REFUSAL: Json = {
    "type": "object",
    "required": ["code", "msg"],
    "properties": {
        "code": {"type": "integer", "description": "one of Binance's, below zero"},
        "msg": {"type": "string", "description": "Binance's words for it"},
        "detail": {"type": "string", "description": "what we can say beyond them"},
    },
}


def description(endpoints: Endpoints) -> Json:
    """Of all of them, as OpenAPI 3.0."""
    return {
        "openapi": "3.0.3",
        "info": {"title": "OpenBourse, for traders", "version": "3", "description": _ABOUT},
        "paths": {
            path: {method.lower(): _operation(path, method, endpoint) for method, endpoint in methods.items()}
            for path, methods in sorted(endpoints.items())
        },
        "components": {
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}},
            "schemas": {"Refusal": _REFUSAL},
        },
    }


_ABOUT = (
    "The Binance spot wire. A signed call has `timestamp`, and last `signature`: HMAC-SHA256 of the query string and "
    "the body as they are sent, or the Ed25519 or RSA signature of them. Parameters may stand in the query, in a form "
    "or in both."
)


def _operation(path: str, method: str, endpoint: Endpoint) -> Json:
    refusal = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
    operation: Json = {
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_').replace('.', '_')}",
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": endpoint.security.is_signed and name in ("timestamp", "signature"),
                "schema": _PARAMETERS.get(name, _text()),
            }
            for name in sorted(endpoint.known)
        ],
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": {}}}},
            "default": {"description": "refused", "content": refusal},
        },
    }
    if endpoint.name:
        operation["description"] = f"`{endpoint.name}` of the WebSocket API."
    if endpoint.security is not Security.NONE:
        operation["security"] = [{"key": []}]
        operation["x-permission"] = endpoint.security.permission
    return operation
