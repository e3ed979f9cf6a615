"""Asks the ledger's API over mutual TLS, as a person with a certificate of the component `cli`. Decides nothing."""

import ssl
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer

from openbourse.contracts.tls import client_context

# Reconciliation may wait for the ledger to catch up and then read all of its entries.
TIMEOUT_S = 180.0
CONNECT_TIMEOUT_S = 5.0

Ledger = Annotated[
    str, typer.Option("--ledger", envvar="OPENBOURSE_LEDGER", help="The ledger's API, https://HOST:PORT.")
]
Tls = Annotated[
    Path, typer.Option("--tls", envvar="OPENBOURSE_TLS", help="Folder of ca.crt, tls.crt and tls.key of a `cli`.")
]


def asked(ledger: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
    try:
        return exchange_with(ledger, tls, method, path, **more)
    except httpx.TransportError as error:
        fail(f"the ledger at {ledger} did not answer: {error or type(error).__name__}")


def exchange_with(ledger: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
    """The answer, or the end of the command with the ledger's own words. Raises TransportError."""
    if not ledger.startswith("https://"):
        fail(f"--ledger is {ledger!r}: it looks like https://127.0.0.1:7100")
    try:
        context = client_context(tls)
    except (OSError, ssl.SSLError) as error:
        fail(f"--tls {tls}: {error}; it needs ca.crt, tls.crt and tls.key")
    timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    with httpx.Client(base_url=ledger, verify=context, timeout=timeout) as client:
        response = client.request(method, path, **more)
    try:
        answer: dict[str, Any] = response.json()
    except ValueError:
        fail(f"{ledger} is no ledger: it answered {response.status_code} {response.text[:200]!r}")
    if not response.is_success:
        fail(f"{answer.get('reason', response.status_code)}: {answer.get('message', answer)}")
    return answer


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
