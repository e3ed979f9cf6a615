"""What a halt makes of a market, and how the market begins to trade again: as people say it, and as engines hold it."""

from enum import StrEnum

from openbourse.contracts import v1


class _Mode(StrEnum):
    @property
    def state(self) -> v1.SymbolState.ValueType:
        return v1.SymbolState.Value(f"SYMBOL_STATE_{self.value}")


class HaltMode(_Mode):
    HALT = "HALT"
    CANCEL_ONLY = "CANCEL_ONLY"
    POST_ONLY = "POST_ONLY"


class ReopenMode(_Mode):
    TRADING = "TRADING"
    POST_ONLY = "POST_ONLY"
    AUCTION = "AUCTION"
