"""The traders' port as one FastAPI application: every path of the wire, and the wire's own answer to any other."""

from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute

from openbourse.gateway.keys import KeyRing
from openbourse.gateway.limits import Usage
from openbourse.gateway.rest import Rest
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.wire import Receive, Resource, Scope, Send


def make_app(rest: Rest, streams: Streams, keys: KeyRing, usage: Usage) -> FastAPI:
    app = FastAPI(title="OpenBourse", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.router.routes += [
        Route(path, endpoint=Resource(endpoints, keys, usage)) for path, endpoints in rest.endpoints().items()
    ]
    app.router.routes += [WebSocketRoute(path, endpoint=streams) for path in ("/ws", "/ws/{streams:path}", "/stream")]
    nothing_there = Resource({}, keys, usage)

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await nothing_there(scope, receive, send)

    app.router.default = default
    return app
