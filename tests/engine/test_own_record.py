"""The record of a shard with one member: never below what its volume knows, whatever became of it."""

import asyncio
from pathlib import Path

import pytest

from openbourse.engine.arbiters.own_record import FOLDER, own_record
from openbourse.engine.journal.volume import Volume
from openbourse.engine.replication.inputs import Succeeded
from openbourse.engine.replication.record import CompareAndSet, Held, Record, Session

MEMBER = "00000000000000aa"


def read(folder: Path, promise: int, log_epoch: int) -> Held | None:
    async def opened() -> Held | None:
        arbiter = await own_record(folder, Volume("main", MEMBER, promise), log_epoch)
        return await arbiter.read()

    return asyncio.run(opened())


def lead(folder: Path, epoch: int) -> None:
    async def write() -> None:
        arbiter = await own_record(folder, Volume("main", MEMBER, 0), 0)
        held = await arbiter.read()
        record = Record(epoch, Session(MEMBER, "b"), frozenset({MEMBER}))
        outcome = await arbiter.compare_and_set(CompareAndSet(held.version if held else None, record))
        assert isinstance(outcome, Succeeded)

    asyncio.run(write())


def test_an_empty_volume_has_no_record_and_founds_one(tmp_path: Path) -> None:
    assert read(tmp_path, 0, 0) is None


def test_a_record_that_holds_is_left_alone(tmp_path: Path) -> None:
    lead(tmp_path, 7)
    held = read(tmp_path, 7, 6)
    assert held is not None
    assert (held.record.epoch, held.record.leader) == (7, Session(MEMBER, "b"))


@pytest.mark.parametrize(("promise", "log_epoch"), [(5, 3), (3, 5), (5, 5)])
def test_a_missing_record_is_made_above_promise_and_log(promise: int, log_epoch: int, tmp_path: Path) -> None:
    held = read(tmp_path, promise, log_epoch)
    assert held is not None
    assert held.record == Record(6, None, frozenset({MEMBER}))


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"epoch": 3}'])
def test_a_damaged_record_is_made_anew_above_what_the_volume_knows(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lead(tmp_path, 2)
    (newest,) = (tmp_path / FOLDER).glob("record-*.json")
    newest.write_bytes(content)
    held = read(tmp_path, 5, 4)
    assert held is not None
    assert held.record == Record(6, None, frozenset({MEMBER}))
    assert "made anew" in caplog.text


def test_a_record_of_another_member_or_an_older_epoch_is_overtaken(tmp_path: Path) -> None:
    lead(tmp_path, 9)
    held = read(tmp_path, 11, 4)
    assert held is not None
    assert held.record.epoch == 12
