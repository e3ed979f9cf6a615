"""`kubectl bourse switchover`: asks a shard's leader to hand over, and waits for what becomes of it."""

import asyncio
import time
import uuid
from typing import Annotated

import typer

from openbourse.cli.bourse.cluster import Context, Kubeconfig, Namespace, Target, connected
from openbourse.cli.bourse.console import Output, OutputOption, run, show
from openbourse.cli.bourse.errors import NotDone
from openbourse.cli.bourse.switching import Switched, epoch_of, successor, table
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.leadership import LEASE
from openbourse.contracts.resources import EngineShard
from openbourse.contracts.switchovers import SwitchoverRequest, asking

POLL_S = 0.1
MANAGER = "kubectl-bourse"


def switchover(
    shard: Annotated[str, typer.Argument(help="EngineShard whose leader is to hand over.")],
    *,
    to: Annotated[str | None, typer.Option(help="Pod that is to lead.", show_default="who has most")] = None,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds to wait for the answer.")] = 15.0,
    output: OutputOption = Output.TABLE,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Let a standby that is in sync lead. Orders wait for some milliseconds, none is lost or repeated.

    The leader itself sees the request, also while the operator is down. Ends with 1 when it leads on, and says why;
    with 2 when no standby is in sync, and nothing was asked.

    \b
    kubectl bourse switchover main -n exchange
    kubectl bourse switchover main --to demo-engine-main-1 -n exchange
    kubectl bourse switchover main -n exchange -o json
    """
    switched = run(_switched(Target(namespace, context, kubeconfig), shard, to, timeout))
    show(switched, output, table(switched))
    raise typer.Exit(0 if switched.outcome == "Done" else 1)


async def _switched(target: Target, name: str, to: str | None, timeout_s: float) -> Switched:
    async with connected(target) as (api, namespace):
        shard = await _shard(api, namespace, name)
        pod = successor(shard, to)
        lease = await api.get(LEASE, namespace, shard.status.record) if shard.status.record else None
        request = SwitchoverRequest(id=uuid.uuid4().hex[:12], epoch=epoch_of(shard, lease), to=pod)
        await api.apply(EngineShard.resource, asking(namespace, name, shard.metadata.uid, request), MANAGER)
        end_s = time.monotonic() + timeout_s
        old_leader = str(shard.status.leader)
        while time.monotonic() < end_s:
            said = (await _shard(api, namespace, name)).status.switchover
            if said is not None and said.id == request.id:
                return Switched(name, said.outcome, old_leader, said.leader, said.epoch, said.pause_ms, said.message)
            await asyncio.sleep(POLL_S)
    message = f"no engine answered within {timeout_s:g} s: the request stands until epoch {request.epoch} is over"
    return Switched(name, "Silent", old_leader, old_leader, request.epoch, None, message)


async def _shard(api: ApiServer, namespace: str, name: str) -> EngineShard:
    found = await api.get(EngineShard.resource, namespace, name)
    if found is None:
        items, _ = await api.list(EngineShard.resource, namespace)
        there = ", ".join(sorted(item["metadata"]["name"] for item in items)) or "none"
        raise NotDone(f"namespace {namespace} has no EngineShard {name}; there is {there}")
    return EngineShard.model_validate(found)
