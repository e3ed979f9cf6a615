"""How a market begins to trade again after a halt."""

from enum import StrEnum


class ReopenMode(StrEnum):
    TRADING = "TRADING"
    POST_ONLY = "POST_ONLY"
    AUCTION = "AUCTION"
