"""The gateway's port for people at the command line: who asks for what and why, as options, and how it is asked."""

import json
import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from openbourse.cli.api_over_tls import Api, fail
from openbourse.contracts.units import FIRST_TRADER

WIDTH = 200

Gateway = Annotated[
    str,
    typer.Option("--gateway", envvar="OPENBOURSE_GATEWAY", help="The gateway's port for people, https://HOST:PORT."),
]
Tls = Annotated[
    Path,
    typer.Option(
        "--tls",
        envvar="OPENBOURSE_TLS",
        help="Folder of ca.crt, tls.crt and tls.key: whose certificate it is, is who acts (`openbourse person issue`).",
    ),
]
Account = Annotated[int, typer.Argument(min=FIRST_TRADER, help="A trader's account, from 1000.")]
Symbol = Annotated[str, typer.Argument(help="A symbol that is listed, such as BTCUSDT.")]
Reason = Annotated[str, typer.Option(help="Why, in one line: it is kept in the log and in the journal.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ActionId = Annotated[
    uuid.UUID | None, typer.Option("--id", help="Give the same one again to retry safely (default: a new one).")
]


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


As = Annotated[Output, typer.Option("--output", "-o", help="For people, or as the gateway answered.")]

# Cancelling all of a shard takes a while.
gateway_api = Api("gateway", "--gateway", "https://127.0.0.1:8443", timeout_s=60.0)


def act(
    path: str,
    question: str,
    gateway: str,
    tls: Path,
    *,
    reason: str,
    yes: bool,
    action_id: uuid.UUID | None,
    **more: object,
) -> dict[str, Any]:
    """Asks whether it is meant, unless that was said, and does it. A `no` ends the command."""
    if not yes and not typer.confirm(question, err=True):
        fail("nothing was done")
    # Made here, so that it can be given again when the answer is lost on its way.
    wanted = action_id or uuid.uuid4()
    body = {"id": str(wanted), "reason": reason, **more}
    try:
        return gateway_api.exchange_with(gateway, tls, "POST", path, json=body)
    except httpx.TransportError as error:
        fail(f"the gateway did not answer ({error or type(error).__name__}): retry with --id {wanted}")


def show(answer: dict[str, Any], output: Output, text: Any) -> None:
    """One object, or what is for people: text or a table."""
    if output is Output.JSON:
        typer.echo(json.dumps(answer))
    else:
        Console(width=WIDTH, highlight=False).print(text, markup=False, soft_wrap=isinstance(text, str))


def canceled(answer: dict[str, Any], whose: str) -> str:
    left = f"; {answer['remaining']} are left: ask again" if answer["remaining"] else ""
    return f"{answer['canceled']} orders of {whose} were cancelled{left}"
