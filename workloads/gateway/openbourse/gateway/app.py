"""The traders' port as one FastAPI application: every path of the wire, and the wire's own answer to any other."""

from fastapi import FastAPI
from starlette.routing import Route

from openbourse.gateway.keys import KeyRing
from openbourse.gateway.limits import Usage
from openbourse.gateway.rest import Rest
from openbourse.gateway.wire import Resource


def make_app(rest: Rest, keys: KeyRing, usage: Usage) -> FastAPI:
    app = FastAPI(title="OpenBourse", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.router.routes += [
        Route(path, endpoint=Resource(endpoints, keys, usage)) for path, endpoints in rest.endpoints().items()
    ]
    app.router.default = Resource({}, keys, usage)
    return app
