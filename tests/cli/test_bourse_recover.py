"""`kubectl bourse recover` on a real API server and real engines whose Lease is gone, or all is as it should be."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.apiservers import ADMIN_TOKEN, make_unfounded_lease
from fixtures.bourses import Cluster, Done
from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import EngineFactory, fund
from fixtures.members import RunningShard, make_shard_of_lease
from openbourse.cli.recovery_talk import Door, ask
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import EPOCH, LEASE
from openbourse.contracts.roles import Role
from openbourse.contracts.session import Address
from openbourse.contracts.tls import client_context

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

LEASE_NAME = "demo-engine-main"
WHY = ("--reason", "the Lease was deleted, ticket 4711", "--yes")


@dataclass(slots=True)
class Broken:
    """Two engines of the shard `main` of the exchange `demo`, and who recovers it."""

    cluster: Cluster
    api: ApiServer
    shard: RunningShard
    audit: Path

    async def recover(self, *options: str) -> Done:
        places = [_place(arguments) for arguments in (member.arguments for member in self.shard.members)]
        links = [f"--link=demo-engine-main-{ordinal}={place}" for ordinal, place in enumerate(places)]
        tls = self.shard.members[0].tls_material[Component.CLI]
        command = ("recover", "main", *links, f"--tls={tls}", f"--audit={self.audit}", *options)
        return await asyncio.to_thread(self.cluster.bourse, *command)


def _place(arguments: tuple[str, ...]) -> str:
    return next(one.removeprefix("--place=") for one in arguments if one.startswith("--place="))


@pytest.fixture
async def broken(
    bourse_cluster: Cluster, engine_factory: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Broken]:
    monkeypatch.setenv("KUBECONFIG", str(bourse_cluster.server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    async with ApiServer.connect(bourse_cluster.server.credentials()) as api:
        await make_unfounded_lease(api, LEASE_NAME, bourse_cluster.namespace)
        shard = make_shard_of_lease(engine_factory, f"{bourse_cluster.namespace}/{LEASE_NAME}", 2)
        await asyncio.to_thread(shard.start)
        await asyncio.to_thread(shard.wait_for_leader, in_sync=2)
        yield Broken(bourse_cluster, api, shard, tmp_path / "audit.jsonl")


async def test_a_shard_whose_lease_was_deleted_is_planned_recovered_and_audited(broken: Broken) -> None:
    command = sell(30_000_00, 1)
    async with broken.shard.session(Component.LEDGER) as ledger, broken.shard.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        first = await gateway.command(command, TIMEOUT_S)
    await broken.api.delete(LEASE, broken.cluster.namespace, LEASE_NAME)
    for member in broken.shard.members:
        member.kill()
    for member in broken.shard.members:
        # It leads nothing without a record.
        await asyncio.to_thread(member.launch, member.command())
        await asyncio.to_thread(member.wait_until_it_answers)
    planned = await broken.recover("--plan")
    assert planned.returncode == 0, planned.stderr
    assert "seals 2 volumes below epoch" in planned.stderr
    assert not broken.audit.exists()
    done = await broken.recover(*WHY)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in broken.audit.read_text().splitlines()]
    assert [line["what"] for line in lines] == ["recovery begun", "recovered"]
    said = {(line["by"], line["exchange"], line["reason"]) for line in lines}
    assert said == {("admin", f"{broken.cluster.namespace}/demo", "the Lease was deleted, ticket 4711")}
    async with broken.shard.session(Component.GATEWAY) as gateway:
        assert await gateway.command(command, TIMEOUT_S) == first
    lease = await broken.api.get(LEASE, broken.cluster.namespace, LEASE_NAME)
    assert lease is not None and int(lease["metadata"]["annotations"][EPOCH]) > 1


async def test_a_shard_that_is_led_needs_none_and_what_makes_no_sense_is_said(broken: Broken) -> None:
    done = await broken.recover(*WHY)
    assert (done.returncode, "nothing to recover: " in done.stderr) == (0, True), done.stderr
    for options, sentence in (
        ((), "say with --reason what happened"),
        (("--link=nobody=x:1", *WHY), "it is POD=HOST:PORT, of demo-engine-main-0, demo-engine-main-1"),
        (("--gone", "demo-engine-main-7:7002", *WHY), "nothing to recover"),
    ):
        done = await broken.recover(*options)
        assert sentence in done.stderr
    other = await asyncio.to_thread(broken.cluster.bourse, "recover", "other", *WHY)
    assert (other.returncode, "has no EngineShard other; there is main" in other.stderr) == (2, True)


async def test_only_who_administers_may_ask_a_member_of_its_log(
    engine_factory: EngineFactory, pair: RunningShard
) -> None:
    member = pair.members[0]
    place = Address.parse(_place(member.arguments))
    folders = member.tls_material[Component.CLI].parent
    heard = {}
    for role in Role:
        context = client_context(folders / f"person-{role}")
        heard[role] = (await ask(Door(place, place), context, "main")).testimony is not None
    assert heard == {Role.VIEWER: False, Role.OPERATOR: False, Role.ADMIN: True}
