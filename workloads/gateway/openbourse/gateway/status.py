"""The port for probes, Prometheus and people: `/livez`, `/readyz`, `/status`, `/metrics`. It tells no secret."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from openbourse.contracts.tls_material import Material
from openbourse.gateway.admin.views import engine_as_json
from openbourse.gateway.feeds import Following
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.limits.file import RulesOfFile
from openbourse.gateway.readiness import Readiness, Situation, readiness
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.shards import Shards


@dataclass(slots=True)
class Drain:
    """`begun`: the gateway stops; it serves what it has and wants nothing new."""

    begun: bool = False


def make_status_app(
    shards: Shards,
    keys: KeyRing,
    rules: RulesOfFile,
    redis: RedisLink | None,
    drain: Drain,
    *,
    feeds: Mapping[str, Following],
    metrics: Callable[[], bytes],
    tls: Material,
) -> Starlette:
    """`feeds`: of the market data that this gateway has, by name."""
    began_s = time.monotonic()

    def now() -> Readiness:
        return readiness(
            Situation(
                time.monotonic() - began_s,
                tuple(engine.shard for engine in shards.engines),
                shards_unheard=tuple(engine.shard for engine in shards.engines if not engine.listed.is_set()),
                shards_away=tuple(engine.shard for engine in shards.engines if not engine.is_connected),
                stopping=drain.begun,
                redis_untried="" if redis is None or redis.tried.is_set() else str(redis.address),
                feeds_unheard=tuple(name for name, feed in feeds.items() if not feed.ever),
                feeds_away=tuple(name for name, feed in feeds.items() if not feed.now),
            )
        )

    async def livez(_: Request) -> Response:
        return JSONResponse("ok")

    async def readyz(_: Request) -> Response:
        found = now()
        return JSONResponse(found.says or "ok", 200 if found.ready else 503)

    async def status(_: Request) -> Response:
        found = now()
        return JSONResponse(
            {
                "component": "gateway",
                "ready": found.ready,
                "reason": found.says,
                "shards": [engine_as_json(engine) for engine in shards.engines],
                "keys": len(keys),
                "feeds": {name: feed.now for name, feed in feeds.items()},
                "redis": None if redis is None else _of_redis(redis),
                "keysInUse": keys.digests(),
                "keysTrouble": keys.trouble,
                "limitOverrides": rules.rules.overrides,
                "limitsTrouble": rules.trouble,
                "limitsInUse": rules.digests(),
                "tls": tls.as_json(),
            }
        )

    async def text(_: Request) -> Response:
        return Response(metrics(), media_type=CONTENT_TYPE_LATEST)

    paths = {"/livez": livez, "/readyz": readyz, "/status": status, "/metrics": text}
    return Starlette(routes=[Route(path, answer) for path, answer in paths.items()])


def _of_redis(link: RedisLink) -> dict[str, Any]:
    """Where it is away this gateway counts limits for itself, and is as ready as before."""
    return {"address": str(link.address), "there": link.is_there, "reason": link.reason}
