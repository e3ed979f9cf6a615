"""An event loop of a simulated world: its time jumps to whatever is next. No clock, socket or thread is behind it.

Every callback belongs to the process that it was scheduled in: one that is frozen runs none, and one that is gone never
does again. All chance comes from the dice.
"""

import asyncio
import contextvars
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

# What one call into a thread takes, such as a file that is made durable.
CALL_S = (0.0002, 0.004)
TURNS_MOST = 300_000

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


class Stuck(Exception):
    """Nothing is left to happen, or too much happens."""


@dataclass(eq=False, slots=True)
class Process:
    """One simulated process on a host of its own. `wall_s` is how far its clock is off, `boot` counts its starts."""

    name: str
    component: str
    host: str
    wall_s: float = 0.0
    boot: int = 0
    frozen: bool = False
    # Dead: its work ends, nothing of it reaches anybody. Buried: nothing of it runs.
    dead: bool = False
    buried: bool = False
    held: "list[asyncio.Handle]" = field(default_factory=list)
    calls: "dict[int, Callable[[], None]]" = field(default_factory=dict)
    tasks: "list[asyncio.Task[Any]]" = field(default_factory=list)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def __post_init__(self) -> None:
        self.context.run(PROCESS.set, self)


def here() -> Process:
    """The process that this runs in."""
    process = PROCESS.get()
    assert process is not None, "it runs in a simulated process"
    return process


class _Handle(asyncio.Handle):
    def __init__(self, callback: Any, args: Any, loop: Any, context: Any) -> None:
        super().__init__(callback, args, loop, context)
        self._process = (context or self._context).get(PROCESS)  # type: ignore[attr-defined]

    def _run(self) -> None:
        if _may_run(self, self._process):
            super()._run()


class _Timer(asyncio.TimerHandle):
    def __init__(self, when: float, callback: Any, args: Any, loop: Any, context: Any) -> None:
        super().__init__(when, callback, args, loop, context)
        self._process = (context or self._context).get(PROCESS)  # type: ignore[attr-defined]

    def _run(self) -> None:
        if _may_run(self, self._process):
            super()._run()


def _may_run(handle: asyncio.Handle, process: Process | None) -> bool:
    if process is None:
        return True
    if process.frozen and not process.buried:
        process.held.append(handle)
    return not (process.frozen or process.buried)


class _Task(asyncio.Task[Any]):
    """Sets of tasks are in the order of their numbers, not of their addresses."""

    def __init__(self, number: int, *args: Any, **named: Any) -> None:
        self._number = number
        super().__init__(*args, **named)

    def __hash__(self) -> int:
        return self._number


class Wires(Protocol):
    """The network."""

    def listen(self, process: Process, host: str, port: int, factory: Callable[[], Any]) -> Any: ...
    async def connect(self, process: Process, host: str, port: int, factory: Callable[[], Any]) -> Any: ...


class _NoSelector:
    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout_s: float | None) -> list[Any]:
        if timeout_s is None:
            raise Stuck("nothing is left to happen")
        self._loop.now_s += timeout_s
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.now_s = 1000.0
        self.dice = dice
        self.network: Wires | None = None
        # Called before each turn.
        self.between: Callable[[], None] = lambda: None
        self.faults: list[dict[str, Any]] = []
        self._clock_resolution = 1e-7
        self._selector = _NoSelector(self)
        self._readers: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)
        self.turns = 0
        self._ready: deque[asyncio.Handle]
        self._scheduled: list[asyncio.TimerHandle]
        self.set_task_factory(self._new_task)  # type: ignore[arg-type]
        self.set_exception_handler(lambda _, context: self.faults.append(context))

    def time(self) -> float:
        return self.now_s

    def _new_task(self, loop: Any, work: Coroutine[Any, Any, Any], context: Any = None) -> _Task:
        task = _Task(next(self._numbers), work, loop=loop, context=context)
        if (process := (context or contextvars.copy_context()).get(PROCESS)) is not None:
            process.tasks.append(task)
            if len(process.tasks) > 500:
                process.tasks = [known for known in process.tasks if not known.done()]
        return task

    def _run_once(self) -> None:
        self.turns += 1
        if self.turns > TURNS_MOST:
            raise Stuck(f"more than {TURNS_MOST} turns")
        self.between()
        super()._run_once()  # type: ignore[misc]

    def _process_events(self, events: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore[override]
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:  # type: ignore[override]
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    # What a process asks of its machine

    def run_in_executor(self, executor: Any, call: Any, *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """The call is made at once when its time has come; a crash before that may find it made or not."""
        process, future = here(), self.create_future()
        number = next(self._numbers)

        def make(tell: bool = True) -> None:
            if process.calls.pop(number, None) is None:
                return
            try:
                outcome, error = call(*args), None
            except Exception as raised:  # noqa: BLE001 (handed on)
                outcome, error = None, raised
            if not tell or future.done():
                return
            if error is None:
                future.set_result(outcome)
            else:
                future.set_exception(error)

        process.calls[number] = lambda: make(tell=False)
        self.call_later(self.dice.uniform(*CALL_S), make)
        return future

    async def create_server(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        assert self.network is not None
        return self.network.listen(here(), host, port, factory)

    async def create_connection(self, factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        assert self.network is not None
        return await self.network.connect(here(), host, port, factory)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        self._readers[fd] = _Handle(callback, args, self, here().context)

    def remove_reader(self, fd: Any) -> bool:
        return self._readers.pop(fd, None) is not None

    def ring(self, fd: int) -> None:
        """The descriptor has become readable."""
        if (handle := self._readers.get(fd)) is not None:
            self._ready.append(handle)

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """Nobody sends any."""

    # What a machine does to a process

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        return self.create_task(work, context=process.context)

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        process.frozen = False
        held, process.held = process.held, []
        self._ready.extend(held)

    async def kill(self, process: Process) -> None:
        """Its tasks end here; what they still say nobody hears."""
        process.dead = True
        self.thaw(process)
        for call in list(process.calls.values()):
            if self.dice.random() < 0.5:
                call()
        process.calls.clear()
        tasks = [task for task in process.tasks if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        process.tasks.clear()
        process.buried = True
