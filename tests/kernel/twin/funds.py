"""Section *funds*: deposits and withdrawals that the ledger has recorded."""

from kernel.twin import well_formed
from kernel.twin.risk import held_asset
from kernel.twin.state import EXTERNAL, INT64_MAX, Refused, State

from openbourse.contracts import v1


def check_asset(state: State, asset: str) -> None:
    if asset not in state.assets:
        raise Refused("UNKNOWN_ASSET", f"asset {asset} is not defined")


def credit_funds(state: State, credit: v1.CreditFunds) -> None:
    well_formed.funds(credit)
    check_asset(state, credit.asset)
    away = sum(
        state.holds[order.symbol, order.order_id]
        for book in state.books.values()
        for order in book.orders
        if book.frozen is not None and held_asset(book, order) == credit.asset
    )
    if credit.amount + away - state.available(EXTERNAL, credit.asset) > INT64_MAX:
        raise Refused("OVERFLOW", "amount: all deposits together would leave the range of a signed 64-bit integer")
    state.move(EXTERNAL, credit.asset, -credit.amount, 0)
    state.move(credit.account, credit.asset, credit.amount, 0)
    credited = v1.FundsCredited(
        transfer_id=credit.transfer_id, account=credit.account, asset=credit.asset, amount=credit.amount
    )
    state.happened("", credited)


def debit_funds(state: State, debit: v1.DebitFunds) -> None:
    well_formed.funds(debit)
    check_asset(state, debit.asset)
    available = state.available(debit.account, debit.asset)
    if available < debit.amount:
        refused = Refused(
            "INSUFFICIENT_FUNDS", f"needs {debit.amount} min-units of {debit.asset}, {available} are available"
        )
        rejected = v1.FundsDebitRejected(
            transfer_id=debit.transfer_id,
            account=debit.account,
            asset=debit.asset,
            amount=debit.amount,
            reason=refused.rejection.reason,
            detail=refused.rejection.detail,
        )
        state.happened("", rejected)
        raise refused
    state.move(debit.account, debit.asset, -debit.amount, 0)
    state.move(EXTERNAL, debit.asset, debit.amount, 0)
    debited = v1.FundsDebited(
        transfer_id=debit.transfer_id, account=debit.account, asset=debit.asset, amount=debit.amount
    )
    state.happened("", debited)
