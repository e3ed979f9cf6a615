"""Section *ids*: closed orders, and whose client order ids may not be used again."""

from kernel.twin import state_hash, state_hash_v1
from kernel.twin.encoding import i64, text, u64
from kernel.twin.state import Book, Refused, State, copied

from openbourse.contracts import v1

RECENT_US = 300_000_000


def close(state: State, book: Book, order: v1.Order) -> None:
    """The order has ended: it leaves the book, if it was there, for the memory of closed orders."""
    if order in book.orders:
        book.orders.remove(order)
    del state.holds[order.symbol, order.order_id]
    state.closed.append(copied(order))
    del state.closed[: -state.remembered_orders]
    if state.version == 1:
        state.closed_chain.add(1, state_hash_v1.encoded_order(order))
        return
    state.closed_chain.add(2, state_hash.encoded_order(order))
    remember(state, order.account, order.client_order_id, order.symbol)


def remember(state: State, account: int, client_order_id: str, symbol: str) -> None:
    enter(state, (account, client_order_id, state.time_us, symbol if state.version > 2 else ""))


def take_over(state: State, entry: tuple[int, str, int, str]) -> None:
    """One that came with a symbol. Nothing where the id closed here no earlier."""
    here = [known for known in state.closed_ids if known[:2] == entry[:2]]
    if not here or here[-1][2] < entry[2]:
        enter(state, entry)


def enter(state: State, entry: tuple[int, str, int, str]) -> None:
    while state.closed_ids and not is_recent(state, state.closed_ids[0]):
        del state.closed_ids[0]
    account, client_order_id, closed_at_us, symbol = entry
    state.closed_ids.append(entry)
    encoded = u64(account) + text(client_order_id) + i64(closed_at_us)
    state.closed_ids_chain.add(2, encoded + (text(symbol) if symbol else b""))
    while len(state.closed_ids) > state.remembered_client_order_ids:
        del state.closed_ids[0]
        state.closed_ids_forgotten += 1


def is_recent(state: State, entry: tuple[int, str, int, str]) -> bool:
    return state.time_us - entry[2] < RECENT_US


def check_client_order_id(state: State, account: int, client_order_id: str) -> None:
    if any(order.client_order_id == client_order_id for order in state.open_orders(account)):
        raise Refused("DUPLICATE_CLIENT_ORDER_ID", f"client_order_id {client_order_id} is that of an open order")
    if state.version == 1 or state.configuration(account).reuse_client_order_ids:
        return
    for entry in state.closed_ids:
        if entry[:2] == (account, client_order_id) and is_recent(state, entry):
            detail = f"client_order_id {client_order_id} is that of an order closed less than 300 seconds ago"
            raise Refused("RECENT_CLIENT_ORDER_ID", detail)
