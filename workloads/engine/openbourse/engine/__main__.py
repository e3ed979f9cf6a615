"""`python -m openbourse.engine`: the command line of one engine process, and of the one that makes its snapshots."""

import argparse
import logging
import os
import sys
from pathlib import Path

from openbourse.contracts import logs
from openbourse.contracts.component import Component, replica_name
from openbourse.contracts.session import Address
from openbourse.engine.errors import BeginAgain
from openbourse.engine.journal import snapshots
from openbourse.engine.kernel_versions import KERNEL_VERSION
from openbourse.engine.member.peers import KEEP_COMMANDS
from openbourse.engine.run import ObjectName, Settings, run

EXAMPLES = """examples:
  python -m openbourse.engine --shard main --wal /var/lib/engine --listen 0.0.0.0:7000 --status 0.0.0.0:7001 \\
      --tls /etc/openbourse/tls --listings /etc/openbourse/listings.json
  python -m openbourse.engine snapshot --shard main --wal /var/lib/engine --seq 1000000
"""


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _reader(text: str) -> str:
    component, dash, replica = text.partition("-")
    if component in set(Component) and (
        not dash or (replica.isdecimal() and text == replica_name(component, int(replica)))
    ):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither a component nor one of its replicas, such as marketdata-1")


def _object_name(text: str) -> ObjectName:
    try:
        return ObjectName.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.engine",
        description="Runs the engine of one shard: matching, risk and the write-ahead log.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shard", required=True, help="name of the shard")
    parser.add_argument("--wal", required=True, type=Path, metavar="DIR", help="folder of the write-ahead log")
    parser.add_argument("--listen", required=True, type=_address, metavar="HOST:PORT", help="commands, mutual TLS")
    parser.add_argument(
        "--status", required=True, type=_address, metavar="HOST:PORT", help="plain HTTP: /livez /readyz /status"
    )
    parser.add_argument("--tls", required=True, type=Path, metavar="DIR", help="folder with ca.crt, tls.crt, tls.key")
    parser.add_argument(
        "--listings",
        required=True,
        type=Path,
        metavar="FILE",
        help="assets and symbols, JSON; read again when it changes",
    )
    parser.add_argument(
        "--signing-key",
        type=Path,
        metavar="FILE",
        help="Ed25519 key, PEM, that signs finished segments; made if missing (default: in the log's folder)",
    )
    parser.add_argument("--halts-namespace", metavar="NS", help="watch the Halt objects of this Kubernetes namespace")
    parser.add_argument(
        "--exchange", metavar="NAME", help="the exchange that the Halts are of (with --halts-namespace)"
    )
    parser.add_argument(
        "--consumer",
        dest="consumers",
        action="append",
        default=[],
        choices=[component.value for component in Component],
        metavar="COMPONENT",
        help="whose progress in the committed stream counts, such as ledger; again for each: while it lags, the shard "
        "slows down, and what it has not made its own stays in the log",
    )
    parser.add_argument(
        "--reader",
        dest="readers",
        action="append",
        default=[],
        type=_reader,
        metavar="COMPONENT[-N]",
        help="for whom the log is kept as well, such as marketdata, or marketdata-1 for the second that does the same; "
        "again for each: trading does not wait for it, and "
        "the log no longer does when less than a quarter of its volume is free",
    )
    members = parser.add_argument_group("members", "a shard of several engines, of which one leads")
    members.add_argument(
        "--place", type=_address, metavar="HOST:PORT", help="where the others reach this one: TCP and UDP"
    )
    members.add_argument(
        "--links",
        type=_address,
        metavar="IP:PORT",
        help="where this one listens for them (default: the place); its port is that of the place",
    )
    members.add_argument(
        "--peer",
        dest="peers",
        action="append",
        default=[],
        type=_address,
        metavar="HOST:PORT",
        help="the place of another member; again for each. This one's own is passed over",
    )
    record = members.add_mutually_exclusive_group()
    record.add_argument(
        "--record", type=Path, metavar="DIR", help="folder that all members share, for the leadership record"
    )
    record.add_argument(
        "--record-lease",
        type=_object_name,
        metavar="NS/NAME",
        help="Kubernetes Lease that all members share, for the leadership record. One that was made for the shard and "
        "has no leader yet lets an empty volume make the shard",
    )
    members.add_argument(
        "--min-in-sync", type=int, default=1, metavar="N", help="with fewer in sync, orders are refused (default 1)"
    )
    members.add_argument("--found", action="store_true", help="make the shard, if this volume is empty: for one member")
    members.add_argument(
        "--keep-commands",
        type=int,
        default=KEEP_COMMANDS,
        metavar="N",
        help="of the log for a member that lacks them; one that lacks more begins anew from a snapshot "
        f"(default {KEEP_COMMANDS})",
    )
    parser.add_argument(
        "--snapshot-commands",
        type=int,
        default=snapshots.EVERY_COMMANDS,
        metavar="N",
        help=f"make a snapshot every N commands (default {snapshots.EVERY_COMMANDS})",
    )
    parser.add_argument(
        "--kernel-version",
        type=int,
        default=KERNEL_VERSION,
        choices=(KERNEL_VERSION - 1, KERNEL_VERSION),
        help="the highest version of the kernel's rules that this engine changes a log over to, and tells the others "
        f"that it knows: with {KERNEL_VERSION - 1}, a change-over waits, and the binary can be rolled back "
        f"(default {KERNEL_VERSION})",
    )
    # Benchmarks compare group commit with one sync per command; tests want a ring that is soon too short,
    # and segments that are soon full.
    for limit in ("--batch-requests", "--ring-commands", "--segment-bytes"):
        parser.add_argument(limit, type=int, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    if sys.argv[1:2] == ["snapshot"]:
        return snapshots.main(sys.argv[2:])
    parser = _parser()
    given = parser.parse_args()
    if (given.halts_namespace is None) != (given.exchange is None):
        parser.error("--halts-namespace and --exchange go together")
    logs.configure(Component.ENGINE)
    if given.snapshot_commands < 1:
        parser.error("--snapshot-commands must be at least 1")
    if given.keep_commands < 0:
        parser.error("--keep-commands must be at least 0")
    given.consumers, given.readers = tuple(given.consumers), tuple(given.readers)
    given.peers = tuple(peer for peer in given.peers if peer != given.place)
    if problem := _members_problem(given):
        parser.error(problem)
    try:
        return run(Settings(**vars(given)))
    except BeginAgain as error:
        logging.warning("%s: beginning again", error)
        os.execv(sys.executable, [sys.executable, "-m", "openbourse.engine", *sys.argv[1:]])  # noqa: S606 (itself)


def _members_problem(given: argparse.Namespace) -> str:
    """What is wrong with the arguments about members; empty: nothing."""
    is_shared = given.record is not None or given.record_lease is not None
    if (given.place is not None) != is_shared:
        return "--place goes together with --record DIR or --record-lease NS/NAME, where the members' record is"
    if given.place is None and (given.peers or given.links is not None):
        return "--peer and --links go together with --place, where the others reach this one"
    if given.links is not None and given.links.port != given.place.port:
        return f"--links {given.links} must have the port of the place, {given.place.port}: heartbeats go there too"
    if given.found and given.record_lease is not None:
        return "--found is not for a Lease: its being made lets one member make the shard"
    if not 1 <= given.min_in_sync <= 1 + len(given.peers):
        return f"--min-in-sync must be from 1 to {1 + len(given.peers)}, the number of members"
    return ""


if __name__ == "__main__":
    raise SystemExit(main())
