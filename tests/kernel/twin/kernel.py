"""The naive twin of the kernel: its rules in plain lists and dicts, as obvious as can be and far slower.

Written from `workloads/engine/crates/matching/RULES.md` and never from the Rust, one module for a section. It shares
nothing with the kernel but the messages, and must give the same replies, events, answers and state hashes. It never
searches cleverly: a book is a list that is sorted whenever somebody looks, and a digest is computed from scratch.
"""

from kernel.twin import (
    account_limits,
    cancel,
    funds,
    listings,
    moves,
    questions,
    safety,
    state_hash,
    state_hash_v1,
    symbol_state,
    well_formed,
)
from kernel.twin.amend import amend_order
from kernel.twin.auction import indicate
from kernel.twin.orders import place_order
from kernel.twin.replace import replace_order
from kernel.twin.state import Diverged, Refused, State
from kernel.twin.version import change_version

from openbourse.contracts import v1

__all__ = ["Diverged", "Twin"]


# Before a command of its symbol is carried out elsewhere, or here again.
NOT_REMEMBERED = (v1.RejectReason.REJECT_REASON_SYMBOL_MOVING, v1.RejectReason.REJECT_REASON_SYMBOL_MOVED)
OF_A_SYMBOL = {
    "place_order",
    "cancel_order",
    "amend_order",
    "cancel_all_orders",
    "set_countdown",
    "change_symbol_state",
}


def encoded_reply(version: int, reply: v1.Reply) -> bytes:
    return state_hash_v1.encoded_reply(reply) if version == 1 else state_hash.encoded_reply(reply)


class Twin:
    """The kernel's limits of one command can be lowered here alone, for rules that only show beyond them."""

    def __init__(
        self,
        shard: str,
        *,
        remembered_commands: int = 100_000,
        remembered_orders: int = 100_000,
        remembered_client_order_ids: int = 2_000_000,
        matches_most: int = 32_768,
        cancels_most: int = 10_000,
    ) -> None:
        windows = remembered_commands, remembered_orders, remembered_client_order_ids
        self.state = State(shard, *windows, matches_most, cancels_most)
        self.state.encoded_reply = encoded_reply

    def step(self, seq: int, epoch: int, time_us: int, command: v1.Command) -> tuple[v1.Reply, list[v1.Event]]:
        state = self.state
        assert seq == state.seq + 1
        state.seq, state.epoch, state.time_us, state.command, state.events = seq, epoch, time_us, command, []
        if command.command_id in state.replies:
            return state.replies[command.command_id], []
        reply = v1.Reply(shard=state.shard, epoch=epoch, seq=seq, occurred_at_us=time_us)
        try:
            well_formed.check(len(command.command_id) == 16, "command_id: must be 16 bytes")
            reply.command_id = command.command_id
            well_formed.traces(command)
            self.carry_out(command, reply)
        except Refused as refused:
            reply.rejection.CopyFrom(refused.rejection)
        for book in state.books_by_name():
            indicate(state, book)
        if reply.command_id and reply.rejection.reason not in NOT_REMEMBERED:
            well_formed_one = reply.rejection.reason != v1.RejectReason.REJECT_REASON_INVALID
            state.remember(reply, self.symbol_of(command) if well_formed_one else "")
        if reply.HasField("done") and command.HasField("checkpoint"):
            state.checkpoint = seq, self.state_hash()
            state.happened("", v1.EngineCheckpoint(state_hash=state.checkpoint[1]))
        return reply, state.events

    def carry_out(self, command: v1.Command, reply: v1.Reply) -> None:
        state = self.state
        name = command.WhichOneof("body")
        known = name is not None and (state.version > 1 or name in well_formed.COMMANDS_OF_VERSION_1)
        known = known and (state.version > 2 or name not in well_formed.COMMANDS_OF_MOVES)
        well_formed.check(known, "body: must be a command that this version knows")
        if state.version == 1:
            command = well_formed.known_to_version_1(command)
        match name:
            case "place_order":
                reply.order.CopyFrom(place_order(state, command.place_order))
                return
            case "cancel_order":
                well_formed.cancel_order(command.cancel_order)
                reason = v1.CancelReason.CANCEL_REASON_REQUEST
                reply.order.order.CopyFrom(cancel.cancel_order(state, command.cancel_order, reason))
                return
            case "amend_order":
                reply.order.CopyFrom(amend_order(state, command.amend_order))
                return
            case "replace_order":
                reply.replaced.CopyFrom(replace_order(state, command.replace_order))
                return
            case "cancel_all_orders":
                reply.canceled_all.SetInParent()
                reply.canceled_all.CopyFrom(cancel.cancel_all_orders(state, command.cancel_all_orders))
                return
            case "set_countdown":
                cancel.set_countdown(state, command.set_countdown)
            case "credit_funds":
                funds.credit_funds(state, command.credit_funds)
            case "debit_funds":
                funds.debit_funds(state, command.debit_funds)
            case "define_asset":
                listings.define_asset(state, command.define_asset)
            case "define_symbol":
                listings.define_symbol(state, command.define_symbol)
            case "impose_halt":
                symbol_state.impose_halt(state, command.impose_halt)
            case "lift_halt":
                symbol_state.lift_halt(state, command.lift_halt)
            case "change_symbol_state":
                symbol_state.change_symbol_state(state, command.change_symbol_state)
            case "configure_account":
                account_limits.configure_account(state, command.configure_account)
            case "set_kill_switch":
                account_limits.set_kill_switch(state, command.set_kill_switch)
            case "configure_safety":
                safety.configure_safety(state, command.configure_safety)
            case "report_lag":
                safety.report_lag(state, command.report_lag)
            case "checkpoint":
                self.compare(command.checkpoint)
            case "tick":
                self.tick()
            case "change_version":
                change_version(state, command.change_version)
            case "freeze_symbol":
                moves.freeze_symbol(state, command.freeze_symbol)
            case "import_symbol":
                moves.import_symbol(state, command.import_symbol)
            case "complete_move":
                moves.complete_move(state, command.complete_move)
            case "undo_freeze":
                moves.undo_freeze(state, command.undo_freeze)
            case "abandon_import":
                moves.abandon_import(state, command.abandon_import)
        reply.done.SetInParent()

    def tick(self) -> None:
        """Section *time*: what is due, in this order."""
        cancel.end_due_countdowns(self.state)
        account_limits.go_on_with_kill_switches(self.state)
        symbol_state.end_due_phases(self.state)

    def compare(self, recorded: v1.Checkpoint) -> None:
        well_formed.checkpoint(recorded)
        if recorded.previous_seq == 0:
            return
        if self.state.checkpoint != (recorded.previous_seq, recorded.previous_state_hash):
            raise Diverged

    def symbol_of(self, command: v1.Command) -> str:
        """Of which listed symbol alone it is."""
        name = command.WhichOneof("body")
        if name == "replace_order":
            symbol = command.replace_order.cancel.symbol
        elif name in OF_A_SYMBOL:
            symbol = getattr(command, name).symbol
        else:
            return ""
        return symbol if symbol in self.state.books else ""

    def answer(self, epoch: int, query: v1.Query) -> v1.Answer:
        return questions.answer(self.state, epoch, query)

    def state_hash(self) -> bytes:
        if self.state.version == 1:
            return state_hash_v1.state_hash(self.state)
        return state_hash.state_hash(self.state)
