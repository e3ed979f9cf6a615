"""The port for probes and people: `/livez`, `/readyz`, `/status`. Says whether this process still does its work."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

# The reconciler lists every few seconds. Longer than this without a round, it hangs.
ROUND_AGE_MAX_S = 120.0


@dataclass(slots=True)
class Health:
    """`leads`: this replica works; the others wait, which is all that they should do."""

    identity: str
    leads: bool = False
    round_at: float = field(default_factory=time.monotonic)

    def round_done(self) -> None:
        self.round_at = time.monotonic()

    @property
    def round_age_s(self) -> float:
        return time.monotonic() - self.round_at

    @property
    def is_live(self) -> bool:
        return not self.leads or self.round_age_s < ROUND_AGE_MAX_S


@asynccontextmanager
async def serve(health: Health, host: str, port: int) -> AsyncIterator[None]:
    async def livez(_: web.Request) -> web.Response:
        live = health.is_live
        return web.Response(status=200 if live else 503, text="ok" if live else "no round for too long")

    async def status(_: web.Request) -> web.Response:
        facts = {"component": "operator", "identity": health.identity, "leads": health.leads}
        return web.json_response(facts | {"roundAgeSeconds": round(health.round_age_s, 3) if health.leads else None})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", livez)
    app.router.add_get("/status", status)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
