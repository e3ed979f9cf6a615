"""`openbourse shard recover` on real engines whose record, or whose set, is gone: nothing that is left is lost."""

import asyncio
import json
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fixtures.apiservers import ADMIN_TOKEN, RunningApiServer, make_unfounded_lease
from fixtures.commands import TIMEOUT_S, sell
from fixtures.engines import EngineFactory, RunningEngine, fund
from fixtures.members import RunningShard, make_shard_of_lease
from openbourse.cli.main import app
from openbourse.contracts import v1
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.component import Component
from openbourse.contracts.leadership import EPOCH, LEASE
from openbourse.engine.arbiters.record_folder import RecordFolder
from openbourse.engine.replication.record import CompareAndSet

pytestmark = pytest.mark.server


def place_of(member: RunningEngine) -> str:
    return next(one.removeprefix("--place=") for one in member.arguments if one.startswith("--place="))


class Person:
    """Who calls the command."""

    def __init__(self, shard: RunningShard, folder: Path, lease: str | None = None) -> None:
        self.audit = folder / "audit.jsonl"
        self.record = folder / "record"
        self._where = f"--record={self.record}" if lease is None else f"--record-lease={lease}"
        self._members = [f"--member={place_of(member)}" for member in shard.members]
        self._tls = shard.members[0].tls_material[Component.CLI]

    async def recovers(self, *options: str) -> Result:
        arguments = [
            *("shard", "recover", *self._members, self._where, f"--tls={self._tls}"),
            *(f"--audit={self.audit}", *options),
        ]
        # The command has an event loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    def audited(self) -> list[str]:
        return [json.loads(line)["what"] for line in self.audit.read_text().splitlines()] if self.audit.exists() else []


@pytest.fixture
def person(pair: RunningShard, tmp_path: Path) -> Person:
    return Person(pair, tmp_path)


async def trade(shard: RunningShard) -> list[tuple[v1.Command, v1.Reply]]:
    commands = [sell(30_000_00, 1) for _ in range(50)]
    async with shard.session(Component.LEDGER) as ledger, shard.session(Component.GATEWAY) as gateway:
        await fund(ledger)
        replies = await asyncio.gather(*(gateway.command(command, TIMEOUT_S) for command in commands))
    return list(zip(commands, replies, strict=True))


async def forgotten(shard: RunningShard, told: list[tuple[v1.Command, v1.Reply]]) -> list[v1.Reply]:
    """What the shard answers otherwise than the first time; it has to take a new order as well."""
    async with shard.session(Component.GATEWAY) as gateway:
        assert (await gateway.command(sell(30_000_00, 1), TIMEOUT_S)).HasField("order")
        again = [await gateway.command(command, TIMEOUT_S) for command, _ in told]
    return [reply for reply, (_, first) in zip(again, told, strict=True) if reply != first]


@pytest.mark.timeout(240)
async def test_a_shard_whose_record_was_deleted_goes_on_with_all_that_it_had(
    pair: RunningShard, person: Person
) -> None:
    told = await trade(pair)
    shutil.rmtree(person.record)
    looked = await person.recovers("--plan")
    assert (looked.exit_code, person.audited()) == (0, []), looked.output
    assert "seals 2 volumes below epoch 2" in looked.output
    done = await person.recovers("--yes")
    assert done.exit_code == 0, done.output
    assert person.audited() == ["recovery begun", "recovered"]
    await asyncio.to_thread(pair.wait_for_leader, 2)
    assert await forgotten(pair, told) == []
    again = await person.recovers("--yes")
    assert (again.exit_code, person.audited()) == (0, ["recovery begun", "recovered"])
    assert "nothing to recover" in again.output


