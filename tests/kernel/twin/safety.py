"""Section *safety*: the shard's answer to lag."""

from kernel.twin import well_formed
from kernel.twin.state import Refused, State
from kernel.twin.symbol_state import safety_sentence, update_states

from openbourse.contracts import v1

NORMAL = v1.SafetyLevel.SAFETY_LEVEL_NORMAL
THROTTLED = v1.SafetyLevel.SAFETY_LEVEL_THROTTLED
CANCEL_ONLY = v1.SafetyLevel.SAFETY_LEVEL_CANCEL_ONLY
HALT = v1.SafetyLevel.SAFETY_LEVEL_HALT
SECOND_US = 1_000_000


def configure_safety(state: State, safety: v1.ConfigureSafety) -> None:
    well_formed.configure_safety(safety)
    state.safety.CopyFrom(safety)
    update_level(state)


def report_lag(state: State, lag: v1.ReportLag) -> None:
    state.lag.CopyFrom(lag)
    update_level(state)


def asked_for(state: State, measured: int, limits: v1.SafetyLimits) -> v1.SafetyLevel.ValueType:
    """The highest level that this measure reaches, or that it keeps up."""
    asked = NORMAL
    for level, limit in ((THROTTLED, limits.throttle), (CANCEL_ONLY, limits.cancel_only), (HALT, limits.halt)):
        reached = measured >= limit
        kept_up = level <= state.safety_level and measured >= max(limit // 2, 1)
        if limit != 0 and (reached or kept_up):
            asked = level
    return asked


def update_level(state: State) -> None:
    lag, before = state.lag, state.safety_level
    level = max(
        asked_for(state, lag.settlement_lag_ms, state.safety.settlement_lag_ms),
        asked_for(state, lag.unpublished_commands, state.safety.unpublished_commands),
    )
    if level == before:
        return
    state.safety_level = level
    state.throttle = (0, 0)
    reason = f"settlement lag is {lag.settlement_lag_ms} ms, {lag.unpublished_commands} commands are unpublished"
    state.happened("", v1.SafetyLevelChanged(level=level, previous_level=before, reason=reason))
    update_states(state, safety_sentence(level))


def check_throttle(state: State) -> None:
    second, orders = state.throttle
    most = state.safety.throttled_orders_per_second
    if state.safety_level == THROTTLED and second == state.time_us // SECOND_US and orders >= most:
        raise Refused("THROTTLED", f"at most {most} orders a second are accepted")


def count_order(state: State) -> None:
    if state.safety_level != THROTTLED:
        return
    now = state.time_us // SECOND_US
    second, orders = state.throttle
    state.throttle = (now, orders + 1 if second == now else 1)
