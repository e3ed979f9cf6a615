"""`python -m openbourse.marketdata`: the market data of one shard, from the command line to a clean stop."""

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from openbourse.contracts import logs, v1
from openbourse.contracts.component import Component
from openbourse.contracts.listen import listening
from openbourse.contracts.probes import make_status
from openbourse.contracts.session import Address, committed_events
from openbourse.contracts.tls_material import Material
from openbourse.marketdata.api import make_api
from openbourse.marketdata.errors import MarketDataError
from openbourse.marketdata.metrics import Metrics
from openbourse.marketdata.service import Service
from openbourse.marketdata.shard import Watermark
from openbourse.marketdata.sqlite_history import SqliteHistory

log = logging.getLogger("openbourse.marketdata")

EXAMPLE = """example:
  python -m openbourse.marketdata --shard main --engine 127.0.0.1:7000 --history history.sqlite \\
      --listen 127.0.0.1:7200 --status 127.0.0.1:7201 --tls tls/marketdata
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.marketdata",
        description="Books, trades, candles and tickers of one engine shard, for its gateways.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shard", required=True, help="the shard whose stream is read")
    parser.add_argument(
        "--engine", required=True, action="append", type=Address.parse, help="HOST:PORT of an engine of it; repeatable"
    )
    parser.add_argument("--history", required=True, type=Path, help="file of trades and candles; made if not there")
    parser.add_argument("--listen", required=True, type=Address.parse, help="HOST:PORT for gateways, mutual TLS")
    parser.add_argument("--status", required=True, type=Address.parse, help="HOST:PORT for probes, plain HTTP")
    parser.add_argument("--tls", required=True, type=Path, help="folder with ca.crt, tls.crt, tls.key")
    parser.add_argument(
        "--replica",
        type=int,
        default=0,
        metavar="N",
        help="which of several that follow the shard, from 0 (default), each with a history of its own; engines know "
        "it as `--reader marketdata`, `--reader marketdata-1` and so on",
    )
    return parser.parse_args(arguments)


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tls = Material.load(options.tls)
    history = SqliteHistory(options.history)

    def source(watermark: Watermark) -> AsyncIterator[v1.Events]:
        return committed_events(
            options.shard,
            options.engine,
            tls.client,
            Component.MARKETDATA,
            watermark.seq + 1,
            highest_epoch=watermark.session_epoch,
            replica=options.replica,
            passed=lambda: service.stored.seq,
            state_before=None if watermark.seq else service.begin,
            ends_when_not_kept=True,
            connected=service.connected,
        )

    service = Service(history.load(options.shard), history, source)
    try:
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(service.run()), tasks.create_task(tls.watch())]
            async with (
                listening(make_api(service), options.listen, tls) as port,
                listening(make_status(service, Metrics(service, tls).text, tls), options.status, None),
            ):
                log.info("market data ready https://%s:%d from seq %d", options.listen.host, port, service.stored.seq)
                await stop.wait()
                service.feed.end()
                service.account_feed.end()
            await service.store()
            for task in work:
                task.cancel()
    finally:
        history.close()
    log.info("market data stopped at seq %d", service.stored.seq)


def main() -> int:
    options = parse(sys.argv[1:])
    logs.configure(Component.MARKETDATA)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(options))
    except (MarketDataError, OSError, sqlite3.Error) as error:
        print(f"openbourse.marketdata: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
