"""The traders' port as one FastAPI application: every path of the wire, and the wire's own answer to any other."""

from dataclasses import dataclass

from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute

from openbourse.gateway.engines import Engine
from openbourse.gateway.keys import KeyRing
from openbourse.gateway.ledger import Ledger
from openbourse.gateway.limits import Usage
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.rest import Rest
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.user_data.hub import UserData
from openbourse.gateway.user_data.rest import ListenKeyRest
from openbourse.gateway.websocket_api.connections import WebSocketApi
from openbourse.gateway.websocket_api.sessions import SessionCalls
from openbourse.gateway.wire import Receive, Resource, Scope, Send


@dataclass(frozen=True, slots=True)
class TradersPort:
    """The application, and what of it runs, or has to be told of a stop."""

    app: FastAPI
    streams: Streams
    websocket_api: WebSocketApi
    user_data: UserData


def make_port(engine: Engine, ledger: Ledger, marketdata: MarketData, keys: KeyRing, usage: Usage) -> TradersPort:
    streams = Streams()
    streams.open = marketdata.is_there
    user_data = UserData(engine, marketdata, streams, keys)
    endpoints = {
        **Rest(engine, ledger, marketdata, usage).endpoints(),
        **ListenKeyRest(user_data).endpoints(),
    }
    websocket_api = WebSocketApi(endpoints, SessionCalls(user_data), keys, usage)
    app = FastAPI(title="OpenBourse", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.router.routes += [Route(path, endpoint=Resource(methods, keys, usage)) for path, methods in endpoints.items()]
    app.router.routes += [WebSocketRoute(path, endpoint=streams) for path in ("/ws", "/ws/{streams:path}", "/stream")]
    app.router.routes.append(WebSocketRoute("/ws-api/v3", endpoint=websocket_api))
    nothing_there = Resource({}, keys, usage)

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await nothing_there(scope, receive, send)

    app.router.default = default
    return TradersPort(app, streams, websocket_api, user_data)
