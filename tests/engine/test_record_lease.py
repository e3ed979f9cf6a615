"""The leadership record as a Lease, on a real API server: what was written, what was not, and what nobody knows."""

import asyncio
import dataclasses
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from fixtures.apiservers import RunningApiServer, make_unfounded_lease
from fixtures.faulty_links import FaultyLink, faulty_link
from openbourse.contracts.apiserver import ApiServer, Object
from openbourse.contracts.leadership import EPOCH, IN_SYNC, LEASE, SHARD
from openbourse.engine.arbiters.arbiter import NotAllowed, NotUnderstood, Unreachable
from openbourse.engine.arbiters.asking import Asker, Outcome, Pace
from openbourse.engine.arbiters.record_lease import RecordLease
from openbourse.engine.replication.inputs import Conflicted, Succeeded, Unsettled
from openbourse.engine.replication.record import CompareAndSet, Held, Record, Session

pytestmark = pytest.mark.server

NAMESPACE = "default"


def record(epoch: int, leader: str | None = "a", in_sync: str = "a") -> Record:
    return Record(epoch, Session(leader, "b1") if leader else None, frozenset(in_sync))


@dataclass(frozen=True, slots=True)
class Place:
    """A Lease of its own for each test, reached directly and through a link that can lose things."""

    name: str
    api: ApiServer
    arbiter: RecordLease
    link: FaultyLink
    far: RecordLease

    async def lease(self) -> Object:
        lease = await self.api.get(LEASE, NAMESPACE, self.name)
        assert lease is not None
        return lease

    async def edit(self, changes: dict[str, Any]) -> str:
        path = LEASE.path(NAMESPACE, self.name)
        edited = await self.api.call("PATCH", path, body=changes, content_type="application/merge-patch+json")
        return str(edited["metadata"]["resourceVersion"])


@pytest.fixture
async def place(bare_api_server: RunningApiServer) -> AsyncIterator[Place]:
    """As the operator leaves it: the Lease is there, and nobody has led."""
    name = f"shard-{secrets.token_hex(4)}"
    async with (
        faulty_link(bare_api_server.url) as link,
        ApiServer.connect(bare_api_server.credentials()) as api,
        ApiServer.connect(dataclasses.replace(bare_api_server, url=link.url).credentials()) as far,
    ):
        await make_unfounded_lease(api, name)
        yield Place(
            name,
            api,
            RecordLease(api, NAMESPACE, name, "main"),
            link,
            RecordLease(far, NAMESPACE, name, "main"),
        )


async def write(arbiter: RecordLease, expected: str | None, written: Record) -> str:
    outcome = await arbiter.compare_and_set(CompareAndSet(expected, written))
    assert isinstance(outcome, Succeeded)
    return outcome.version


async def test_what_was_written_is_read_by_everybody_with_its_version(place: Place) -> None:
    assert await place.arbiter.read() is None
    version = None
    for written in [record(1), record(1, in_sync="abc"), record(2, None, "b"), record(2**62, "c", "c")]:
        version = await write(place.arbiter, version, written)
        assert await place.arbiter.read() == await place.far.read() == Held(written, version)


async def test_the_lease_says_to_kubectl_who_leads(place: Place) -> None:
    version = await write(place.arbiter, None, record(3, "a", "ba"))
    lease = await place.lease()
    assert lease["metadata"]["annotations"] == {SHARD: "main", EPOCH: "3", IN_SYNC: "a,b"}
    began = lease["spec"].pop("acquireTime")
    assert lease["spec"] == {"holderIdentity": "a/b1", "leaseTransitions": 3}
    version = await write(place.arbiter, version, record(3, "a", "a"))
    assert (await place.lease())["spec"]["acquireTime"] == began
    await write(place.arbiter, version, record(4, "a", "a"))
    assert (await place.lease())["spec"]["acquireTime"] > began


async def test_only_the_version_that_is_there_can_be_replaced(place: Place) -> None:
    ask = CompareAndSet("1", record(1))
    assert await place.arbiter.compare_and_set(ask) == Conflicted(ask)
    first = await write(place.arbiter, None, record(1))
    second = await write(place.arbiter, first, record(2))
    for arbiter in (place.arbiter, place.far):
        for expected in (None, first, "1", ""):
            ask = CompareAndSet(expected, record(9))
            assert await arbiter.compare_and_set(ask) == Conflicted(ask)
    assert await place.arbiter.read() == Held(record(2), second)


async def test_one_that_has_the_object_in_hand_still_asks_the_server(place: Place) -> None:
    """Its last object is of the expected version, so nothing is read before the write: the server says no."""
    version = await write(place.arbiter, None, record(1))
    assert await place.far.read() == Held(record(1), version)
    await write(place.arbiter, version, record(2))
    ask = CompareAndSet(version, record(9))
    assert await place.far.compare_and_set(ask) == Conflicted(ask)


