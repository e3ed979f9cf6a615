"""A member opens the Lease that its shard shares, and a volume that led alone brings its record along, once."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.apiservers import ADMIN_TOKEN, RunningApiServer, make_unfounded_lease
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.leadership import LEASE
from openbourse.engine.arbiters.arbiter import NotAllowed
from openbourse.engine.arbiters.own_record import own_record
from openbourse.engine.arbiters.shared_lease import shared_lease
from openbourse.engine.journal.volume import Volume
from openbourse.engine.replication.inputs import Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record, Session

pytestmark = pytest.mark.server

ALONE, OTHER = "00000000000000aa", "00000000000000bb"
LED = Record(7, Session(ALONE, "b"), frozenset({ALONE}))


@dataclass(frozen=True, slots=True)
class Shard:
    api: ApiServer
    name: str
    wal: Path

    async def opened(self, member: str = ALONE, *, name: str = "") -> Held | None:
        """The record as a member with this volume finds it."""
        async with shared_lease("default", name or self.name, self.wal, Volume("main", member, 0), 0) as arbiter:
            return await arbiter.read()

    async def lead_alone(self) -> None:
        own = await own_record(self.wal, Volume("main", ALONE, 0), 0)
        assert isinstance(await own.compare_and_set(CompareAndSet(None, LED)), Succeeded)

    async def found(self, member: str) -> None:
        async with shared_lease("default", self.name, self.wal.parent, Volume("main", member, 0), 0) as arbiter:
            record = Record(1, Session(member, "b"), frozenset({member}))
            assert isinstance(await arbiter.compare_and_set(CompareAndSet(None, record)), Succeeded)


@pytest.fixture
async def shard(
    bare_api_server: RunningApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shard]:
    monkeypatch.setenv("KUBECONFIG", str(bare_api_server.kubeconfig(ADMIN_TOKEN)))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    name = f"shard-{secrets.token_hex(4)}"
    async with ApiServer.connect(bare_api_server.credentials()) as api:
        await make_unfounded_lease(api, name)
        wal = tmp_path / "wal"
        wal.mkdir()
        yield Shard(api, name, wal)


async def test_a_new_volume_finds_a_shard_to_be_founded(shard: Shard) -> None:
    assert await shard.opened() is None


async def test_a_volume_that_led_alone_brings_its_record_along(shard: Shard) -> None:
    await shard.lead_alone()
    held = await shard.opened()
    assert held is not None
    assert held.record == LED
    assert await shard.opened() == held


async def test_a_boot_that_died_on_the_way_is_followed_by_one_that_goes_on(shard: Shard) -> None:
    """The record is in the Lease, and the volume does not say so yet."""
    await shard.lead_alone()
    held = await shard.opened()
    (shard.wal / "shared-record").unlink()
    assert await shard.opened() == held


async def test_it_does_not_take_a_shard_that_others_founded(shard: Shard) -> None:
    await shard.found(OTHER)
    await shard.lead_alone()
    with pytest.raises(NotAllowed, match=r"led its shard alone.*epoch 1, leader 0+bb/b"):
        await shard.opened()


async def test_a_lease_that_is_lost_is_not_made_from_a_record_of_old(shard: Shard) -> None:
    await shard.lead_alone()
    await shard.api.delete(LEASE, "default", shard.name)
    with pytest.raises(NotAllowed, match="lost"):
        await shard.opened()


async def test_what_was_brought_along_once_is_never_brought_again(shard: Shard) -> None:
    """Others may have led since; a Lease that somebody made anew by hand does not bring the old record back."""
    await shard.lead_alone()
    await shard.opened()
    await shard.api.delete(LEASE, "default", shard.name)
    await make_unfounded_lease(shard.api, shard.name)
    assert await shard.opened() is None


async def test_a_volume_that_shares_its_record_takes_no_other(shard: Shard) -> None:
    await shard.opened()
    with pytest.raises(NotAllowed, match=f"is of a member of several, whose record is the Lease default/{shard.name}"):
        await own_record(shard.wal, Volume("main", ALONE, 0), 0)
    with pytest.raises(NotAllowed, match=f"the Lease default/{shard.name}, not default/another"):
        await shard.opened(name="another")
