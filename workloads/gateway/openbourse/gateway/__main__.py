"""`python -m openbourse.gateway`: one gateway process, from the command line to a clean stop."""

import argparse
import asyncio
import contextlib
import functools
import gc
import logging
import signal
import socket
import sys
from collections.abc import Generator
from pathlib import Path

import uvicorn
import uvloop
from fastapi import FastAPI

from openbourse.contracts.session import Address, EngineSession
from openbourse.contracts.tls import client_context
from openbourse.gateway.app import make_port
from openbourse.gateway.engines import Engine
from openbourse.gateway.keys import KeyFileInvalid, KeyRing
from openbourse.gateway.ledger import Ledger
from openbourse.gateway.limits import Limits, Usage
from openbourse.gateway.marketdata import MarketData, read_lines
from openbourse.gateway.status import Drain, make_status_app
from openbourse.gateway.streams.protocol import MESSAGE_BYTES_MOST, PING_EVERY_S, PONG_WITHIN_S, StreamProtocol

log = logging.getLogger("openbourse.gateway")

CONNECTIONS_MOST = 10_000
BACKLOG = 1024
# Requests under way get this long when the gateway stops; a pod is killed later than that.
DRAIN_S = 8

EXAMPLE = """example:
  python -m openbourse.gateway --shard main --engine 127.0.0.1:7000 --ledger https://127.0.0.1:7100 \\
      --marketdata https://127.0.0.1:7200 --keys keys.json --listen 127.0.0.1:8080 \\
      --status 127.0.0.1:8081 --tls tls/gateway
"""


def address(text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse(arguments: list[str]) -> argparse.Namespace:
    limits = Limits()
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.gateway",
        description="The traders' port of an exchange, in front of one engine shard, its ledger and market data.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shard", required=True, help="the shard whose symbols are traded here")
    parser.add_argument(
        "--engine", required=True, action="append", type=address, help="HOST:PORT of an engine of it; may be repeated"
    )
    parser.add_argument("--ledger", required=True, help="https://HOST:PORT of the ledger")
    parser.add_argument("--marketdata", help="https://HOST:PORT of the market data; without it there are none")
    parser.add_argument("--keys", required=True, type=Path, help="file of API keys (see `openbourse keys`)")
    parser.add_argument("--listen", required=True, type=address, help="HOST:PORT for traders, plain HTTP")
    parser.add_argument("--status", required=True, type=address, help="HOST:PORT for probes, plain HTTP")
    parser.add_argument("--tls", required=True, type=Path, help="folder with ca.crt, tls.crt, tls.key")
    parser.add_argument("--weight-per-minute", type=int, default=limits.weight_per_minute, help="per address")
    parser.add_argument("--orders-per-10s", type=int, default=limits.orders_per_10s, help="per account")
    parser.add_argument("--orders-per-day", type=int, default=limits.orders_per_day, help="per account")
    parser.add_argument("--no-access-log", action="store_true", help="do not log a line for each request")
    return parser.parse_args(arguments)


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to us: two of them run in one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listener(app: FastAPI) -> Listener:
    return Listener(
        uvicorn.Config(
            app,
            http="httptools",
            ws=StreamProtocol,
            ws_ping_interval=PING_EVERY_S,
            ws_ping_timeout=PONG_WITHIN_S,
            ws_max_size=MESSAGE_BYTES_MOST,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # What a client says of its address is not believed.
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MOST,
            backlog=BACKLOG,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )


def listen(at: Address) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((at.host, at.port))
    except OSError:
        opened.close()
        raise
    return opened


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tls = client_context(options.tls)
    keys = KeyRing(options.keys)
    usage = Usage(Limits(options.weight_per_minute, options.orders_per_10s, options.orders_per_day))
    engine = Engine(EngineSession(options.shard, options.engine, tls, "gateway"))
    ledger = Ledger(options.ledger, tls)
    drain = Drain()
    marketdata = MarketData(options.marketdata, tls)
    port = make_port(engine, ledger, marketdata, keys, usage)
    traders = listener(port.app)
    status = listener(make_status_app(engine, keys, drain))
    sockets = [listen(options.listen), listen(options.status)]
    async with asyncio.TaskGroup() as tasks:
        shard = tasks.create_task(engine.run())
        read = functools.partial(read_lines, port.streams.publish)
        feed = tasks.create_task(marketdata.follow("feed", read, port.streams.lost, marketdata.following))
        accounts = tasks.create_task(port.user_data.run())
        servers = [
            tasks.create_task(server.serve([opened])) for server, opened in zip((traders, status), sockets, strict=True)
        ]
        ready = tasks.create_task(_say_when_ready(engine, options, len(keys)))
        await stop.wait()
        log.info("gateway stopping")
        drain.begun = True
        ready.cancel()
        async with asyncio.TaskGroup() as goodbyes:
            goodbyes.create_task(port.streams.shut_down())
            goodbyes.create_task(port.websocket_api.shut_down())
        # Traders first: the engine and the probes stay until the last request is answered.
        traders.should_exit = True
        await servers[0]
        status.should_exit = True
        await servers[1]
        await ledger.close()
        feed.cancel()
        accounts.cancel()
        await marketdata.close()
        shard.cancel()
    log.info("gateway stopped")


async def _say_when_ready(engine: Engine, options: argparse.Namespace, keys: int) -> None:
    await engine.listed.wait()
    # What lives now lives long: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    log.info("gateway ready on http://%s for shard %s, %d keys", options.listen, options.shard, keys)


def main() -> int:
    options = parse(sys.argv[1:])
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    for quiet in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    if options.no_access_log:
        logging.getLogger("openbourse.gateway.access").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(options))
    except (OSError, KeyFileInvalid) as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
