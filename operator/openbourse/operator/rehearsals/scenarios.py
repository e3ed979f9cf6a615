"""What each scenario does to a shard, and what must be seen before anybody believes that it was done. Values only."""

from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts.resources import Scenario


class Deed(StrEnum):
    """What is done, to an engine's process unless it says otherwise. Each ends by itself, whoever dies meanwhile."""

    # SIGKILL. The kubelet starts another one.
    KILL = "kill"
    # SIGSTOP, until a SIGCONT; without one the liveness probe has it killed.
    FREEZE = "freeze"
    # Packets are dropped in the network of its pod, by addresses that the kernel forgets in time.
    CUT = "cut"
    # SIGKILL of all that runs in pods, and of all that the kubelet starts there again, for a time.
    DOWN = "down"
    # The kernel lets the container write to the disk of its volume only so often.
    SLOW = "slow"
    # Of no node: the engines get another pod template, and the operator replaces them in its order.
    RESTART = "restart"
    # Of no node: the Symbol gets another spec.shard, and the operator and the ledgers move it; then its own again.
    MOVE = "move"


class Target(StrEnum):
    """To whom it is done."""

    LEADER = "leader"
    STANDBY = "standby"
    # All pods of the exchange on the node of the engine that leads.
    NODE = "node"
    # All replicas of the operator, which is no exchange's.
    OPERATOR = "operator"
    ENGINES = "engines"
    # The symbol that is traded.
    SYMBOL = "symbol"


class Side(StrEnum):
    """From whom pods are cut off."""

    STANDBY = "standby"
    API_SERVER = "api-server"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class Blow:
    """What is done besides, from before the fault until after it: it has to last until another engine leads."""

    deed: Deed
    target: Target
    sentence: str
    lasts_s: int


@dataclass(frozen=True, slots=True)
class Strike:
    """`another_leads`: whether another engine must lead afterwards; None: either may. `under`: what is done besides."""

    deed: Deed
    target: Target
    sentence: str
    another_leads: bool | None
    sides: tuple[Side, ...] = ()
    lasts_s: int = 0
    under: Blow | None = None


STRIKES: dict[Scenario, Strike] = {
    Scenario.ENGINE_CRASH: Strike(Deed.KILL, Target.LEADER, "the engine that leads is killed", True),
    Scenario.ENGINE_FREEZE: Strike(Deed.FREEZE, Target.LEADER, "the engine that leads is frozen", True, lasts_s=5),
    Scenario.PARTITION_FROM_STANDBY: Strike(
        Deed.CUT,
        Target.LEADER,
        "the engine that leads is cut off from its standbys",
        # Both can write the record: who is first, leads.
        None,
        (Side.STANDBY,),
        lasts_s=5,
    ),
    Scenario.PARTITION_FROM_API_SERVER: Strike(
        Deed.CUT,
        Target.LEADER,
        "the engine that leads is cut off from the API server",
        False,
        (Side.API_SERVER,),
        # Longer than it takes to renew the record: else no packet would be there to be dropped.
        lasts_s=12,
    ),
    Scenario.PARTITION_FROM_BOTH: Strike(
        Deed.CUT,
        Target.LEADER,
        "the engine that leads is cut off from its standbys and from the API server",
        True,
        (Side.STANDBY, Side.API_SERVER),
        lasts_s=5,
    ),
    Scenario.STANDBY_LOST: Strike(Deed.FREEZE, Target.STANDBY, "a standby is frozen", False, lasts_s=5),
    Scenario.NODE_KILLED: Strike(
        Deed.DOWN,
        Target.NODE,
        "all pods of the exchange on the leader's node are cut off from everybody and killed",
        True,
        (Side.EVERYBODY,),
        lasts_s=10,
    ),
    Scenario.SLOW_DISK: Strike(Deed.SLOW, Target.LEADER, "the disk of the engine that leads is slow", False, lasts_s=8),
    Scenario.OPERATOR_KILLED_DURING_FAILOVER: Strike(
        Deed.KILL,
        Target.LEADER,
        "the engine that leads is killed",
        True,
        # Longer than it takes to ask another node for the kill.
        under=Blow(Deed.DOWN, Target.OPERATOR, "the operator is killed, and kept so", lasts_s=12),
    ),
    Scenario.ROLLING_UPGRADE: Strike(
        # At the most; a plan keeps a distance between its steps.
        Deed.RESTART,
        Target.ENGINES,
        "the operator replaces all engines, one after the other",
        True,
        lasts_s=150,
    ),
    Scenario.SYMBOL_MOVE: Strike(
        # At the most, for each of the two moves.
        Deed.MOVE,
        Target.SYMBOL,
        "the symbol is moved to another shard, and back",
        False,
        lasts_s=60,
    ),
}
# A disk that is slow takes so many writes of the engine in a second: a sync is two or more.
SLOW_WRITES = 20

# What comes one after the other. A step that does not come to its end ends the rehearsal, and the fault with it.
STEPS = (
    "the record says that all are in sync",
    "orders are acknowledged",
    "the fault is made",
    "the fault is taken away",
    "orders are acknowledged again",
    "all are in sync again",
    "the logs are read",
)
