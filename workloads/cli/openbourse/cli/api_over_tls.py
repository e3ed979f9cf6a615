"""Asks one of the exchange's HTTP APIs over mutual TLS, as a person with a certificate of their own."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx
import typer

from openbourse.contracts.tls import client_context

CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Api:
    """`name` is what it is in sentences, `option` the option that says where it is, such as at `example`."""

    name: str
    option: str
    example: str
    timeout_s: float

    def asked(self, place: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
        """As `exchange_with`; no answer ends the command too."""
        try:
            return self.exchange_with(place, tls, method, path, **more)
        except httpx.TransportError as error:
            fail(f"the {self.name} at {place} did not answer: {error or type(error).__name__}")

    def exchange_with(self, place: str, tls: Path, method: str, path: str, **more: Any) -> dict[str, Any]:
        """The answer, or the end of the command with the other side's own words. Raises TransportError."""
        if not place.startswith("https://"):
            fail(f"{self.option} is {place!r}: it looks like {self.example}")
        try:
            context = client_context(tls)
        except (OSError, ssl.SSLError) as error:
            fail(f"--tls {tls}: {error}; it needs ca.crt, tls.crt and tls.key")
        timeout = httpx.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)
        with httpx.Client(base_url=place, verify=context, timeout=timeout) as client:
            response = client.request(method, path, **more)
        try:
            answer: dict[str, Any] = response.json()
        except ValueError:
            fail(f"{place} is no {self.name}: it answered {response.status_code} {response.text[:200]!r}")
        if not response.is_success:
            fail(f"{answer.get('reason', response.status_code)}: {answer.get('message', answer)}")
        return answer


def fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
