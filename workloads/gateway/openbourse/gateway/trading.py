"""The calls of the Binance wire that are about orders: place, cancel, replace, amend, and look at them.

Handlers are short: words become messages in `orders`, answers become words in `reports`, refusals in `refusals`.
"""

import asyncio
import itertools
from collections.abc import Sequence

from openbourse.contracts import v1
from openbourse.gateway import errors, orders, refusals, reports
from openbourse.gateway.account_history import AccountHistory
from openbourse.gateway.calls import Call, Endpoint, Endpoints, Security, new_client_order_id, new_id
from openbourse.gateway.errors import Invalid
from openbourse.gateway.limits.usage import Usage
from openbourse.gateway.markets import Market
from openbourse.gateway.parameters import CLIENT_ORDER_ID, SYMBOL
from openbourse.gateway.shards import Shards

# The kernel cancels at most 10,000 orders with one command, and an account has no more open unless it is told so.
CANCEL_ALL_ROUNDS_MOST = 10
# Orders asked for at once, of what one connection to the engine holds.
ASK_AT_ONCE_MOST = 500


class Trading:
    """The handlers of one gateway. Each raises Refused for what it does not do."""

    def __init__(self, shards: Shards, history: AccountHistory, usage: Usage) -> None:
        self._shards = shards
        self._history = history
        self._usage = usage

    def endpoints(self) -> Endpoints:
        trade, user_data = Security.TRADE, Security.USER_DATA
        symbol = frozenset({"symbol"})
        test = orders.PLACE | {"computeCommissionRates"}
        return {
            "/api/v3/order": {
                "POST": Endpoint(
                    self.place_order,
                    trade,
                    1,
                    orders.PLACE,
                    orders.PLACE_UNSUPPORTED,
                    name="order.place",
                    also=orders.PLACE_ALSO,
                    is_order=True,
                ),
                "GET": Endpoint(self.order, user_data, 4, orders.TARGET, name="order.status"),
                "DELETE": Endpoint(
                    self.cancel_order, trade, 1, orders.CANCEL, name="order.cancel", replayed=errors.UNKNOWN_ORDER
                ),
            },
            "/api/v3/order/test": {
                "POST": Endpoint(
                    self.test_order,
                    trade,
                    lambda sent: 20 if sent.flag("computeCommissionRates") else 1,
                    test,
                    orders.PLACE_UNSUPPORTED,
                    name="order.test",
                    also=orders.PLACE_ALSO,
                    replayed=None,
                )
            },
            "/api/v3/order/cancelReplace": {
                "POST": Endpoint(
                    self.replace_order,
                    trade,
                    1,
                    orders.REPLACE,
                    orders.REPLACE_UNSUPPORTED,
                    name="order.cancelReplace",
                    is_order=True,
                )
            },
            "/api/v3/order/amend/keepPriority": {
                "PUT": Endpoint(
                    self.amend_order,
                    trade,
                    4,
                    orders.AMEND,
                    name="order.amend.keepPriority",
                    replayed=errors.DUPLICATE_ORDER_TO_AMEND,
                )
            },
            "/api/v3/openOrders": {
                "GET": Endpoint(
                    self.open_orders,
                    user_data,
                    lambda sent: 6 if sent.optional("symbol") else 80,
                    symbol,
                    name="openOrders.status",
                ),
                "DELETE": Endpoint(
                    self.cancel_open_orders,
                    trade,
                    1,
                    symbol,
                    name="openOrders.cancelAll",
                    replayed=errors.UNKNOWN_ORDER,
                ),
            },
        }

    async def place_order(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        kind = orders.response_type(call.parameters)
        order = orders.place(call.parameters, market, call.account, new_client_order_id())
        await self._count_order(call)
        command = call.command()
        command.place_order.CopyFrom(order)
        reply = await self._shards.command(market.symbol, command)
        if reply.HasField("rejection"):
            raise refusals.of_place(reply.rejection)
        return reports.placed_as_json(reply.order, reply.occurred_at_us, kind, market, call.clock)

    async def test_order(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        orders.response_type(call.parameters)
        orders.place(call.parameters, market, call.account, new_client_order_id())
        if not call.parameters.flag("computeCommissionRates"):
            return {}
        return reports.commission_as_json(market, "ForOrder")

    async def cancel_order(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        target = orders.target(call.parameters)
        cancel_id = call.parameters.optional("newClientOrderId", CLIENT_ORDER_ID) or new_client_order_id()
        cancel = orders.cancel(call.parameters, market, call.account, *target)
        await self._check_both(call.account, market, *target)
        command = call.command(caused_by=cancel_id)
        command.cancel_order.CopyFrom(cancel)
        reply = await self._shards.command(market.symbol, command)
        if reply.HasField("rejection"):
            raise refusals.of_cancel(reply.rejection)
        return reports.canceled_as_json(reply.order.order, cancel_id, reply.occurred_at_us, market, call.clock)

    async def replace_order(self, call: Call) -> object:
        sent = call.parameters
        market = await self._shards.named_market(sent)
        mode = orders.replace_mode(sent)
        kind = orders.response_type(sent)
        target = orders.target(sent, "cancelOrderId", "cancelOrigClientOrderId")
        cancel_id = sent.optional("cancelNewClientOrderId", CLIENT_ORDER_ID) or new_client_order_id()
        replace = v1.ReplaceOrder(
            cancel=orders.cancel(sent, market, call.account, *target),
            place=orders.place(sent, market, call.account, new_client_order_id()),
            mode=mode,
        )
        await self._count_order(call)
        await self._check_both(call.account, market, *target)
        command = call.command(caused_by=cancel_id)
        command.replace_order.CopyFrom(replace)
        reply = await self._shards.command(market.symbol, command)
        if reply.HasField("rejection"):
            raise refusals.of_place(reply.rejection)
        result, at_us = reply.replaced, reply.occurred_at_us
        canceled, placed = result.HasField("canceled"), result.HasField("placed")
        cancel_answer = (
            reports.canceled_as_json(result.canceled, cancel_id, at_us, market, call.clock)
            if canceled
            else refusals.of_cancel(result.cancel_rejection).as_json()
        )
        place_answer = (
            reports.placed_as_json(result.placed, at_us, kind, market, call.clock)
            if placed
            else refusals.of_place(result.place_rejection).as_json()
        )
        if canceled and placed:
            return {
                "cancelResult": "SUCCESS",
                "newOrderResult": "SUCCESS",
                "cancelResponse": cancel_answer,
                "newOrderResponse": place_answer,
            }
        attempted = result.place_rejection.reason != v1.RejectReason.REJECT_REASON_NOT_ATTEMPTED
        raise refusals.of_replace(cancel_answer, canceled, place_answer, placed, attempted=attempted)

    async def amend_order(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        order_id, client_order_id = orders.target(call.parameters)
        order = await self._order(call.account, market, order_id, client_order_id, errors.UNKNOWN_ORDER_TO_AMEND)
        if client_order_id is not None and order.client_order_id != client_order_id:
            raise Invalid(errors.WRONG_CLIENT_ORDER_ID)
        amend = orders.amend(call.parameters, market, order, new_client_order_id())
        command = call.command()
        command.amend_order.CopyFrom(amend)
        reply = await self._shards.command(market.symbol, command)
        if reply.HasField("rejection"):
            raise refusals.of_amend(reply.rejection, amend, order)
        return reports.amended_as_json(reply, order.client_order_id, market, call.clock)

    async def cancel_open_orders(self, call: Call) -> object:
        """Shows what was open when it was asked for and is cancelled now. What came in between is cancelled as well."""
        market = await self._shards.named_market(call.parameters)
        query = v1.Query(open_orders=v1.OpenOrdersQuery(account=call.account, symbol=market.symbol))
        open_before = (await self._shards.ask(market.symbol, query)).orders.orders
        canceled, cancel_id = 0, new_client_order_id()
        for round_ in range(CANCEL_ALL_ROUNDS_MOST):
            # The first is the request itself: sent again, it gets the same answer.
            command = call.command(call.id if round_ == 0 else new_id(call.now_us), caused_by=cancel_id)
            command.cancel_all_orders.CopyFrom(
                v1.CancelAllOrders(
                    account=call.account, symbol=market.symbol, reason=v1.CancelReason.CANCEL_REASON_REQUEST
                )
            )
            reply = await self._shards.command(market.symbol, command)
            if reply.HasField("rejection"):
                raise refusals.of_cancel(reply.rejection)
            canceled += reply.canceled_all.canceled
            if reply.canceled_all.remaining == 0:
                break
        if canceled == 0:
            raise Invalid(errors.UNKNOWN_ORDER, detail="no order is open")
        closed = await self._orders(call.account, market, [order.order_id for order in open_before])
        return [
            reports.canceled_as_json(order, cancel_id, order.updated_at_us, market, call.clock)
            for order in closed
            if order.status == v1.OrderStatus.ORDER_STATUS_CANCELED
        ]

    async def order(self, call: Call) -> object:
        market = await self._shards.named_market(call.parameters)
        order_id, client_order_id = orders.target(call.parameters)
        prevented_match_id = 0
        try:
            order = await self._order(call.account, market, order_id, client_order_id, errors.NO_SUCH_ORDER)
        except Invalid:
            # The engine remembers what ended of late; the history has all.
            record = await self._history.order(call, market.symbol, order_id, client_order_id)
            if record is None:
                raise
            order, prevented_match_id = record.order, record.prevented_match_id
        if client_order_id is not None and order.client_order_id != client_order_id:
            raise Invalid(errors.WRONG_CLIENT_ORDER_ID)
        return reports.order_as_json(order, market, call.clock, prevented_match_id)

    async def open_orders(self, call: Call) -> object:
        symbol = call.parameters.optional("symbol", SYMBOL)
        found: Sequence[v1.Order]
        if symbol is None:
            found = await self._shards.open_orders(call.account)
        else:
            await self._shards.market(symbol)
            query = v1.Query(open_orders=v1.OpenOrdersQuery(account=call.account, symbol=symbol))
            found = (await self._shards.ask(symbol, query)).orders.orders
        markets = {name: await self._shards.market(name) for name in {order.symbol for order in found}}
        return [reports.order_as_json(order, markets[order.symbol], call.clock) for order in found]

    async def _count_order(self, call: Call) -> None:
        """Raises TooMany."""
        call.charge.account = call.account
        await self._usage.settle(call.charge)

    async def _check_both(
        self, account: int, market: Market, order_id: int | None, client_order_id: str | None
    ) -> None:
        """Where an order is named twice, both names are one order's. Only an amendment gives an order a new name."""
        if order_id is None or client_order_id is None:
            return
        order = await self._order(account, market, order_id, None, errors.UNKNOWN_ORDER)
        if order.client_order_id != client_order_id:
            raise Invalid(errors.WRONG_CLIENT_ORDER_ID)

    async def _order(
        self, account: int, market: Market, order_id: int | None, client_order_id: str | None, unknown: errors.Word
    ) -> v1.Order:
        query = v1.OrderQuery(account=account, symbol=market.symbol)
        if order_id is not None:
            query.order_id = order_id
        else:
            assert client_order_id is not None
            query.client_order_id = client_order_id
        answer = await self._shards.order(query)
        if answer.HasField("refused"):
            if answer.refused.reason == v1.RejectReason.REJECT_REASON_UNKNOWN_ORDER:
                raise Invalid(unknown, detail=answer.refused.detail)
            raise refusals.of_query(answer.refused)
        return answer.orders.orders[0]

    async def _orders(self, account: int, market: Market, order_ids: list[int]) -> list[v1.Order]:
        """Those of them that are still remembered."""
        found: list[v1.Order] = []
        ids = iter(order_ids)
        while part := list(itertools.islice(ids, ASK_AT_ONCE_MOST)):
            queries = (v1.OrderQuery(account=account, symbol=market.symbol, order_id=order_id) for order_id in part)
            for answer in await asyncio.gather(*map(self._shards.order, queries)):
                found.extend(answer.orders.orders)
        return found
