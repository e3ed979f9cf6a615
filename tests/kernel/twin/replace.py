"""ReplaceOrder, of the section *cancel*: a cancel, and then a new order under the same seq."""

from kernel.twin import well_formed
from kernel.twin.cancel import cancel_order
from kernel.twin.orders import place_order
from kernel.twin.state import Refused, State

from openbourse.contracts import v1


def replace_order(state: State, replace: v1.ReplaceOrder) -> v1.ReplaceResult:
    well_formed.replace_order(replace)
    if replace.cancel.symbol in state.books:
        state.books[replace.cancel.symbol].check_here()
    result = v1.ReplaceResult()
    try:
        canceled = cancel_order(state, replace.cancel, v1.CancelReason.CANCEL_REASON_REPLACED)
        result.canceled.CopyFrom(canceled)
    except Refused as refused:
        result.cancel_rejection.CopyFrom(refused.rejection)
        if replace.mode == v1.ReplaceMode.REPLACE_MODE_STOP_ON_FAILURE:
            not_attempted = Refused("NOT_ATTEMPTED", "the cancel was refused")
            result.place_rejection.CopyFrom(not_attempted.rejection)
            return result
    try:
        result.placed.CopyFrom(place_order(state, replace.place))
    except Refused as refused:
        result.place_rejection.CopyFrom(refused.rejection)
    return result
