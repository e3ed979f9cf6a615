"""What the gateway answers when it says no: Binance's codes and words, as one small tree.

    Refused            an answer with a code; what to do depends on whose fault it is:
      Invalid          the trader's: the same request is refused for ever (HTTP 4xx)
      NotReplaced      a cancel-replace of which a part, or all, was refused: `data` says what became of both
      TooMany          the trader's, for now: wait `retry_after_s` (HTTP 429, or 418 of a ban)
      Unavailable      ours: try again later; of an order the outcome may be unknown (HTTP 5xx)

Clients decide by `code` and `message`, so these are Binance's to the letter. What we can say beyond them goes into
`detail`, which travels beside them where no client looks for a decision.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """One of Binance's codes with its message, which may have places for words (`%s`)."""

    code: int
    message: str
    status: int = 400


UNKNOWN = Word(-1000, "An unknown error occurred while processing the request.", 500)
DISCONNECTED = Word(-1001, "Internal error; unable to process your request. Please try again.", 503)
TOO_MUCH_WEIGHT = Word(
    -1003,
    "Too much request weight used; current limit is %s request weight per %s. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
    429,
)
TOO_MANY_REQUESTS = Word(-1003, "Too many requests; current limit is %s requests per %s.", 429)
BANNED = Word(
    -1003,
    "Way too much request weight used; IP banned until %s. "
    "Please use WebSocket Streams for live updates to avoid bans.",
    418,
)
REQUEST_TOO_SLOW = Word(-1001, "Internal error; unable to process your request. Please try again.", 408)
TIMEOUT = Word(
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    504,
)
BUSY = Word(-1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", 503)
REJECTED = Word(-1013, "The request is rejected by the API.")
FILTER_FAILURE = Word(-1013, "Filter failure: %s")
MARKET_CLOSED = Word(-1013, "Market is closed.")
TYPE_NOT_SUPPORTED = Word(-1013, "%s orders are not supported for this symbol.")
UNSUPPORTED_COMBINATION = Word(-1014, "Unsupported order combination.")
TOO_FAST = Word(-1015, "Too many new orders.", 429)
TOO_MANY_ORDERS = Word(-1015, "Too many new orders; current limit is %s orders per %s.", 429)
NO_SUCH_PATH = Word(-1020, "This operation is not supported.", 404)
NO_SUCH_METHOD = Word(-1020, "This operation is not supported.", 405)
NO_SUCH_CONTENT_TYPE = Word(-1020, "This operation is not supported.", 415)
OUTSIDE_WINDOW = Word(-1021, "Timestamp for this request is outside of the recvWindow.")
AHEAD_OF_SERVER = Word(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
BAD_SIGNATURE = Word(-1022, "Signature for this request is not valid.")
TOO_MANY_CONNECTIONS = Word(-1034, "Too many concurrent connections; current limit is '%s'.", 429)
ILLEGAL_CHARACTERS = Word(-1100, "Illegal characters found in a parameter.")
ILLEGAL_CHARACTERS_IN = Word(-1100, "Illegal characters found in parameter '%s'; legal range is '%s'.")
NO_HTTP = Word(-1100, "Illegal characters found in a parameter.")
HEAD_TOO_LARGE = Word(-1101, "Too many parameters sent for this endpoint.", 431)
TOO_LARGE = Word(-1101, "Too many parameters sent for this endpoint.", 413)
TOO_MANY_PARAMETERS = Word(-1101, "Too many parameters; expected '%s' and received '%s'.")
REPEATED_PARAMETER = Word(-1101, "Duplicate values for a parameter detected.")
MANDATORY_MISSING = Word(-1102, "Mandatory parameter '%s' was not sent, was empty/null, or malformed.")
EITHER_MISSING = Word(-1102, "Param '%s' or '%s' must be sent, but both were empty/null!")
VALUE_TOO_GREAT = Word(-1102, "'%s' contains unexpected value. Cannot be greater than %s.")
UNREAD_PARAMETERS = Word(-1104, "Not all sent parameters were read; read '%s' parameter(s) but was sent '%s'.")
EMPTY_PARAMETER = Word(-1105, "Parameter '%s' was empty.")
NOT_REQUIRED = Word(-1106, "Parameter '%s' sent when not required.")
TOO_PRECISE = Word(-1111, "Parameter '%s' has too much precision.")
BAD_TIME_IN_FORCE = Word(-1115, "Invalid timeInForce.")
BAD_ORDER_TYPE = Word(-1116, "Invalid orderType.")
BAD_SIDE = Word(-1117, "Invalid side.")
BAD_INTERVAL = Word(-1120, "Invalid interval.")
BAD_SYMBOL = Word(-1121, "Invalid symbol.")
BAD_SYMBOL_STATUS = Word(-1122, "Invalid symbolStatus.")
NO_SUCH_LISTEN_KEY = Word(-1125, "This listenKey does not exist.")
INTERVAL_TOO_LONG = Word(-1127, "More than %s hours between startTime and endTime.")
BAD_COMBINATION = Word(-1128, "Combination of optional parameters invalid.")
BAD_VALUE = Word(-1130, "Data sent for parameter '%s' is not valid.")
BAD_JSON = Word(-1135, "Invalid JSON Request")
BAD_CANCEL_RESTRICTIONS = Word(-1145, "Invalid cancelRestrictions")
REPEATED_SYMBOL = Word(-1151, "Symbol is present multiple times in the list.")
BAD_TIME_UNIT = Word(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
TOO_MANY_SUBSCRIPTIONS = Word(
    -1191, "Too many subscriptions. Connection may create up to '%s' subscriptions at a time."
)
STATUS_MISMATCH = Word(-1220, "The symbol's status does not match the requested symbolStatus.")
INSUFFICIENT_BALANCE = Word(-2010, "Account has insufficient balance for requested action.")
DUPLICATE_ORDER = Word(-2010, "Duplicate order sent.")
WOULD_TAKE = Word(-2010, "Order would immediately match and take.")
ACTION_DISABLED = Word(-2010, "This action is disabled on this account.")
UNKNOWN_ORDER = Word(-2011, "Unknown order sent.")
CANCEL_RESTRICTED = Word(-2011, "Order was not canceled due to cancel restrictions.")
NO_SUCH_ORDER = Word(-2013, "Order does not exist.")
BAD_KEY_FORMAT = Word(-2014, "API-key format invalid.", 401)
BAD_KEY = Word(-2015, "Invalid API-key, IP, or permissions for action.", 401)
PARTLY_REPLACED = Word(-2021, "Order cancel-replace partially failed.", 409)
NOT_REPLACED = Word(-2022, "Order cancel-replace failed.")
UNKNOWN_ORDER_TO_AMEND = Word(-2038, "Unknown order sent.")
DUPLICATE_ORDER_TO_AMEND = Word(-2038, "Duplicate order sent.")
QUANTITY_NOT_LOWER = Word(-2038, "Order amend (quantity increase) is not supported.")
NOTHING_TO_AMEND = Word(-2038, "The requested action would change no state; rejecting.")
SUBSCRIBED_ALREADY = Word(-2035, "User Data Stream subscription already active.")
NOT_SUBSCRIBED = Word(-2036, "User Data Stream subscription not active.")
NO_MORE_SUBSCRIPTIONS = Word(-2042, "Maximum subscription ID reached for this connection.")
WRONG_CLIENT_ORDER_ID = Word(-2039, "Client order ID is not correct for this order ID.")
NOT_ED25519 = Word(-4056, "%s API key is not supported.")
NO_SUCH_CALL = Word(-5000, "Method %s is invalid")


class Refused(Exception):
    """The request gets `code` and `message` with HTTP `status`, and `detail` where there is more to say."""

    def __init__(self, word: Word, *places: object, detail: str = "") -> None:
        self.status = word.status
        self.code = word.code
        self.message = word.message % places if places else word.message
        self.detail = detail
        super().__init__(self.message)

    def as_json(self) -> dict[str, object]:
        body: dict[str, object] = {"code": self.code, "msg": self.message}
        return {**body, "detail": self.detail} if self.detail else body


class Invalid(Refused):
    """The request can never be carried out as it is."""


class NotReplaced(Refused):
    """A cancel-replace was not done as a whole; `data` has both results, each with its own answer or refusal."""

    def __init__(self, word: Word, *, data: dict[str, object]) -> None:
        super().__init__(word)
        self.data = data

    def as_json(self) -> dict[str, object]:
        return {**super().as_json(), "data": self.data}


class TooMany(Refused):
    """A limit is used up; the next window begins in `retry_after_s`."""

    def __init__(self, word: Word, *places: object, retry_after_s: int, detail: str = "") -> None:
        super().__init__(word, *places, detail=detail)
        self.retry_after_s = retry_after_s


class Unavailable(Refused):
    """We cannot answer now. Of a command that was sent the outcome is unknown (-1007)."""
