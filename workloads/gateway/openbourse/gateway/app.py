"""The traders' port as one FastAPI application: every path of the wire, and Binance's words where there is no path."""

import json
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response
from starlette.routing import Route

from openbourse.gateway import errors
from openbourse.gateway.errors import Refused, Word
from openbourse.gateway.keys import KeyRing
from openbourse.gateway.limits import Usage
from openbourse.gateway.rest import Rest
from openbourse.gateway.wire import Resource


def make_app(rest: Rest, keys: KeyRing, usage: Usage) -> FastAPI:
    app = FastAPI(title="OpenBourse", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for path, endpoints in rest.endpoints().items():
        app.router.routes.append(Route(path, endpoint=Resource(endpoints, keys, usage)))
    app.add_exception_handler(404, _answer(errors.NO_SUCH_PATH))
    app.add_exception_handler(405, _answer(errors.NO_SUCH_METHOD))
    return app


def _answer(word: Word) -> Callable[[Request, Exception], Awaitable[Response]]:
    body = json.dumps(Refused(word).as_json())

    async def answer(_request: Request, _error: Exception) -> Response:
        return Response(body, word.status, media_type="application/json")

    return answer
