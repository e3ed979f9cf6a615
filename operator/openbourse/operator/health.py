"""Whether this process still does its work: what the loops note of it, and the port that tells probes and Prometheus.

`/livez`, `/readyz`, `/status`, `/metrics`. It tells no secret.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from openbourse.operator.watches import Watches

# The reconciler lists every few seconds. Longer than this without a round, it hangs.
ROUND_AGE_MAX_S = 120.0

# Its namespace and its name.
ExchangeId = tuple[str, str]


@dataclass(slots=True)
class Health:
    """`leads`: this replica works; the others wait, which is all that they should do. All times are monotonic."""

    identity: str
    leads: bool = False
    round_at: float = field(default_factory=time.monotonic)
    watches: Watches = field(default_factory=lambda: Watches(time.monotonic()))
    # Since when an exchange waits for a round to see what woke it.
    woken_at: dict[ExchangeId, float] = field(default_factory=dict)
    # Since when each round has left something to do, or could not be made.
    unsettled_at: dict[ExchangeId, float] = field(default_factory=dict)

    def begins_to_lead(self) -> None:
        """From now on it has rounds to make, and watches that tell."""
        self.leads = True
        self.round_done()
        self.watches = Watches(time.monotonic())

    def round_done(self) -> None:
        self.round_at = time.monotonic()

    def woken(self, exchange: ExchangeId) -> None:
        self.woken_at.setdefault(exchange, time.monotonic())

    def settled(self, exchange: ExchangeId, *, is_settled: bool) -> None:
        if is_settled:
            self.unsettled_at.pop(exchange, None)
        else:
            self.unsettled_at.setdefault(exchange, time.monotonic())

    def forget(self, exchange: ExchangeId) -> None:
        """It is no more."""
        self.woken_at.pop(exchange, None)
        self.unsettled_at.pop(exchange, None)

    @property
    def round_age_s(self) -> float:
        return time.monotonic() - self.round_at

    @property
    def queue_age_s(self) -> float:
        """Of the exchange that has waited longest."""
        now = time.monotonic()
        return max((now - at for at in self.woken_at.values()), default=0.0)

    @property
    def is_live(self) -> bool:
        return not self.leads or self.round_age_s < ROUND_AGE_MAX_S


@asynccontextmanager
async def serve(health: Health, metrics: Callable[[], bytes], host: str, port: int) -> AsyncIterator[None]:
    async def livez(_: web.Request) -> web.Response:
        live = health.is_live
        return web.Response(status=200 if live else 503, text="ok" if live else "no round for too long")

    async def status(_: web.Request) -> web.Response:
        facts = {"component": "operator", "identity": health.identity, "leads": health.leads}
        return web.json_response(facts | {"roundAgeSeconds": round(health.round_age_s, 3) if health.leads else None})

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", livez)
    app.router.add_get("/status", status)
    app.router.add_get("/metrics", text)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
