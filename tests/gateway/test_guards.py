"""Cancel-on-disconnect in every small world: what connections ask for, when they leave, when the gateways die."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import pytest

from openbourse.gateway.guards.guards import (
    GRACE_MS_MOST,
    HOLD_MS,
    RENEW_EVERY_MS,
    SCOPES_MOST,
    Countdown,
    Guards,
    Scope,
    TooManyScopes,
)

ACCOUNT = 1001
ALL, ONE = Scope(ACCOUNT, ""), Scope(ACCOUNT, "BTCUSDT")
SCOPES = (ALL, ONE)


@dataclass
class World:
    """A gateway, or two, before an engine that has one countdown a scope; time in ms. The model is this naive."""

    gateways: list[Guards]
    now_ms: int = 0
    ends_ms: dict[Scope, int] = field(default_factory=dict)
    # Scope -> when its orders were cancelled last.
    cancelled_ms: dict[Scope, int] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)
    # Connection -> scope -> grace, as they asked.
    wanted: dict[str, dict[Scope, int]] = field(default_factory=dict)
    # Scope -> when it is to be cancelled, from and until: nobody guards it any more.
    due_ms: dict[Scope, tuple[int, int]] = field(default_factory=dict)
    # Let go at one gateway while the other guards them: held again with its next renewal.
    let_go: set[Scope] = field(default_factory=set)

    def tell(self, countdowns: list[Countdown]) -> None:
        for countdown in countdowns:
            self.ends_ms.pop(countdown.scope, None)
            if countdown.countdown_ms:
                self.ends_ms[countdown.scope] = self.now_ms + countdown.countdown_ms

    def gateway(self, connection: str) -> int:
        return int(connection[0])

    def guarded(self, scope: Scope) -> bool:
        return any(
            scope in wanted and self.gateway(connection) not in self.dead for connection, wanted in self.wanted.items()
        )

    def ask(self, connection: str, scopes: tuple[Scope, ...], grace_ms: int) -> None:
        before = self.wanted.pop(connection, {})
        self.tell(
            self.gateways[self.gateway(connection)].guard(
                connection, ACCOUNT, [scope.symbol for scope in scopes], grace_ms
            )
        )
        self.wanted[connection] = dict.fromkeys(scopes, grace_ms)
        for scope in scopes:
            self.due_ms.pop(scope, None)
            self.let_go.discard(scope)
        for scope in before.keys() - set(scopes):
            if not self.guarded(scope):
                # Nobody wants it cancelled any more.
                self.due_ms.pop(scope, None)
                assert scope not in self.ends_ms
            elif scope not in self.ends_ms:
                self.let_go.add(scope)

    def leave(self, connection: str) -> None:
        self.tell(self.gateways[self.gateway(connection)].leave(connection))
        for scope, grace_ms in self.wanted.pop(connection, {}).items():
            if not self.guarded(scope):
                self.due_ms[scope] = self.now_ms, self.now_ms + max(grace_ms, 1)

    def kill(self, gateway: int) -> None:
        self.dead.add(gateway)
        holds_ms: dict[Scope, int] = {}
        for connection in [each for each in self.wanted if self.gateway(each) == gateway]:
            for scope, grace_ms in self.wanted.pop(connection).items():
                holds_ms[scope] = max(grace_ms, holds_ms.get(scope, HOLD_MS))
        for scope, hold_ms in holds_ms.items():
            if not self.guarded(scope) and scope not in self.let_go:
                self.due_ms[scope] = self.now_ms, self.now_ms + hold_ms

    def pass_renewals(self, count: int) -> None:
        """So many times RENEW_EVERY_MS, the gateways as late as they may be."""
        for _ in range(count):
            self.advance(RENEW_EVERY_MS)
            for number, gateway in enumerate(self.gateways):
                if number not in self.dead:
                    self.tell(gateway.renewals())
            self.let_go.clear()

    def advance(self, ms: int) -> None:
        until_ms = self.now_ms + ms
        for scope, end_ms in sorted(self.ends_ms.items(), key=lambda item: item[1]):
            if end_ms <= until_ms:
                assert not self.guarded(scope), f"{scope} was cancelled while a connection guarded it"
                self.cancelled_ms[scope] = end_ms
                del self.ends_ms[scope]
        self.now_ms = until_ms
        for scope, (from_ms, by_ms) in list(self.due_ms.items()):
            if by_ms <= until_ms:
                assert from_ms <= self.cancelled_ms[scope] <= by_ms, f"{scope} was to be cancelled by {by_ms}"
                del self.due_ms[scope]


CONNECTIONS = ("0a", "0b")
GRACES = (0, 4_000, 30_000)


def events(connections: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    for connection in connections:
        for scopes in ((), (ALL,), (ONE,), SCOPES):
            for grace_ms in GRACES if scopes else (0,):
                yield "ask", connection, scopes, grace_ms
        yield "leave", connection
    yield "pass", 1
    yield "pass", 4


def happens(world: World, event: tuple[object, ...]) -> None:
    match event:
        case ("ask", str(connection), tuple(scopes), int(grace_ms)):
            world.ask(connection, scopes, grace_ms)
        case ("leave", str(connection)):
            world.leave(connection)
        case ("pass", int(count)):
            world.pass_renewals(count)
        case ("kill", int(gateway)):
            world.kill(gateway)
        case _:
            raise AssertionError(event)


def settles(world: World) -> None:
    """All leave, or die, and what was guarded is cancelled in its time."""
    world.pass_renewals(GRACE_MS_MOST // RENEW_EVERY_MS + 1)
    assert not world.due_ms
    assert set(world.ends_ms) == {scope for scope in SCOPES if world.guarded(scope)}


@pytest.mark.parametrize("end", ["leave", "kill", "stay"])
def test_in_every_world_of_two_connections_orders_stay_while_one_is_there_and_go_in_time(end: str) -> None:
    every = list(events(CONNECTIONS))
    for history in product(every, repeat=3):
        world = World([Guards()])
        for event in history:
            happens(world, event)
        match end:
            case "leave":
                for connection in CONNECTIONS:
                    world.leave(connection)
                assert len(world.gateways[0]) == 0
            case "kill":
                world.kill(0)
        settles(world)


def test_in_every_world_of_two_gateways_of_which_one_dies_the_other_holds_what_it_guards() -> None:
    """But for a connection with less grace than a renewal takes, of which another gateway cannot know in time."""
    asks = [("ask", f"{gateway}a", scopes, 4_000) for gateway in (0, 1) for scopes in ((), (ALL,), (ONE,), SCOPES)]
    every = [*asks, ("leave", "0a"), ("leave", "1a"), ("pass", 1), ("pass", 4), ("kill", 0)]
    for history in product(every, repeat=4):
        killed = history.index(("kill", 0)) if ("kill", 0) in history else len(history)
        if any(str(event[1]).startswith("0") for event in history[killed + 1 :]):
            continue
        world = World([Guards(), Guards()])
        for event in history:
            happens(world, event)
        settles(world)


def test_the_number_of_scopes_is_bounded_and_what_does_not_fit_changes_nothing() -> None:
    guards = Guards()
    for account in range(SCOPES_MOST):
        guards.guard("one", account, [""], 0)
    with pytest.raises(TooManyScopes):
        guards.guard("two", 0, ["", "BTCUSDT"], 0)
    assert len(guards.renewals()) == len(guards) == SCOPES_MOST
    guards.guard("two", 0, [""], 0)
    first, second, *_ = guards.leave("one")
    assert (first, second) == (Countdown(Scope(0, ""), HOLD_MS), Countdown(Scope(1, ""), 1))
    assert [countdown.scope.account for countdown in guards.leave("two")] == [0]


def test_a_gateway_that_is_late_by_two_renewals_loses_nothing() -> None:
    assert HOLD_MS > 3 * RENEW_EVERY_MS
