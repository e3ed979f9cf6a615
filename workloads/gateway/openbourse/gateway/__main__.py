"""`python -m openbourse.gateway`: one gateway process, from the command line to a clean stop."""

import argparse
import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Generator

import uvicorn
import uvloop

from openbourse.contracts import logs, tracing
from openbourse.contracts.component import Component
from openbourse.contracts.hsm import TokenError
from openbourse.contracts.listen import listening
from openbourse.contracts.session import Address, EngineSession
from openbourse.contracts.tls_material import Material
from openbourse.gateway.addresses import Application, behind_proxies
from openbourse.gateway.app import TradersPort, make_port
from openbourse.gateway.command_line import WantedShard, parse
from openbourse.gateway.engines import Engine
from openbourse.gateway.http_protocol import (
    Addresses,
    Takers,
    traders_protocol,
)
from openbourse.gateway.key_ring import KeyRing
from openbourse.gateway.key_seal import vault_from_environment
from openbourse.gateway.keys import KeyFileInvalid
from openbourse.gateway.ledger import Ledger
from openbourse.gateway.limits import shared
from openbourse.gateway.limits.file import LimitsFileInvalid, RulesOfFile
from openbourse.gateway.limits.rules import Limits
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.marketdata import MarketData
from openbourse.gateway.metrics import Metrics
from openbourse.gateway.redis.address import AddressInvalid, from_environment
from openbourse.gateway.redis.link import RedisLink
from openbourse.gateway.shards import Shard, Shards
from openbourse.gateway.status import Drain, make_status_app
from openbourse.gateway.streams.protocol import MESSAGE_BYTES_MOST, PING_EVERY_S, PONG_WITHIN_S, StreamProtocol
from openbourse.gateway.user_data import shared_listen_keys

log = logging.getLogger("openbourse.gateway")

CONNECTIONS_MOST = 10_000
BACKLOG = 1024
# Requests under way get this long when the gateway stops; a pod is killed later than that.
DRAIN_S = 8
# Before that, whoever asks is told that this was the last answer of the connection.
LINGER_S, LOOK_EVERY_S = 2.0, 0.05
# New objects of Python's collector before it looks at these, and how often before it looks at older ones.
COLLECTED_AT = (20_000, 10, 100)
CLOSE = (b"connection", b"close")


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to us: two of them run in one process."""

    async def turn_away(self) -> None:
        """Each answer from now on is the last of its connection. Until nobody is connected, for LINGER_S at most.

        A connection that is closed while its client sends the next request leaves an order without an answer.
        """
        # From these uvicorn makes the ones below anew, every second.
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]
        for _ in range(round(LINGER_S / LOOK_EVERY_S)):
            if not self.server_state.connections:
                return
            await asyncio.sleep(LOOK_EVERY_S)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def listener(app: Application, addresses: Addresses, takers: Takers | None = None) -> Listener:
    return Listener(
        uvicorn.Config(
            app,
            http=traders_protocol(addresses, takers),
            ws=StreamProtocol,
            ws_ping_interval=PING_EVERY_S,
            ws_ping_timeout=PONG_WITHIN_S,
            ws_max_size=MESSAGE_BYTES_MOST,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose address it is, `addresses` says.
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
    tls = Material.load(options.tls)
    *public, path = options.keys
    keys = await KeyRing.opened(path, vault_from_environment(), public)
    link = None if options.redis is None else RedisLink(options.redis, [*shared.SCRIPTS, *shared_listen_keys.SCRIPTS])
    rules = RulesOfFile(
        Limits(
            weight_per_minute=options.weight_per_minute,
            requests_per_5m=options.requests_per_5m,
            orders_per_10s=options.orders_per_10s,
            orders_per_day=options.orders_per_day,
        ),
        *options.limits,
    )
    usage = Usage(rules, link)
    shards = Shards([_shard(wanted, tls.client) for wanted in options.shards])
    drain = Drain()
    traces = tracing.start(Component.GATEWAY)
    port = make_port(shards, keys, usage, redis=link, traces=traces)
    addresses = Addresses(options.connections_per_address, options.request_seconds, options.proxies)
    # Behind proxies the application alone knows whose request it is.
    traders = listener(behind_proxies(port.app, options.proxies), addresses, None if options.proxies else port.takers)
    status = listener(
        make_status_app(
            shards,
            keys,
            rules,
            link,
            drain,
            feeds=port.feeds_of_shards(),
            metrics=Metrics(port, shards, link, lambda: len(traders.server_state.connections), tls=tls).text,
            tls=tls,
        ),
        Addresses(),
    )
    sockets = [listen(options.listen), listen(options.status)]
    async with _people(options, shards, usage, port, tls), asyncio.TaskGroup() as tasks:
        connected = tasks.create_task(shards.run())
        running = tasks.create_task(port.run())
        files = [tasks.create_task(read_again()) for read_again in (keys.run, rules.run, tls.watch)]
        servers = [
            tasks.create_task(server.serve([opened])) for server, opened in zip((traders, status), sockets, strict=True)
        ]
        redis = None if link is None else tasks.create_task(link.run())
        ready = tasks.create_task(_say_when_ready(shards, options, len(keys)))
        await stop.wait()
        log.info("gateway stopping")
        drain.begun = True
        ready.cancel()
        async with asyncio.TaskGroup() as goodbyes:
            goodbyes.create_task(traders.turn_away())
            goodbyes.create_task(port.shut_down())
        # Traders first: the engines and the probes stay until the last request is answered.
        traders.should_exit = True
        await servers[0]
        status.should_exit = True
        await servers[1]
        running.cancel()
        for file in files:
            file.cancel()
        await shards.close()
        connected.cancel()
        if redis is not None:
            redis.cancel()
    await asyncio.to_thread(traces.stop)
    log.info("gateway stopped")


def _shard(wanted: WantedShard, tls: ssl.SSLContext) -> Shard:
    engine = Engine(EngineSession(wanted.name, wanted.engines, tls, "gateway"))
    return Shard(engine, Ledger(wanted.ledger, tls), MarketData(wanted.marketdata, tls))


@contextlib.asynccontextmanager
async def _people(
    options: argparse.Namespace, shards: Shards, usage: Usage, port: TradersPort, tls: Material
) -> AsyncIterator[None]:
    """Serves people while the block runs, where a port for them was asked for. Raises OSError."""
    if options.admin is None:
        yield
        return
    # FastAPI is two fifths of what a gateway loads, and most gateways have no such port.
    api = importlib.import_module("openbourse.gateway.admin.api")
    async with listening(api.make_admin_api(shards, usage, port.counts), options.admin, tls):
        yield


async def _say_when_ready(shards: Shards, options: argparse.Namespace, keys: int) -> None:
    for engine in shards.engines:
        await engine.listed.wait()
    # What lives now lives long: the collector need not look at it again. What requests make is freed when it is not
    # needed, so the collector looks rarely: a look at ten thousand connections stops everybody for a good while.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AT)
    names = ", ".join(engine.shard for engine in shards.engines)
    log.info("gateway ready on http://%s for shards %s, %d keys", options.listen, names, keys)


def main() -> int:
    options = parse(sys.argv[1:])
    try:
        options.redis = from_environment(os.environ)
    except AddressInvalid as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(Component.GATEWAY)
    for quiet in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
    if options.no_access_log:
        logging.getLogger("openbourse.gateway.access").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(options))
    except (OSError, KeyFileInvalid, LimitsFileInvalid, TokenError, tracing.BadSettings) as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