@pytest.mark.timeout(240)
async def test_a_shard_whose_lease_was_deleted_goes_on_with_all_that_it_had(
    bare_api_server: RunningApiServer, engine_factory: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(bare_api_server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    name = f"shard-{secrets.token_hex(4)}"
    async with ApiServer.connect(bare_api_server.credentials()) as api:
        await make_unfounded_lease(api, name)
        shard = make_shard_of_lease(engine_factory, f"default/{name}", 2)
        person = Person(shard, tmp_path, f"default/{name}")
        await asyncio.to_thread(shard.start)
        leader = await asyncio.to_thread(shard.wait_for_leader, 2)
        told = await trade(shard)
        await api.delete(LEASE, "default", name)
        leader.kill()
        await asyncio.to_thread(leader.launch, leader.command())
        await asyncio.to_thread(leader.wait_until_it_answers)
        done = await person.recovers("--yes")
        assert done.exit_code == 0, done.output
        assert person.audited() == ["recovery begun", "recovered"]
        await asyncio.to_thread(shard.wait_for_leader, 2)
        made_anew = await api.get(LEASE, "default", name)
        assert made_anew is not None
        assert int(made_anew["metadata"]["annotations"][EPOCH]) > 1
    assert await forgotten(shard, told) == []


@pytest.mark.timeout(240)
async def test_a_shard_whose_record_was_edited_goes_on_with_all_that_it_had(pair: RunningShard, person: Person) -> None:
    told = await trade(pair)
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (standby,) = (member for member in pair.members if member is not leader)
    arbiter = RecordFolder(person.record, leader.shard)
    held = await arbiter.read()
    assert held is not None
    edited = replace(held.record, in_sync=frozenset({"00000000000000ff"}))
    await arbiter.compare_and_set(CompareAndSet(held.version, edited))
    standby.kill()
    await asyncio.to_thread(leader.wait_for, "it stops", lambda status: status["role"] == "stopped")
    silent = await person.recovers("--yes")
    assert silent.exit_code == 1
    assert f"00000000000000ff, {place_of(standby)}" in silent.output
    standby.launch(standby.command())
    await asyncio.to_thread(standby.wait_until_it_answers)
    refused = await person.recovers("--yes")
    assert refused.exit_code == 1
    assert "may have what nobody else has: 00000000000000ff" in refused.output
    assert person.audited() == []
    done = await person.recovers("--yes", "--gone", "00000000000000ff", "--reason", "there never was such a member")
    assert done.exit_code == 0, done.output
    await asyncio.to_thread(pair.wait_for_leader, 2)
    assert await forgotten(pair, told) == []


@pytest.mark.timeout(240)
async def test_a_standby_that_had_all_leads_when_the_leader_and_its_volume_are_gone(
    pair: RunningShard, person: Person
) -> None:
    told = await trade(pair)
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    (standby,) = (member for member in pair.members if member is not leader)
    gone = leader.status()["member"]
    standby.kill()
    await asyncio.to_thread(leader.wait_for, "it leads alone", lambda status: len(status["in_sync"]) == 1)
    leader.kill()
    shutil.rmtree(leader.wal)
    for member in pair.members:
        member.launch(member.command())
    for member in pair.members:
        await asyncio.to_thread(member.wait_until_it_answers)
    refused = await person.recovers("--yes")
    assert refused.exit_code == 1, refused.output
    assert f"may have what nobody else has: {gone}" in refused.output
    unreasoned = await person.recovers("--yes", "--gone", gone)
    assert unreasoned.exit_code == 2
    done = await person.recovers("--yes", "--gone", gone, "--reason", "the test removed it")
    assert done.exit_code == 0, done.output
    assert await asyncio.to_thread(pair.wait_for_leader, 2) is standby
    assert await forgotten(pair, told) == []
    audit = [json.loads(line) for line in person.audit.read_text().splitlines()]
    assert [(line["gone"], line["reason"]) for line in audit] == [([gone], "the test removed it")] * 2


async def test_a_shard_that_is_led_is_left_alone(pair: RunningShard, person: Person) -> None:
    leader = await asyncio.to_thread(pair.wait_for_leader, 2)
    before = leader.status()["epoch"]
    done = await person.recovers("--yes")
    assert done.exit_code == 0, done.output
    assert f"nothing to recover: {leader.status()['member']}" in done.output
    assert leader.status()["epoch"] == before
    assert person.audited() == []
