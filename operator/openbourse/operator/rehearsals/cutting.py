"""Drops packets in the network of one pod, by addresses that the kernel forgets in time. For a process on the node."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from openbourse.operator.rehearsals.processes import NotDone, find

TABLE = "openbourse_rehearsal"
COMMAND_S = 10.0


@contextmanager
def network_of(uid: str, pid: int) -> Iterator[int]:
    """Of the pod, which outlives its processes: one that ends meanwhile changes nothing. Raises NotDone."""
    try:
        network = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    except FileNotFoundError:
        # It ended since it was found; the kubelet starts another one.
        network = os.open(f"/proc/{find(uid)}/ns/net", os.O_RDONLY)
    try:
        yield network
    finally:
        os.close(network)


def cut(network: int, sides: Mapping[str, Sequence[str]], seconds: int) -> None:
    """Raises NotDone."""
    _nft(network, "-f", "-", script=table(sides, seconds))


def mend(network: int) -> dict[str, int]:
    """Gives how many packets were dropped, by side. Raises NotDone."""
    try:
        return counted(_nft(network, "-j", "list", "counters", "table", "inet", TABLE))
    finally:
        _nft(network, "delete", "table", "inet", TABLE)


def table(sides: Mapping[str, Sequence[str]], seconds: int) -> str:
    """For nft, in one go: what goes to the addresses or comes from them is dropped and counted, no longer than that."""
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    rules: dict[str, list[str]] = {"output": [], "input": []}
    for side, addresses in sides.items():
        name = side.replace("-", "_")
        lines.append(f" counter {name} {{ }}")
        for family, kind in (("ip", "ipv4_addr"), ("ip6", "ipv6_addr")):
            own = [address for address in addresses if (":" in address) == (family == "ip6")]
            if not own:
                continue
            elements = ", ".join(f"{address} timeout {seconds}s" for address in own)
            lines.append(
                f" set {name}_{family} {{ type {kind}; flags interval, timeout; elements = {{ {elements} }} }}"
            )
            rules["output"].append(f"{family} daddr @{name}_{family} counter name {name} drop")
            rules["input"].append(f"{family} saddr @{name}_{family} counter name {name} drop")
    for hook, entries in rules.items():
        lines.append(f" chain {hook} {{ type filter hook {hook} priority -200; {'; '.join(entries)}; }}")
    return "\n".join([*lines, "}", ""])


def counted(listing: str) -> dict[str, int]:
    """By side, of nft's JSON."""
    entries = (entry["counter"] for entry in json.loads(listing)["nftables"] if "counter" in entry)
    return {entry["name"].replace("_", "-"): int(entry["packets"]) for entry in entries}


def _nft(network: int, *words: str, script: str = "") -> str:
    """In that network. Raises NotDone."""
    command = ["nsenter", f"--net=/proc/self/fd/{network}", "nft", *words]
    done = subprocess.run(
        command,
        input=script,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
        pass_fds=(network,),
    )
    if done.returncode != 0:
        raise NotDone(f"nft: {done.stderr.strip()[:300]}")
    return done.stdout
