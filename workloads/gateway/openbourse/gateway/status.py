"""The port for probes and people: `/livez`, `/readyz`, `/status`. It says nothing that a trader may not know."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Response

from openbourse.gateway.engines import Engine
from openbourse.gateway.keys import KeyRing


@dataclass(slots=True)
class Drain:
    """`begun`: the gateway stops; it serves what it has and wants nothing new."""

    begun: bool = False


def make_status_app(engine: Engine, keys: KeyRing, drain: Drain) -> FastAPI:
    app = FastAPI(title="OpenBourse gateway status", docs_url=None, redoc_url=None, openapi_url=None)

    def not_ready() -> str:
        if drain.begun:
            return "stopping"
        if not engine.listed.is_set():
            return f"nothing heard from shard {engine.session.shard} yet"
        if not engine.session.connected.is_set():
            return f"not connected to shard {engine.session.shard}"
        return ""

    @app.get("/livez")
    async def livez() -> str:
        return "ok"

    @app.get("/readyz")
    async def readyz(response: Response) -> str:
        reason = not_ready()
        response.status_code = 503 if reason else 200
        return reason or "ok"

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return {
            "component": "gateway",
            "shard": engine.session.shard,
            "ready": not not_ready(),
            "reason": not_ready(),
            "connected": engine.session.connected.is_set(),
            "highestEpoch": engine.session.highest_epoch,
            "keys": len(keys),
        }

    return app
