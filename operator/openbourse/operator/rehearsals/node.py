"""Runs on a node, as root, for seconds: does one deed to an engine or to pods, sees it bite, and takes it away.

    python -m openbourse.operator.rehearsals.node kill --pod NAME --uid UID
    python -m openbourse.operator.rehearsals.node freeze --pod NAME --uid UID --seconds 5
    python -m openbourse.operator.rehearsals.node cut --pod NAME --uid UID --seconds 5 --address standby=10.244.1.7
    python -m openbourse.operator.rehearsals.node slow --pod NAME --uid UID --seconds 8 --writes 20
    python -m openbourse.operator.rehearsals.node down --pod NAME --uid UID --also NAME=UID --seconds 10 \\
        --address everybody=0.0.0.0/0
    python -m openbourse.operator.rehearsals.node audit --pod NAME --uid UID -- --symbol BTCUSDT --from 1 --names n-

It prints one JSON object when the deed is done and one when it is over. It touches no other processes than those of
the pods that it is told, and nothing of the node but their networks and the limit of the engine's writes. What it
leaves when it is killed itself ends without it: addresses that are cut off are forgotten by the kernel, a frozen engine
is killed by its liveness probe, killed pods are started by the kubelet, a limit is taken away by a second process.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from openbourse.operator.rehearsals.braking import brake_of, pressed
from openbourse.operator.rehearsals.cutting import cut, mend, network_of
from openbourse.operator.rehearsals.facts import Bite
from openbourse.operator.rehearsals.processes import (
    FOUND_S,
    LOOK_S,
    NotDone,
    find,
    is_there,
    of_pods,
    opened,
    state,
    whose,
)
from openbourse.operator.rehearsals.scenarios import SLOW_WRITES, Deed

WAL = "var/lib/openbourse/wal"
GONE_S = 5.0
SECONDS_MOST = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    deeds = [deed.value for deed in _DEEDS]
    parser.add_argument("deed", choices=[*deeds, "audit"])
    parser.add_argument("--pod", required=True, help="name of the pod, for what is said")
    parser.add_argument("--uid", required=True, help="uid of the pod: its processes are found by it")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=UID", help="down: of one more pod")
    parser.add_argument("--seconds", type=int, default=0, help=f"how long, {SECONDS_MOST} at the most")
    parser.add_argument("--writes", type=int, default=SLOW_WRITES, help="slow: how many a second (%(default)s)")
    parser.add_argument("--address", action="append", default=[], metavar="SIDE=IP", help="who is cut off, and as what")
    words = sys.argv[1:]
    # What is behind it is `openbourse wal audit`'s.
    at = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:at])
    if not 0 <= arguments.seconds <= SECONDS_MOST:
        parser.error(f"--seconds {arguments.seconds}: 0 to {SECONDS_MOST}")
    if arguments.writes < 1:
        parser.error(f"--writes {arguments.writes}: 1 or more; an engine that may not write at all is frozen, not slow")
    # So that what was begun is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.deed == "audit":
            wal = f"/proc/{find(arguments.uid)}/root/{WAL}"
            os.execvp("openbourse", ["openbourse", "wal", "audit", wal, *words[at + 1 :]])  # noqa: S606
        bite = _DEEDS[Deed(arguments.deed)](arguments)
    except (NotDone, OSError, subprocess.SubprocessError) as error:
        _say(Bite(pod=arguments.pod, pid=0, deed=arguments.deed, problem=f"{type(error).__name__}: {error}"))
        return 1
    _say(bite)
    return 0


def _kill(arguments: argparse.Namespace) -> Bite:
    pid = find(arguments.uid)
    with opened(pid) as process:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        _struck()
        deadline_s = time.monotonic() + GONE_S
        while (lives := is_there(process)) and time.monotonic() < deadline_s:
            time.sleep(0.001)
    return Bite(pod=arguments.pod, pid=pid, deed=Deed.KILL, gone=not lives)


def _freeze(arguments: argparse.Namespace) -> Bite:
    pid = find(arguments.uid)
    looks = stopped = 0
    with opened(pid) as process:
        try:
            signal.pidfd_send_signal(process, signal.SIGSTOP)
            _struck()
            ends_s = time.monotonic() + arguments.seconds
            while time.monotonic() < ends_s:
                time.sleep(LOOK_S)
                looks += 1
                stopped += state(pid) == "T"
        finally:
            signal.pidfd_send_signal(process, signal.SIGCONT)
        time.sleep(LOOK_S)
        lifted = state(pid) != "T"
    return Bite(pod=arguments.pod, pid=pid, deed=Deed.FREEZE, looks=looks, stopped=stopped, lifted=lifted)


def _cut(arguments: argparse.Namespace) -> Bite:
    pid, sides = find(arguments.uid), _sides(arguments)
    if not sides:
        raise NotDone("nobody is named who is to be cut off")
    with network_of(arguments.uid, pid) as network:
        cut(network, sides, arguments.seconds)
        _struck()
        try:
            time.sleep(arguments.seconds)
        finally:
            dropped = mend(network)
    return Bite(pod=arguments.pod, pid=pid, deed=Deed.CUT, dropped=dropped)


def _slow(arguments: argparse.Namespace) -> Bite:
    pid = find(arguments.uid)
    looks = seen = writes = 0
    with brake_of(pid, Path(f"/proc/{pid}/root/{WAL}")) as brake:
        before = brake.writes()
        with pressed(brake, arguments.writes):
            _struck()
            ends_s = time.monotonic() + arguments.seconds
            while time.monotonic() < ends_s:
                time.sleep(LOOK_S)
                looks += 1
                seen += brake.is_pressed()
                writes = max(writes, brake.writes() - before)
        lifted = not brake.is_pressed()
    return Bite(pod=arguments.pod, pid=pid, deed=Deed.SLOW, looks=looks, seen=seen, writes=writes, lifted=lifted)


def _down(arguments: argparse.Namespace) -> Bite:
    """Cut off first, so that nobody hears of their end. Whatever the kubelet starts meanwhile is killed at a look."""
    pods = {arguments.uid: arguments.pod}
    pods |= {uid: name for name, _, uid in (text.partition("=") for text in arguments.also)}
    found, sides = _all_of(pods), _sides(arguments)
    kills = looks = seen = 0
    dropped: dict[str, int] = {}
    with ExitStack() as cuts:
        firsts = {uid: pid for pid, uid in found.items()} if sides else {}
        networks = [cuts.enter_context(network_of(uid, pid)) for uid, pid in firsts.items()]
        for network in networks:
            cut(network, sides, arguments.seconds)
        try:
            kills += _kill_all(found)
            _struck()
            ends_s, deadline_s = time.monotonic() + arguments.seconds, time.monotonic() + GONE_S
            while (gone := not (found.keys() & of_pods(pods).keys())) is False and time.monotonic() < deadline_s:
                time.sleep(0.01)
            while time.monotonic() < ends_s:
                time.sleep(LOOK_S)
                looks += 1
                back = of_pods(pods)
                kills += _kill_all(back)
                seen += not back
        finally:
            for network in networks:
                for side, packets in mend(network).items():
                    dropped[side] = dropped.get(side, 0) + packets
    return Bite(
        pod=arguments.pod,
        pid=next(iter(found)),
        deed=Deed.DOWN,
        gone=gone,
        looks=looks,
        seen=seen,
        victims=tuple(pods.values()),
        kills=kills,
        dropped=dropped,
    )


def _all_of(pods: dict[str, str]) -> dict[int, str]:
    """Processes of each of these pods. Raises NotDone."""
    deadline_s = time.monotonic() + FOUND_S
    while missing := pods.keys() - set((found := of_pods(pods)).values()):
        if time.monotonic() > deadline_s:
            raise NotDone(f"nothing runs on this node of {', '.join(pods[uid] for uid in missing)}")
        time.sleep(LOOK_S)
    return found


def _kill_all(found: dict[int, str]) -> int:
    """How many there were."""
    killed = 0
    for pid, uid in found.items():
        try:
            with opened(pid) as process:
                # Between the look and now its number may have become another's.
                if whose(pid, [uid]):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    killed += 1
        except ProcessLookupError:
            continue
    return killed


_DEEDS = {Deed.KILL: _kill, Deed.FREEZE: _freeze, Deed.CUT: _cut, Deed.SLOW: _slow, Deed.DOWN: _down}


def _sides(arguments: argparse.Namespace) -> dict[str, list[str]]:
    pairs = [text.partition("=") for text in arguments.address]
    return {side: [address for name, _, address in pairs if name == side] for side, _, _ in pairs}


def _struck() -> None:
    print(json.dumps({"struck_us": time.time_ns() // 1000}), flush=True)  # noqa: T201


def _say(bite: Bite) -> None:
    print(bite.model_dump_json(by_alias=True), flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main())
