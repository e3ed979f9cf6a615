"""A kernel and its twin under the same commands, held to the same bytes at every step."""

from kernel.auditor import Auditor
from kernel.twin.kernel import Twin
from kernel.workload import ACCOUNTS, SYMBOLS, Workload

from openbourse.contracts import v1
from openbourse.engine._core import Kernel


class Pair:
    def __init__(
        self,
        shard: str = "main",
        *,
        remembered_commands: int = 100_000,
        remembered_orders: int = 100_000,
        remembered_client_order_ids: int = 2_000_000,
    ) -> None:
        windows = {
            "remembered_commands": remembered_commands,
            "remembered_orders": remembered_orders,
            "remembered_client_order_ids": remembered_client_order_ids,
        }
        self.kernel, self.twin = Kernel(shard, **windows), Twin(shard, **windows)
        self.auditor = Auditor()
        self.seq = 0

    def step(self, time_us: int, command: v1.Command) -> tuple[v1.Reply, list[v1.Event]]:
        self.seq += 1
        epoch = 1 + self.seq // 500
        reply, events = self.kernel.step(self.seq, epoch, time_us, command.SerializeToString())
        twin_reply, twin_events = self.twin.step(self.seq, epoch, time_us, command)
        assert v1.Reply.FromString(reply) == twin_reply, command
        assert list(v1.Events.FromString(events).events) == twin_events, command
        assert reply == twin_reply.SerializeToString()
        assert events == v1.Events(events=twin_events).SerializeToString()
        self.auditor.saw(twin_events)
        return twin_reply, twin_events

    def ask(self, query: v1.Query) -> v1.Answer:
        answer = v1.Answer.FromString(self.kernel.answer(7, query.SerializeToString()))
        assert answer == self.twin.answer(7, query), query
        return answer

    def compare_states(self) -> None:
        assert self.kernel.state_hash() == self.twin.state_hash()
        self.auditor.check_answers(self.ask)

    def compare_answers(self, workload: Workload) -> None:
        """Of every query, sound and unsound."""
        for symbol in (*SYMBOLS, "XRPBTC", "", "nope"):
            for limit in (0, 1, 3, 5000, 5001):
                self.ask(v1.Query(query_id=3, depth=v1.DepthQuery(symbol=symbol, limit=limit)))
        for account in (*ACCOUNTS, 1, 2, 5555):
            self.ask(v1.Query(query_id=4, account=v1.AccountQuery(account=account)))
            self.ask(v1.Query(query_id=9, account_safety=v1.AccountSafetyQuery(account=account)))
            for symbol in ("", *SYMBOLS, "XRPBTC", "?"):
                self.ask(v1.Query(query_id=5, open_orders=v1.OpenOrdersQuery(account=account, symbol=symbol)))
        self.ask(v1.Query(query_id=6))
        for seq, order in workload.placed:
            asked = v1.OrderQuery(account=order.account, symbol=order.symbol, order_id=seq)
            self.ask(v1.Query(query_id=7, order=asked))
            asked.client_order_id = order.client_order_id
            self.ask(v1.Query(query_id=8, order=asked))
