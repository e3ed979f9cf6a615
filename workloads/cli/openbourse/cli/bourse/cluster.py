"""The API server that a person means: their kubeconfig, as kubectl reads it. Nothing here decides."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from openbourse.cli.bourse.errors import NoCluster, NotDone
from openbourse.contracts.apiserver import ApiServer, Credentials
from openbourse.contracts.resources import CustomResource, Exchange

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Where the exchange is.", show_default="that of the context")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.", show_default="the current one")]
Kubeconfig = Annotated[
    Path | None, typer.Option(help="File with contexts.", show_default="$KUBECONFIG, or ~/.kube/config")
]
ExchangeOption = Annotated[str | None, typer.Option(help="Which one.", show_default="the only one of the namespace")]

_Kind = TypeVar("_Kind", bound=CustomResource)


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of the cluster."""

    namespace: str | None
    context: str | None
    kubeconfig: Path | None

    def options(self) -> list[str]:
        """The same for kubectl, but for the namespace."""
        said = {"--context": self.context, "--kubeconfig": self.kubeconfig}
        return [f"{option}={value}" for option, value in said.items() if value is not None]


@asynccontextmanager
async def connected(target: Target) -> AsyncIterator[tuple[ApiServer, str]]:
    """The API server, and the namespace that is meant. Raises NoCluster."""
    files = str(target.kubeconfig or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        credentials, namespace = Credentials.of_context(files, target.context)
    except (OSError, ValueError) as error:
        raise NoCluster(f"{files}: {error}") from None
    async with ApiServer.connect(credentials) as api:
        yield api, target.namespace or namespace


async def read_all(api: ApiServer, kind: type[_Kind], namespace: str) -> list[_Kind]:
    """By name. What cannot be read is said and left out."""
    items, _ = await api.list(kind.resource, namespace)
    found = []
    for item in items:
        try:
            found.append(kind.model_validate(item))
        except ValidationError as error:
            what = f"{kind.resource.kind} {item['metadata']['name']}"
            typer.echo(f"kubectl bourse: {what} cannot be read: {error}", err=True)
    return sorted(found, key=lambda each: each.metadata.name)


def the_exchange(exchanges: Sequence[Exchange], wanted: str | None, namespace: str) -> Exchange:
    """The one that is wanted, or the only one. Raises NotDone."""
    names = sorted(exchange.metadata.name for exchange in exchanges)
    if not names:
        raise NotDone(f"namespace {namespace} has no Exchange: say where it is with -n")
    if wanted is None and len(names) > 1:
        raise NotDone(f"namespace {namespace} has {', '.join(names)}: say which with --exchange")
    for exchange in exchanges:
        if wanted in {None, exchange.metadata.name}:
            return exchange
    raise NotDone(f"namespace {namespace} has no Exchange {wanted}; there is {', '.join(names)}")
