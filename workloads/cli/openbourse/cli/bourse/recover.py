"""`kubectl bourse recover`: names a leader for a shard whose record is lost or edited, or whose in-sync set is gone.

As `openbourse shard recover`, with the members, the record and the certificate found by the API server.
"""

import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from openbourse.cli.bourse import person
from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected, read_all
from openbourse.cli.bourse.console import fail, run
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.forward import forwarded
from openbourse.cli.bourse.whoami import user_name
from openbourse.cli.recovery import NotRecovered, Task, recover_shard
from openbourse.cli.recovery_talk import Door
from openbourse.contracts.resources import EngineShard
from openbourse.contracts.roles import Role
from openbourse.contracts.session import Address
from openbourse.contracts.tls import client_context
from openbourse.engine.arbiters.arbiter import RecordError
from openbourse.engine.arbiters.record_lease import RecordLease
from openbourse.operator.manifests import names
from openbourse.operator.manifests.engine import LINKS_PORT

AUDIT = "recoveries.jsonl"


@dataclass(frozen=True, slots=True)
class Found:
    """A shard's engines by pod, who asks, and their certificate."""

    namespace: str
    exchange: str
    pods: tuple[str, ...]
    who: str
    tls: Path


def recover(
    shard: Annotated[str, typer.Argument(help="The EngineShard.")],
    *,
    gone: Annotated[
        list[str] | None,
        typer.Option(help="A member, or its place POD:7002, whose volume is lost for good; again for each."),
    ] = None,
    reason: Annotated[str, typer.Option(help="What happened, and how you know; it is written down.")] = "",
    plan: Annotated[bool, typer.Option("--plan", help="Look, say what would be done, change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    audit: Annotated[Path, typer.Option(help="File for the audit lines.")] = Path(AUDIT),
    link: Annotated[
        list[str] | None,
        typer.Option(help="POD=HOST:PORT where a member's links are reached without kubectl; again for each."),
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option(
            envvar="OPENBOURSE_TLS",
            help="Folder of ca.crt, tls.crt and tls.key.",
            show_default="a certificate of an hour: takes the right to administer the exchange",
        ),
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Name a leader after the leadership record was lost or edited, or every member of the in-sync set is gone.

    Every volume that is left is sealed first: it promises to refuse, acknowledge and lead nothing below a new epoch.
    Then the one with the highest last epoch, and of those the longest log, is named in the Lease, and leads. What would
    be done is shown first. Running it again after it was interrupted is safe. Takes the right to administer the
    exchange, to get, create and update its Lease, and to forward ports of its pods.

    \b
    kubectl bourse recover main -n exchange --plan
    kubectl bourse recover main -n exchange --reason "the Lease was deleted, ticket 4711"
    kubectl bourse recover main --gone demo-engine-main-0:7002 --reason "its disk was replaced, ticket 4711" --yes
    """
    if not plan and not reason.strip():
        fail("say with --reason what happened; it is written down. --plan looks, and needs none")
    target = Target(namespace, context, kubeconfig)
    found = run(_found(target, shard, tls))
    try:
        reached = _addresses(link or [], found.pods)
        context_ = client_context(found.tls)
    except (ValueError, OSError, ssl.SSLError) as error:
        fail(str(error))
    with ExitStack() as stack:
        doors = tuple(_door(stack, target, found.namespace, pod, reached.get(pod)) for pod in found.pods)
        by = {"by": found.who, "exchange": f"{found.namespace}/{found.exchange}"}
        task = Task(shard, doors, context_, frozenset(gone or ()), reason.strip(), audit, by)
        run(_recover(target, found, task, plan_only=plan, yes=yes))


async def _found(target: Target, shard: str, tls: Path | None) -> Found:
    async with connected(target) as (api, namespace):
        shards = {each.metadata.name: each for each in await read_all(api, EngineShard, namespace)}
        if shard not in shards:
            there = ", ".join(sorted(shards)) or "none"
            raise NotDone(f"namespace {namespace} has no EngineShard {shard}; there is {there}")
        spec = shards[shard].spec
        folder = tls if tls is not None else await person.certificate(api, namespace, spec.exchange, Role.ADMIN)
        pods = names.engine_pods(spec.exchange, shard, 1 + spec.standbys)
        return Found(namespace, spec.exchange, pods, await user_name(api), folder)


def _addresses(links: list[str], pods: tuple[str, ...]) -> dict[str, Address]:
    """Raises ValueError."""
    said = {}
    for link in links:
        pod, equals, address = link.partition("=")
        if not equals or pod not in pods:
            raise ValueError(f"--link {link}: it is POD=HOST:PORT, of {', '.join(pods)}")
        said[pod] = Address.parse(address)
    return said


def _door(stack: ExitStack, target: Target, namespace: str, pod: str, reached: Address | None) -> Door:
    """One that cannot be reached is heard of as silent, which the plan then says."""
    place = Address(pod, LINKS_PORT)
    if reached is not None:
        return Door(place, reached)
    try:
        port = stack.enter_context(forwarded(target, namespace, f"pod/{pod}", LINKS_PORT))
    except NotDone as error:
        return Door(place, place, str(error))
    return Door(place, Address("127.0.0.1", port))


async def _recover(target: Target, found: Found, task: Task, *, plan_only: bool, yes: bool) -> None:
    async with connected(target) as (api, namespace):
        lease = names.record(found.exchange, task.shard)
        arbiter = RecordLease(api, namespace, lease, task.shard, recovers=True)
        try:
            await recover_shard(task, arbiter, plan_only=plan_only, yes=yes)
        except (NotRecovered, RecordError, OSError) as error:
            raise NotDone(str(error)) from None
