"""The traders' port as one Starlette application: every path of the wire, the page, and the wire's no to any other."""

import asyncio
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute

from openbourse.contracts.tracing import Tracing
from openbourse.gateway import openapi
from openbourse.gateway.calls import Call, Endpoint
from openbourse.gateway.express.http import HttpOrders
from openbourse.gateway.express.orders import Orders
from openbourse.gateway.express.sockets import SocketOrders
from openbourse.gateway.feeds import Following
from openbourse.gateway.guards.keeper import Keeper
from openbourse.gateway.http_protocol import Takers
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.requests_counted import Requests
from openbourse.gateway.rest import Rest
from openbourse.gateway.shards import Shards
from openbourse.gateway.streams.connections import Streams
from openbourse.gateway.streams.feeds import MarketFeeds
from openbourse.gateway.user_data.hub import UserData
from openbourse.gateway.user_data.rest import ListenKeyRest
from openbourse.gateway.web import FOLDER, Web, read_files
from openbourse.gateway.websocket_api.connections import WebSocketApi
from openbourse.gateway.websocket_api.sessions import SessionCalls
from openbourse.gateway.wire import Receive, Resource, Scope, Send


@dataclass(frozen=True, slots=True)
class TradersPort:
    """The application, and what of it runs, or has to be told of a stop."""

    app: Starlette
    shards: Shards
    streams: Streams
    websocket_api: WebSocketApi
    feeds: MarketFeeds
    user_data: UserData
    requests: Requests
    # What of it is asked before the application.
    takers: Takers
    guards: Keeper

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.feeds.run())
            tasks.create_task(self.user_data.run())
            tasks.create_task(self.guards.run())

    async def shut_down(self) -> None:
        """Tells whoever is connected, lets them finish, and takes nobody any more."""
        self.guards.stopping = True
        async with asyncio.TaskGroup() as goodbyes:
            goodbyes.create_task(self.streams.shut_down())
            goodbyes.create_task(self.websocket_api.shut_down())

    def feeds_of_shards(self) -> dict[str, Following]:
        """Of the market data that there are, by name."""
        found: dict[str, Following] = {}
        for shard in self.shards:
            if shard.marketdata.is_there:
                of = f" of {shard.name}" if len(self.shards) > 1 else ""
                found[f"market{of}"] = shard.marketdata.following
                found[f"accounts{of}"] = self.user_data.following[shard.name]
        return found

    def counts(self) -> dict[str, int]:
        """Who is connected now."""
        return {
            "stream_connections": len(self.streams.connections),
            "websocket_api_connections": self.websocket_api.connected,
            "guarded_scopes": len(self.guards),
            "listen_keys": len(self.user_data.keys.known.all()),
        }


def make_port(
    shards: Shards,
    keys: KeyRing,
    usage: Usage,
    *,
    redis: RedisLink | None = None,
    traces: Tracing,
) -> TradersPort:
    streams = Streams()
    feeds = MarketFeeds(shards, streams)
    guards = Keeper(shards)
    user_data = UserData(shards, streams, keys, redis)
    endpoints = {
        **Rest(shards, usage, guards).endpoints(),
        **ListenKeyRest(user_data).endpoints(),
    }
    described = openapi.description(endpoints)

    async def describe(_: Call) -> object:
        return described

    endpoints[openapi.PATH] = {"GET": Endpoint(describe)}
    requests = Requests()
    orders = Orders(shards, keys, usage, traces)
    websocket_api = WebSocketApi(
        endpoints,
        SessionCalls(shards, user_data, guards),
        keys,
        usage,
        traces,
        express=SocketOrders(orders, requests),
        requests=requests,
    )
    app = Starlette()
    app.router.redirect_slashes = False
    app.router.routes += [
        Route(path, endpoint=Resource(methods, keys, usage, traces, path=path, requests=requests))
        for path, methods in endpoints.items()
    ]
    app.router.routes += [WebSocketRoute(path, endpoint=streams) for path in ("/ws", "/ws/{streams:path}", "/stream")]
    app.router.routes.append(WebSocketRoute("/ws-api/v3", endpoint=websocket_api))
    web = Web(shards, read_files(FOLDER))
    app.router.routes += [Route(path, endpoint=web) for path in web.paths]
    nothing_there = Resource({}, keys, usage, traces, path="", requests=requests)

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await nothing_there(scope, receive, send)

    app.router.default = default
    takers = HttpOrders(orders, requests).takers()
    return TradersPort(app, shards, streams, websocket_api, feeds, user_data, requests, takers, guards)
