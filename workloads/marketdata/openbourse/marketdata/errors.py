"""What market data cannot do, by whose fault it is.

MarketDataError
  Diverged         the stream contradicts what is stored: a person has to look
  StaleSession     the stream comes from a leader that is not the newest: find the newer one
  TooOld           the history is of another format, or ends before the log begins: a person has to remove it
  Behind           the stream was not read so far yet: ask again
  NotHere          what was asked for may be older than the history: nobody here knows
  Invalid          the asker's: such a question has no answer
  UnknownSymbol    the asker's: nothing of that symbol was heard
"""


class MarketDataError(Exception):
    pass


class Diverged(MarketDataError):
    pass


class StaleSession(MarketDataError):
    pass


class TooOld(MarketDataError):
    pass


class Behind(MarketDataError):
    pass


class NotHere(MarketDataError):
    pass


class Invalid(MarketDataError):
    pass


class UnknownSymbol(MarketDataError):
    def __init__(self, symbol: str) -> None:
        super().__init__(f"nothing is known of symbol {symbol[:32]!r}")
