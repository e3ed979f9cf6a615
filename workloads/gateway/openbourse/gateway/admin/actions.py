"""What a person does to accounts and markets: the commands that it is, and the line that says who did it and why.

Values in, values out: nothing here asks the shard, and nothing has a clock.
"""

import uuid
from dataclasses import dataclass
from enum import StrEnum

from openbourse.contracts import v1
from openbourse.contracts.callers import Person

# What the kernel takes of a causation.
CAUSATION_BYTES_MOST = 512


class What(StrEnum):
    KILL = "kill"
    UNKILL = "unkill"
    CANCEL_ALL = "cancel-all"


@dataclass(frozen=True, slots=True)
class Action:
    """`id` is the caller's: the same action with the same id is done once, however often it is sent."""

    what: What
    by: Person
    reason: str
    id: uuid.UUID
    # 0: of all accounts.
    account: int = 0
    # Empty: of all symbols.
    symbol: str = ""

    def command(self, round_: int = 0) -> v1.Command:
        """A cancel-all that one command does not finish goes on with the next round."""
        command = v1.Command(
            command_id=self._command_id(round_), correlation_id=f"admin-{self.id}", causation_id=self._causation()
        )
        match self.what:
            case What.CANCEL_ALL:
                command.cancel_all_orders.CopyFrom(
                    v1.CancelAllOrders(
                        account=self.account, symbol=self.symbol, reason=v1.CancelReason.CANCEL_REASON_OPERATOR
                    )
                )
            case What.KILL | What.UNKILL:
                command.set_kill_switch.CopyFrom(
                    v1.SetKillSwitch(account=self.account, on=self.what is What.KILL, reason=self.reason)
                )
        return command

    def _command_id(self, round_: int) -> bytes:
        """Of what is done as well, so that an id that is used for something else is another action."""
        return uuid.uuid5(self.id, f"{self.what} {self.account} {self.symbol} {round_}").bytes

    def _causation(self) -> str:
        """Who and why, as the journal keeps it."""
        text = f"{self.by.role} {self.by.name}: {self.reason}"
        return text.encode()[:CAUSATION_BYTES_MOST].decode(errors="ignore")

    def line(self, outcome: str, at_us: int, **more: object) -> dict[str, object]:
        """For the log: who, what, when, why, and what became of it."""
        return {
            "audit": self.what,
            "who": self.by.name,
            "role": self.by.role,
            "account": self.account or None,
            "symbol": self.symbol or None,
            "why": self.reason,
            "id": str(self.id),
            "at_us": at_us,
            "outcome": outcome,
            **more,
        }
