"""Heartbeats go on while Python does not, and show a loop that stands still."""

import ctypes
import secrets
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from openbourse.engine._core import Heartbeats

HOST = "127.0.0.1"
INTERVAL_MS = 20
HELD_S = 0.5
LINK, KEY = b"l" * 16, b"k" * 32


@pytest.fixture
def pair() -> Iterator[tuple[Heartbeats, Heartbeats]]:
    """Two members that watch each other over one link."""
    one, two = Heartbeats(HOST, 0, INTERVAL_MS), Heartbeats(HOST, 0, INTERVAL_MS)
    one.watch(LINK, KEY, HOST, two.port)
    two.watch(LINK, KEY, HOST, one.port)
    yield one, two
    one.close()
    two.close()


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.001)


def stamp(heartbeats: Heartbeats) -> int | None:
    return next((stamp for link, _, stamp in heartbeats.heard() if link == LINK), None)


def hold_the_gil() -> None:
    """A call into C that does not let go of the interpreter, as a long sort or a regular expression does not."""
    ctypes.PyDLL(None).usleep(int(HELD_S * 1e6))


def test_a_pause_of_the_interpreter_delays_no_heartbeat(pair: tuple[Heartbeats, Heartbeats]) -> None:
    one, two = pair
    until("both are heard", lambda: bool(one.heard() and two.heard()))
    turns = 0
    goes_on = threading.Event()

    def count() -> None:
        nonlocal turns
        while not goes_on.wait(0.001):
            turns += 1

    thread = threading.Thread(target=count)
    thread.start()
    before, turned = two.counts()["heard"], turns
    hold_the_gil()
    heard, stood_still = two.counts()["heard"] - before, turns - turned
    ((_, ago_ms, _),) = two.heard()
    goes_on.set()
    thread.join(10)
    assert stood_still < 50, "the interpreter was not held: a thread goes round 500 times in that time"
    # 25 are due. On a busy machine some may come together, but none is lost.
    assert heard >= HELD_S * 1000 / INTERVAL_MS * 0.6
    assert ago_ms <= 5 * INTERVAL_MS


def test_a_loop_that_stands_still_is_seen_while_its_heartbeats_go_on(pair: tuple[Heartbeats, Heartbeats]) -> None:
    one, two = pair
    for _ in range(3):
        two.progress()
    until("the stamp is heard", lambda: stamp(one) == 3)
    heard = one.counts()["heard"]
    until("ten more come", lambda: one.counts()["heard"] >= heard + 10)
    assert stamp(one) == 3
    two.progress()
    until("the loop goes on", lambda: stamp(one) == 4)


def test_a_member_that_ended_is_silent(pair: tuple[Heartbeats, Heartbeats]) -> None:
    one, two = pair
    until("both are heard", lambda: bool(one.heard() and two.heard()))
    began = time.monotonic()
    two.close()
    assert time.monotonic() - began < 0.1
    until("the silence grows", lambda: one.heard()[0][1] >= 5 * INTERVAL_MS)


def test_of_a_link_that_was_never_heard_or_is_forgotten_nothing_is_told(pair: tuple[Heartbeats, Heartbeats]) -> None:
    one, _ = pair
    other = secrets.token_bytes(16)
    one.watch(other, KEY, HOST, one.port)
    until("the first link is heard", lambda: stamp(one) is not None)
    assert [link for link, _, _ in one.heard()] == [LINK]
    one.forget(LINK)
    one.forget(other)
    assert one.heard() == []


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="interval_ms: 0 is not from 1 to 10000"):
        Heartbeats(HOST, 0, 0)
    with pytest.raises(ValueError, match='host: "localhost" is no IP address'):
        Heartbeats("localhost", 0)
    heartbeats = Heartbeats(HOST, 0)
    with pytest.raises(OSError, match=f"heartbeats on UDP {HOST}:{heartbeats.port}: .*in use"):
        Heartbeats(HOST, heartbeats.port)
    with pytest.raises(ValueError, match="link_id: 15 bytes, not 16"):
        heartbeats.watch(b"l" * 15, KEY, HOST, 1)
    with pytest.raises(ValueError, match="key: 16 bytes, not 32"):
        heartbeats.watch(LINK, b"k" * 16, HOST, 1)
    with pytest.raises(ValueError, match='peer_host: "engine-0" is no IP address'):
        heartbeats.watch(LINK, KEY, "engine-0", 1)
    heartbeats.watch(LINK, KEY, HOST, 1)
    with pytest.raises(ValueError, match="watched already"):
        heartbeats.watch(LINK, KEY, HOST, 1)
    with pytest.raises(ValueError, match="link_id: 0 bytes"):
        heartbeats.forget(b"")
    heartbeats.close()
    heartbeats.close()
