"""What a process says of itself to whoever probes it, over plain HTTP: nothing that needs a secret."""

from collections.abc import Callable
from typing import Protocol

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from openbourse.contracts.tls_material import Material


class Status(Protocol):
    def why_not_ready(self) -> str:
        """Empty: ready."""

    def as_json(self) -> dict[str, object]: ...


def make_status(status: Status, metrics: Callable[[], bytes] | None = None, tls: Material | None = None) -> FastAPI:
    """The application behind the plain listener; `metrics` is what Prometheus reads, `tls` what is in use."""
    app = FastAPI(title="OpenBourse status", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/livez")
    async def livez() -> JSONResponse:
        return JSONResponse({"live": True})

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        reason = status.why_not_ready()
        return JSONResponse({"ready": not reason, "reason": reason}, 503 if reason else 200)

    @app.get("/status")
    async def all_of_it() -> JSONResponse:
        return JSONResponse(status.as_json() | ({} if tls is None else {"tls": tls.as_json()}))

    if metrics is not None:

        @app.get("/metrics")
        async def text() -> Response:
            return Response(metrics(), media_type=CONTENT_TYPE_LATEST)

    return app
