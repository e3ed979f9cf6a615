"""Section *version*: how a version becomes a later one."""

from kernel.twin.self_trade import NONE
from kernel.twin.state import Refused, State

from openbourse.contracts import v1

NEWEST = 3


def change_version(state: State, change: v1.ChangeVersion) -> None:
    if not max(state.version, 2) <= change.version <= NEWEST:
        detail = f"version {change.version} is unknown, or lower than the one in force"
        raise Refused("UNKNOWN_VERSION", detail)
    if change.version == state.version:
        return
    before, state.version = state.version, change.version
    for book in state.books.values() if before == 1 else ():
        for order in book.orders:
            order.fee_schedule = len(book.schedules)
            order.self_trade_prevention = NONE
    state.happened("", v1.VersionChanged(version=state.version, previous_version=before))
