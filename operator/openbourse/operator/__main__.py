"""The operator as a process: waits until it leads, then watches and reconciles; loses the lead, or its watch: ends.

OPENBOURSE_NAMESPACE=openbourse-system KUBECONFIG=~/.kube/config python -m openbourse.operator
"""

import asyncio
import logging
import os
import socket
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from openbourse.contracts import logs
from openbourse.contracts.apiserver import ApiServer
from openbourse.contracts.component import Component
from openbourse.operator import handlers, process
from openbourse.operator.errors import OperatorError, WatchIsDead
from openbourse.operator.health import Health, serve
from openbourse.operator.kopf_alone import kopf
from openbourse.operator.leader import Leadership
from openbourse.operator.metrics import Metrics
from openbourse.operator.people.sign import sign_for_people
from openbourse.operator.reconcile import Reconciler

log = logging.getLogger("openbourse.operator")

Work = Callable[[], Coroutine[Any, Any, None]]

EXIT_LOST = 3


def main() -> int:
    parser = process.parser(
        "openbourse.operator", __doc__, namespace="openbourse-system", of="where the operator's Lease is"
    )
    parser.add_argument(
        "--status",
        default=os.environ.get("OPENBOURSE_STATUS", "0.0.0.0:8082"),
        metavar="HOST:PORT",
        help="probes and status over HTTP (OPENBOURSE_STATUS)",
    )
    parser.add_argument(
        "--sign-for-people",
        default=os.environ.get("OPENBOURSE_SIGN_FOR_PEOPLE", "true"),
        choices=["true", "false"],
        help="sign certificates for people who may have one (OPENBOURSE_SIGN_FOR_PEOPLE)",
    )
    arguments = parser.parse_args()
    logs.configure(Component.OPERATOR)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    host, _, port = arguments.status.rpartition(":")
    signs = arguments.sign_for_people == "true"
    code = 0
    try:
        asyncio.run(_run(arguments.namespace, arguments.watch, host, int(port), signs=signs))
    except* OperatorError as group:
        # Who waits for a task is told what the task's group is told.
        said = dict.fromkeys(f"{type(error).__name__}: {error}" for error in _leaves(group))
        log.error("%s", "; ".join(said))
        code = EXIT_LOST
    return code


def _leaves(group: BaseExceptionGroup[OperatorError]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _run(namespace: str, watched: tuple[str, ...], host: str, port: int, *, signs: bool) -> None:
    stop = asyncio.Event()
    process.stop_on_signals(stop)
    health = Health(f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}")
    metrics = Metrics(health)
    async with ApiServer.connect() as api, serve(health, metrics.text, host, port):
        leadership = Leadership(api, namespace, health.identity)
        sys.stderr.write(f"operator ready {health.identity}\n")
        if not await _acquired(leadership, stop):
            return
        health.begins_to_lead()
        try:
            reconciler = Reconciler(api, watched, health, metrics)
            works: list[Work] = [leadership.hold, reconciler.run]
            if signs:
                works.append(partial(sign_for_people, api, watched))
            await _lead(reconciler, watched, works, stop)
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


async def _lead(reconciler: Reconciler, watched: tuple[str, ...], works: list[Work], stop: asyncio.Event) -> None:
    """Until `stop`; raises, in a group, when the lead or the watch is lost."""
    ready = asyncio.Event()

    async def take_signals_back() -> None:
        # Kopf takes them at its start, and would wait 5 s for everybody else before it tells.
        await ready.wait()
        process.stop_on_signals(stop)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(reconciler, watched, ready, stop))
        others = [group.create_task(work()) for work in (*works, take_signals_back)]
        await stop.wait()
        for task in others:
            task.cancel()
        # Kopf ends by its stop flag, not by being cancelled.
        await watching


async def _watch(reconciler: Reconciler, watched: tuple[str, ...], ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Kopf, until `stop` or, before it is `ready`, a signal; that it ended is a stop for all.

    Raises WatchIsDead when Kopf gave up: an event said that something is wrong, or the API server was away too long.
    """
    try:
        await kopf.operator(
            registry=handlers.registry,
            settings=handlers.settings(),
            memo=kopf.Memo(reconciler=reconciler),
            standalone=True,
            clusterwide=not watched,
            namespaces=watched,
            ready_flag=ready,
            stop_flag=stop,
        )
    except Exception as error:
        raise WatchIsDead(f"{type(error).__name__} {error}") from error
    finally:
        stop.set()


if __name__ == "__main__":
    raise SystemExit(main())
