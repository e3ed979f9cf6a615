"""Section *account limits*: what is configured for an account, and its kill switch."""

from kernel.twin import well_formed
from kernel.twin.cancel import cancel_all
from kernel.twin.state import Book, Refused, State, leaves

from openbourse.contracts import v1

OPEN_ORDERS_DEFAULT = 10_000


def configure_account(state: State, configure: v1.ConfigureAccount) -> None:
    well_formed.configure_account(configure)
    now = v1.ConfigureAccount()
    now.CopyFrom(configure)
    now.ClearField("max_open_notional")
    now.max_open_notional.extend(sorted(configure.max_open_notional, key=lambda limit: limit.asset))
    before = state.configuration(now.account)
    if now == before:
        return
    state.configurations[now.account] = now
    if (now.max_orders_per_interval, now.interval_ms) != (before.max_orders_per_interval, before.interval_ms):
        state.order_rates[now.account] = (0, 0)
    state.happened("", v1.AccountConfigured(configuration=now))


def set_kill_switch(state: State, switch: v1.SetKillSwitch) -> None:
    well_formed.set_kill_switch(switch)
    if state.kill_switches.get(switch.account, False) == switch.on:
        return
    state.kill_switches[switch.account] = switch.on
    state.happened("", v1.KillSwitchSet(account=switch.account, on=switch.on, reason=switch.reason))
    if switch.on:
        cancel_killed(state, switch.account)


def cancel_killed(state: State, account: int) -> None:
    cancel_all(state, account, "", v1.CancelReason.CANCEL_REASON_KILL_SWITCH, in_every_state=True)


def go_on_with_kill_switches(state: State) -> None:
    for account, killed in sorted(state.kill_switches.items()):
        if killed:
            cancel_killed(state, account)


def check_kill_switch(state: State, account: int) -> None:
    if state.kill_switches.get(account, False):
        raise Refused("ACCOUNT_KILLED", "the account's kill switch is on")


def rate_interval(state: State, account: int) -> int:
    return state.time_us // (state.configuration(account).interval_ms * 1000)


def check_order_rate(state: State, account: int) -> None:
    limits = state.configuration(account)
    most = limits.max_orders_per_interval
    if most == 0:
        return
    interval, orders = state.order_rates.get(account, (0, 0))
    if interval == rate_interval(state, account) and orders >= most:
        raise Refused("ORDER_RATE_EXCEEDED", f"at most {most} orders in {limits.interval_ms} ms are allowed")


def count_order(state: State, account: int) -> None:
    if state.configuration(account).max_orders_per_interval == 0:
        return
    now = rate_interval(state, account)
    interval, orders = state.order_rates.get(account, (0, 0))
    state.order_rates[account] = (now, orders + 1 if interval == now else 1)


def check_open_orders(state: State, book: Book, order: v1.Order) -> None:
    limits, open_orders = state.configuration(order.account), state.open_orders(order.account)
    most = limits.max_open_orders or OPEN_ORDERS_DEFAULT
    if len(open_orders) >= most:
        raise Refused("TOO_MANY_OPEN_ORDERS", f"at most {most} open orders are allowed")
    quote = book.definition.quote_asset
    for limit in limits.max_open_notional:
        if limit.asset != quote:
            continue
        total = book.notional(order.price_ticks, order.quantity_lots)
        for other in open_orders:
            its_book = state.books[other.symbol]
            if its_book.definition.quote_asset == quote:
                total += its_book.notional(other.price_ticks, leaves(other))
        if total > limit.amount:
            detail = f"open orders may be worth at most {limit.amount} min-units of {quote}"
            raise Refused("OPEN_NOTIONAL_EXCEEDED", detail)
