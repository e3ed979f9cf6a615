"""The command line of a gateway: what it serves, and where. Words in, values out."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openbourse.contracts.networks import Network, network
from openbourse.contracts.session import Address
from openbourse.gateway.http_protocol import COMES_WITHIN_S, CONNECTIONS_OF_ADDRESS_MOST
from openbourse.gateway.limits.rules import Limits

EXAMPLE = """examples:
  python -m openbourse.gateway --shard main --engine 127.0.0.1:7000 --ledger https://127.0.0.1:7100 \\
      --marketdata https://127.0.0.1:7200 --keys keys.json --listen 127.0.0.1:8080 \\
      --status 127.0.0.1:8081 --tls tls/gateway

  an exchange of two shards: --engine, --ledger and --marketdata are of the --shard before them
  python -m openbourse.gateway \\
      --shard main --engine 127.0.0.1:7000 --engine 127.0.0.1:7010 --ledger https://127.0.0.1:7100 \\
      --shard hot --engine 127.0.0.1:7020 --ledger https://127.0.0.1:7120 \\
      --keys keys.json --listen 127.0.0.1:8080 --status 127.0.0.1:8081 --tls tls/gateway

environment:
  OPENBOURSE_REDIS     redis://[[user]:password@]host[:port][/database], or rediss:// for TLS: where several gateways
                       count limits together; without it each counts for itself
  OPENBOURSE_REDIS_CA  file of certificates that a Redis with TLS is checked against
"""


@dataclass(slots=True)
class WantedShard:
    """One `--shard` with what follows it."""

    name: str
    engines: list[Address] = field(default_factory=list)
    ledger: str = ""
    marketdata: list[str] = field(default_factory=list)


class _NewShard(argparse.Action):
    """`--shard NAME`."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, values: object, _: str | None = None
    ) -> None:
        if any(shard.name == values for shard in options.shards):
            raise argparse.ArgumentError(self, f"{values} is named twice")
        options.shards = [*options.shards, WantedShard(str(values))]


class _OfShard(argparse.Action):
    """What belongs to the `--shard` before it."""

    def __call__(
        self, parser: argparse.ArgumentParser, options: argparse.Namespace, values: object, _: str | None = None
    ) -> None:
        if not options.shards:
            raise argparse.ArgumentError(self, "comes after the --shard that it is of")
        shard = options.shards[-1]
        if isinstance(known := getattr(shard, self.dest), list):
            known.append(values)
        else:
            setattr(shard, self.dest, values)


def address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def proxy(text: str) -> Network:
    try:
        return network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """With `shards`, each whole. Ends the process where something is missing or wrong."""
    limits = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.gateway",
        description="The traders' port of an exchange, in front of its engine shards, their ledgers and market data.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(shards=[])
    parser.add_argument(
        "--shard", required=True, action=_NewShard, help="a shard whose symbols are traded here; again for each"
    )
    parser.add_argument(
        "--engine",
        dest="engines",
        metavar="HOST:PORT",
        action=_OfShard,
        type=address,
        help="of an engine of that shard; again for each",
    )
    parser.add_argument("--ledger", metavar="URL", action=_OfShard, help="https://HOST:PORT of the shard's ledger")
    parser.add_argument(
        "--marketdata",
        metavar="URL",
        action=_OfShard,
        help="https://HOST:PORT of the shard's market data; again for each replica; without it there are none",
    )
    parser.add_argument(
        "--keys",
        required=True,
        action="append",
        type=Path,
        help="file of API keys (see `openbourse keys`); may be repeated: the last one has secrets and is sealed where "
        "the environment names a token, those before it have public keys alone",
    )
    parser.add_argument("--listen", required=True, type=address, help="HOST:PORT for traders, plain HTTP")
    parser.add_argument("--status", required=True, type=address, help="HOST:PORT for probes, plain HTTP")
    parser.add_argument(
        "--admin", type=address, help="HOST:PORT for people with certificates, mutual TLS (default: none)"
    )
    parser.add_argument("--tls", required=True, type=Path, help="folder with ca.crt, tls.crt, tls.key")
    parser.add_argument(
        "--trusted-proxy",
        dest="proxies",
        metavar="CIDR",
        action="append",
        default=[],
        type=proxy,
        help="of a load balancer in front, whose X-Forwarded-For is believed; may be repeated; without it nobody's is",
    )
    parser.add_argument(
        "--limits",
        action="append",
        default=[],
        type=Path,
        help="file of limits and exceptions (see `openbourse limits`); may be repeated: the first one counts",
    )
    parser.add_argument("--weight-per-minute", type=int, default=limits.weight_per_minute, help="per address")
    parser.add_argument("--requests-per-5m", type=int, default=limits.requests_per_5m, help="signed, per API key")
    parser.add_argument("--orders-per-10s", type=int, default=limits.orders_per_10s, help="per account")
    parser.add_argument("--orders-per-day", type=int, default=limits.orders_per_day, help="per account")
    parser.add_argument(
        "--connections-per-address",
        type=int,
        default=CONNECTIONS_OF_ADDRESS_MOST,
        help="of this gateway, whatever is spoken on them",
    )
    parser.add_argument(
        "--request-seconds",
        type=float,
        default=COMES_WITHIN_S,
        help="in which the head of a request comes, then its body, and in which a client goes on reading an answer",
    )
    parser.add_argument("--no-access-log", action="store_true", help="do not log a line for each request")
    options = parser.parse_args(arguments)
    for shard in options.shards:
        for name, given in (("--engine", shard.engines), ("--ledger", shard.ledger)):
            if not given:
                parser.error(f"shard {shard.name} has no {name}: it comes after --shard {shard.name}")
    return options
