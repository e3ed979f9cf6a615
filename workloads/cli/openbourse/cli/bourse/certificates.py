"""`kubectl bourse certificates` and `rotate-authority`: whose, until when and of which authority; and a new authority.

Read from the Exchange's status alone: nobody needs Secrets for it. A rotation is asked for by an annotation of the
Exchange, and is the operator's to carry out.
"""

import asyncio
import dataclasses
import datetime
import time
import uuid
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from openbourse.cli.bourse.cluster import (
    Context,
    ExchangeOption,
    Kubeconfig,
    Namespace,
    Target,
    connected,
    read_all,
    the_exchange,
)
from openbourse.cli.bourse.console import Output, OutputOption, now, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.resources import Exchange
from openbourse.contracts.rotations import asking

POLL_S = 1.0
MANAGER = "kubectl-bourse"
QUESTION = (
    "Make a new certificate authority for {exchange}? Processes take it while they run. Certificates that people had "
    "from `openbourse person issue` are worth nothing afterwards; what kubectl bourse asks for is renewed by itself."
)


@dataclass(frozen=True, slots=True)
class Held:
    """One certificate. `use`: authority that signs, next or previous one, or whose it is."""

    use: str
    secret: str
    fingerprint: str
    until: datetime.datetime


@dataclass(frozen=True, slots=True)
class Listed:
    exchange: str
    authorities: tuple[Held, ...]
    certificates: tuple[Held, ...]
    is_current: bool
    reason: str
    message: str


def listed(exchange: Exchange) -> Listed:
    """Raises NotDone where the operator has said nothing yet."""
    name, held = exchange.metadata.name, exchange.status.certificates
    said = next((one for one in exchange.status.conditions if one.type == "CertificatesCurrent"), None)
    if held is None or said is None:
        raise NotDone(
            f"the status of {name} says nothing of certificates: does its operator run, and is it of this version?"
        )
    return Listed(
        name,
        tuple(Held(one.use, "", one.fingerprint, one.until) for one in held.authorities),
        tuple(Held(one.component, one.secret, one.authority, one.until) for one in held.leaves),
        said.status == "True",
        said.reason,
        said.message,
    )


def screen(seen: Listed, at: datetime.datetime) -> RenderableType:
    """For people."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("WHO", "SECRET", "UNTIL", "LEFT", "AUTHORITY"):
        table.add_column(column)
    for one in seen.authorities:
        table.add_row(f"authority, {one.use}", "-", *_until(one, at), one.fingerprint[:8])
    for one in seen.certificates:
        table.add_row(one.use, one.secret, *_until(one, at), one.fingerprint[:8])
    style = "green" if seen.is_current else "yellow"
    return Group(table, Text(), Text(f"{seen.reason}: {seen.message}", style=style))


def certificates(
    *,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List certificates: whose they are, until when, of which authority. Ends with 1 where one is not taken yet.

    \b
    kubectl bourse certificates -n exchange
    kubectl bourse certificates -n exchange -o json
    """
    seen = run(_listed(Target(namespace, context, kubeconfig), exchange))
    show(_document(seen), output, screen(seen, now()))
    raise typer.Exit(0 if seen.is_current else 1)


def rotate_authority(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Annotated[bool, typer.Option(help="Wait until the old authority is trusted no more.")] = True,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds to wait.")] = 900.0,
    exchange: ExchangeOption = None,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Replace the exchange's certificate authority, and every certificate by it. Nothing is restarted, nobody waits.

    First everybody trusts both, then certificates are issued by the new one, then the old one is dropped: some minutes,
    as the kubelet shows a changed Secret within about one. Ends with 1 when it is still on its way, and says where.
    Takes the right to administer the exchange.

    \b
    kubectl bourse rotate-authority -n exchange
    kubectl bourse rotate-authority --yes --no-wait -n exchange
    """
    target = Target(namespace, context, kubeconfig)
    name = run(_may_rotate(target, exchange))
    if not yes and not typer.confirm(QUESTION.format(exchange=name)):
        raise typer.Exit(2)
    seen = run(_rotated(target, name, timeout if wait else 0.0))
    show(_document(seen), output, screen(seen, now()))
    raise typer.Exit(0 if seen.is_current or not wait else 1)


async def _listed(target: Target, wanted: str | None) -> Listed:
    async with connected(target) as (api, namespace):
        return listed(the_exchange(await read_all(api, Exchange, namespace), wanted, namespace))


async def _may_rotate(target: Target, wanted: str | None) -> str:
    async with connected(target) as (api, namespace):
        found = the_exchange(await read_all(api, Exchange, namespace), wanted, namespace)
    name, issuer = found.metadata.name, found.spec.certificates
    if issuer is not None:
        of = f"{issuer.issuer_ref.kind} {issuer.issuer_ref.name}"
        raise NotDone(f"the certificates of {name} are those of cert-manager's {of}: its authority is rotated there")
    if len(listed(found).authorities) > 1:
        raise NotDone(f"the authority of {name} is being rotated already: {listed(found).message}")
    return name


async def _rotated(target: Target, name: str, timeout_s: float) -> Listed:
    """Where the rotation was last seen."""
    rotation, end_s = uuid.uuid4().hex[:12], time.monotonic() + timeout_s
    async with connected(target) as (api, namespace):
        found = await _exchange(api, namespace, name)
        await api.apply(Exchange.resource, asking(namespace, name, found.metadata.uid, rotation), MANAGER)
        while time.monotonic() < end_s:
            await asyncio.sleep(POLL_S)
            found = await _exchange(api, namespace, name)
            held = found.status.certificates
            if (
                held is not None
                and held.rotation == rotation
                and len(held.authorities) == 1
                and listed(found).is_current
            ):
                break
        seen = listed(found)
        held = found.status.certificates
        if held is None or held.rotation != rotation:
            return dataclasses.replace(
                seen, is_current=False, reason="Asked", message=f"rotation {rotation} is not begun yet"
            )
        return seen


async def _exchange(api: ApiServer, namespace: str, name: str) -> Exchange:
    found = await api.get(Exchange.resource, namespace, name)
    if found is None:
        raise NotDone(f"namespace {namespace} has no Exchange {name} any more")
    return Exchange.model_validate(found)


def _until(one: Held, at: datetime.datetime) -> tuple[str, str]:
    return f"{one.until:%Y-%m-%d %H:%M}", f"{(one.until - at).days} d"


def _document(seen: Listed) -> dict[str, object]:
    return dataclasses.asdict(seen)
