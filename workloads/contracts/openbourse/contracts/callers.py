"""Who may ask our own HTTP APIs, told by the peer's certificate alone, and how what is no good is answered.

Every refusal is `{"reason", "message"}`. Nothing here knows what an API does.
"""

from dataclasses import dataclass

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.params import Depends as DependsOn
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as HttpError

from openbourse.contracts.component import Component
from openbourse.contracts.roles import Role

PEOPLE = frozenset({Component.CLI, Component.PERSON})


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    role: Role


def allow(components: frozenset[Component]) -> DependsOn:
    """Refuses peers whose certificate names another component; gives whose certificate it is."""

    def check(request: Request) -> str:
        component: Component = request.state.component
        if component not in components:
            raise HTTPException(403, f"{component} may not do this; {', '.join(sorted(components))} may")
        person: str = request.state.person
        return person

    dependency: DependsOn = Depends(check)
    return dependency


def allow_role(least: Role) -> DependsOn:
    """Refuses whoever is no person, or whose certificate does not name this role or one above it; gives the Person."""

    def check(request: Request) -> Person:
        component: Component = request.state.component
        name: str = request.state.person
        role: Role | None = request.state.role
        if component not in PEOPLE:
            raise HTTPException(403, f"{component} may not do this; people may, see `openbourse person issue`")
        if role is None:
            raise HTTPException(403, f"the certificate of {name} names no role; this takes {least}")
        if not role.includes(least):
            raise HTTPException(403, f"{name} is {role}; this takes {least}")
        return Person(name, role)

    dependency: DependsOn = Depends(check)
    return dependency


def add_refusals(app: FastAPI) -> None:
    """Words what FastAPI refuses by itself."""
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HttpError, http_error)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = (f"{'.'.join(str(part) for part in p['loc'][1:]) or 'body'}: {p['msg']}" for p in error.errors())
    return JSONResponse({"reason": "Invalid", "message": "; ".join(problems)[:1000]}, 400)


async def http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HttpError)
    reason = {403: "NotAllowed", 404: "NotFound"}.get(error.status_code, "Invalid")
    return JSONResponse({"reason": reason, "message": error.detail}, error.status_code)
