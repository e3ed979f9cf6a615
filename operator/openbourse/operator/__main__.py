"""The operator as a process: waits until it leads, then watches and reconciles; loses the lead, or its watch: ends.

OPENBOURSE_NAMESPACE=openbourse-system KUBECONFIG=~/.kube/config python -m openbourse.operator
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterator

import kopf

from openbourse.contracts.apiserver import ApiServer
from openbourse.operator import handlers
from openbourse.operator.errors import OperatorError
from openbourse.operator.health import Health, serve
from openbourse.operator.leader import Leadership
from openbourse.operator.reconcile import Reconciler

log = logging.getLogger("openbourse.operator")

EXIT_LOST = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m openbourse.operator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    environment = os.environ
    parser.add_argument(
        "--namespace",
        default=environment.get("OPENBOURSE_NAMESPACE", "openbourse-system"),
        help="where the operator's Lease is (OPENBOURSE_NAMESPACE)",
    )
    parser.add_argument(
        "--watch",
        default=environment.get("OPENBOURSE_WATCH_NAMESPACES", ""),
        metavar="NS,NS",
        help="the namespaces of exchanges; none: all of the cluster (OPENBOURSE_WATCH_NAMESPACES)",
    )
    parser.add_argument(
        "--status",
        default=environment.get("OPENBOURSE_STATUS", "0.0.0.0:8082"),
        metavar="HOST:PORT",
        help="probes and status over HTTP (OPENBOURSE_STATUS)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kopf").setLevel(logging.WARNING)
    watched = tuple(name for name in arguments.watch.split(",") if name)
    host, _, port = arguments.status.rpartition(":")
    code = 0
    try:
        asyncio.run(_run(arguments.namespace, watched, host, int(port)))
    except* OperatorError as group:
        log.error("%s", "; ".join(f"{type(error).__name__}: {error}" for error in _leaves(group)))
        code = EXIT_LOST
    return code


def _leaves(group: BaseExceptionGroup[OperatorError]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(namespace: str, watched: tuple[str, ...], host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    health = Health(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    async with ApiServer.connect() as api, serve(health, host, port):
        leadership = Leadership(api, namespace, health.identity)
        sys.stderr.write(f"operator ready {health.identity}\n")
        if not await _acquired(leadership, stop):
            return
        health.leads = True
        try:
            await _lead(api, watched, leadership, health, stop)
        finally:
            await leadership.release()


async def _acquired(leadership: Leadership, stop: asyncio.Event) -> bool:
    """False when the process is to stop before it leads."""
    acquiring, stopping = asyncio.ensure_future(leadership.acquire()), asyncio.ensure_future(stop.wait())
    done, pending = await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if acquiring in done:
        acquiring.result()
    return acquiring in done


async def _lead(
    api: ApiServer, watched: tuple[str, ...], leadership: Leadership, health: Health, stop: asyncio.Event
) -> None:
    """Until `stop`; raises, in a group, when the lead or the watch is lost."""
    reconciler = Reconciler(api, watched, on_round=health.round_done)
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(reconciler, watched, stop))
        others = [group.create_task(leadership.hold()), group.create_task(reconciler.run())]
        await stop.wait()
        for task in others:
            task.cancel()
        # Kopf ends by its stop flag, not by being cancelled.
        await watching


async def _watch(reconciler: Reconciler, watched: tuple[str, ...], stop: asyncio.Event) -> None:
    """Kopf, until `stop` or a signal, which it takes for itself; that it ended is a stop for all."""
    try:
        await kopf.operator(
            registry=handlers.registry,
            settings=handlers.settings(),
            memo=kopf.Memo(reconciler=reconciler),
            standalone=True,
            clusterwide=not watched,
            namespaces=watched,
            stop_flag=stop,
        )
    finally:
        stop.set()


if __name__ == "__main__":
    raise SystemExit(main())
