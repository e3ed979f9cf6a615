"""Lives of a shard whose links are taken over to other connections again and again, in the midst of all its faults."""

import asyncio
import ssl
from collections import Counter
from pathlib import Path

import pytest
from simulation.world import SAID, live

from fixtures.figures import Show
from openbourse.engine.member.links import Links

SEEDS = 10
EVERY_S = 0.15
TAKEN_OVER = "a link is taken over"


async def renewing(links: Links) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        for link in links.by_place.values():
            # Who dialed heeds it; the other has nobody who waits for it.
            link.ended_or_due.set()


def test_a_shard_keeps_its_word_while_its_links_are_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    dial = Links.dial

    async def dial_and_renew(self: Links, tls: ssl.SSLContext) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(dial(self, tls))
            tasks.create_task(renewing(self))

    monkeypatch.setattr(Links, "dial", dial_and_renew)
    monkeypatch.setitem(SAID, "goes on over another connection", TAKEN_OVER)
    seen: Counter[str] = Counter()
    for seed in range(1, SEEDS + 1):
        folder = tmp_path / str(seed)
        folder.mkdir()
        life = live(seed, folder)
        assert not life.broken, f"seed {seed}: {life.broken}"
        seen.update(life.seen)
    assert seen[TAKEN_OVER] > 50 * SEEDS
    show(
        f"links taken over to another connection among faults, {SEEDS} lives: {seen[TAKEN_OVER]} times, nothing broken"
    )