async def test_a_lease_that_was_deleted_is_not_made_anew_by_a_change(place: Place) -> None:
    version = await write(place.arbiter, None, record(1))
    await place.api.delete(LEASE, NAMESPACE, place.name)
    ask = CompareAndSet(version, record(2))
    assert await place.arbiter.compare_and_set(ask) == Conflicted(ask)
    assert await place.arbiter.read() is None


async def test_a_lease_that_is_lost_is_made_anew_by_a_recovery_unless_somebody_was_faster(place: Place) -> None:
    await write(place.arbiter, None, record(1))
    await place.api.delete(LEASE, NAMESPACE, place.name)
    recovery = RecordLease(place.api, NAMESPACE, place.name, "main", recovers=True)
    assert await recovery.read() is None
    version = await write(recovery, None, record(4, leader=None))
    assert await place.arbiter.read() == Held(record(4, leader=None), version)
    ask = CompareAndSet(None, record(5))
    assert await recovery.compare_and_set(ask) == Conflicted(ask)


async def test_a_lease_that_is_lost_is_not_made_by_a_first_record_either(place: Place) -> None:
    """An emptied volume would found the shard once more, and others may have a log."""
    await write(place.arbiter, None, record(1))
    await place.api.delete(LEASE, NAMESPACE, place.name)
    with pytest.raises(NotAllowed, match=f"lease default/{place.name} is not there.*lost.*recovered"):
        await place.far.compare_and_set(CompareAndSet(None, record(1)))
    assert await place.api.get(LEASE, NAMESPACE, place.name) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"annotations": {SHARD: "other"}}},
        {"metadata": {"annotations": {EPOCH: None}}},
        {"metadata": {"annotations": {IN_SYNC: "a"}}},
        {"spec": {"leaseTransitions": 1}},
        {"spec": {"holderIdentity": "a/b"}},
    ],
)
async def test_only_a_lease_as_the_operator_made_it_takes_a_first_record(place: Place, changes: dict[str, Any]) -> None:
    await place.edit(changes)
    ask = CompareAndSet(None, record(1))
    assert await place.arbiter.compare_and_set(ask) == Conflicted(ask)
    with pytest.raises(NotUnderstood, match="edited by hand"):
        await place.arbiter.read()


async def test_of_many_that_try_one_wins_each_version(place: Place) -> None:
    won: list[CompareAndSet] = []

    async def race(me: str, api: ApiServer) -> None:
        arbiter = RecordLease(api, NAMESPACE, place.name, "main")
        while (held := await arbiter.read()) is None or held.record.epoch < 40:
            ask = CompareAndSet(held.version if held else None, record(held.record.epoch + 1 if held else 1, me))
            outcome = await arbiter.compare_and_set(ask)
            if isinstance(outcome, Succeeded):
                won.append(ask)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for me in "abcd":
            group.create_task(race(me, place.api))
    assert Counter(ask.expected for ask in won).most_common(1)[0][1] == 1
    assert [ask.record.epoch for ask in won] == list(range(1, 41))


async def test_labels_and_annotations_of_others_stay_and_cost_one_conflict(place: Place) -> None:
    version = await write(place.arbiter, None, record(1))
    edited = await place.edit({"metadata": {"labels": {"team": "x"}, "annotations": {"example.com/note": "y"}}})
    ask = CompareAndSet(version, record(2))
    assert await place.arbiter.compare_and_set(ask) == Conflicted(ask)
    assert await place.arbiter.read() == Held(record(1), edited)
    await write(place.arbiter, edited, record(2))
    metadata = (await place.lease())["metadata"]
    assert metadata["labels"] == {"team": "x"}
    assert metadata["annotations"]["example.com/note"] == "y"
    assert metadata["annotations"][EPOCH] == "2"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"metadata": {"annotations": {EPOCH: "two"}}}, f"metadata.annotations\\[{EPOCH}\\]: 'two' is no epoch"),
        ({"metadata": {"annotations": {EPOCH: "0"}}}, f"{EPOCH}\\]: '0' is no epoch"),
        ({"metadata": {"annotations": {EPOCH: None}}}, f"{EPOCH}\\]: it is not there"),
        ({"metadata": {"annotations": None}}, f"{SHARD}\\]: it is not there"),
        ({"metadata": {"annotations": {SHARD: "other"}}}, f"{SHARD}\\]: 'other' is not this shard, main"),
        ({"metadata": {"annotations": {EPOCH: "3"}}}, "spec.leaseTransitions: 2 is not the epoch, which is 3"),
        ({"spec": {"leaseTransitions": 3}}, "spec.leaseTransitions: 3 is not the epoch, which is 2"),
        ({"spec": {"leaseTransitions": None}}, "spec.leaseTransitions: it is not there"),
        ({"spec": None}, "spec.leaseTransitions: it is not there"),
        ({"spec": {"holderIdentity": "me"}}, "spec.holderIdentity: '' is no id"),
        ({"metadata": {"annotations": {IN_SYNC: ""}}}, f"{IN_SYNC}\\]: '' is no id"),
        ({"metadata": {"annotations": {IN_SYNC: "a,a"}}}, f"{IN_SYNC}\\]: .* is no set"),
        ({"metadata": {"annotations": {IN_SYNC: "a, b"}}}, f"{IN_SYNC}\\]: ' b' is no id"),
    ],
)
async def test_a_record_that_was_edited_is_named_by_its_field_and_replaced_by_a_recovery_alone(
    place: Place, changes: dict[str, Any], field: str
) -> None:
    version = await write(place.arbiter, None, record(2))
    await place.edit(changes)
    with pytest.raises(NotUnderstood, match=f"lease default/{place.name}, .*{field}.*recover the shard") as found:
        await place.arbiter.read()
    ask = CompareAndSet(version, record(3))
    assert await place.arbiter.compare_and_set(ask) == Conflicted(ask)
    recovered = await write(place.arbiter, found.value.version, record(9, None))
    assert await place.far.read() == Held(record(9, None), recovered)


async def test_a_write_whose_answer_is_lost_is_not_told_to_have_failed(place: Place) -> None:
    """It has landed. A client that sends it again by itself would be told of a conflict with its own first try."""
    version = await write(place.far, None, record(1))
    place.link.lose_answer = True
    with pytest.raises(Unreachable, match=place.name):
        await place.far.compare_and_set(CompareAndSet(version, record(2)))
    assert place.link.lost == 1
    held = await place.far.read()
    assert held is not None
    assert held.record == record(2)


async def test_a_write_that_is_lost_is_not_told_to_have_failed_either(place: Place) -> None:
    version = await write(place.far, None, record(1))
    place.link.lose_request = True
    ask = CompareAndSet(version, record(2))
    with pytest.raises(Unreachable):
        await place.far.compare_and_set(ask)
    assert place.link.lost == 1
    assert await place.far.read() == Held(record(1), version)
    await write(place.far, version, record(2))


async def test_a_first_record_whose_answer_is_lost_conflicts_with_itself_when_asked_again(place: Place) -> None:
    assert await place.far.read() is None
    place.link.lose_answer = True
    ask = CompareAndSet(None, record(1))
    with pytest.raises(Unreachable):
        await place.far.compare_and_set(ask)
    assert await place.far.compare_and_set(ask) == Conflicted(ask)
    held = await place.far.read()
    assert held is not None
    assert held.record == record(1)


async def test_an_api_server_that_is_away_is_unreachable(place: Place) -> None:
    await place.far.read()
    place.link.lose_request = True
    with pytest.raises(Unreachable, match=place.name):
        await place.far.read()
    assert await place.far.read() is None


async def test_who_may_not_is_told_so_and_nothing_is_written(bare_api_server: RunningApiServer, place: Place) -> None:
    version = await write(place.arbiter, None, record(1))
    async with ApiServer.connect(bare_api_server.credentials("nobody")) as api:
        arbiter = RecordLease(api, NAMESPACE, place.name, "main")
        with pytest.raises(NotAllowed, match="Unauthorized"):
            await arbiter.read()
        for expected in (None, version):
            with pytest.raises(NotAllowed, match="Unauthorized"):
                await arbiter.compare_and_set(CompareAndSet(expected, record(2)))
    assert await place.arbiter.read() == Held(record(1), version)


async def test_an_answer_that_comes_too_late_is_unsettled_first_and_a_success_then(place: Place) -> None:
    """The asker over the real thing: the outcome is unknown in time, and known later."""
    version = await write(place.far, None, record(1))
    heard: asyncio.Queue[Outcome] = asyncio.Queue()
    asker = Asker(place.far, heard.put_nowait, pace=Pace(timeout_s=0.3))
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(asker.run())
        place.link.answers_pass.clear()
        ask = CompareAndSet(version, record(2))
        asker.ask(ask)
        assert await heard.get() == Unsettled(ask)
        assert asker.trouble is not None
        place.link.answers_pass.set()
        late = await heard.get()
        running.cancel()
    held = await place.arbiter.read()
    assert held is not None
    assert late == Succeeded(ask, held.version)
    assert asker.trouble is None
