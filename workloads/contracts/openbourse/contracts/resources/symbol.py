"""A symbol and where it is traded. Its name is base and quote in lower case, so a namespace has each symbol once."""

import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from openbourse.contracts.documents import DURATION_PATTERN, duration_sentence
from openbourse.contracts.resources.meta import AGE, Column, CustomResource, Status, Stored, kind, rule, rules
from openbourse.contracts.symbols import SymbolTerms

_FIXED = ("exchange", "base", "quote", "tickSize", "lotSize")
_FEES = ("makerFee", "takerFee")
_SHARES = ("marketCollar", "staticBand", "dynamicBand")
_BANDS = ("bidBand", "askBand")


def _decimals(field: str) -> str:
    return f"(self.{field}.contains('.') ? size(self.{field}) - self.{field}.indexOf('.') - 1 : 0)"


class SymbolSpec(SymbolTerms):
    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra=rules(
            rule("self.base != self.quote", "base and quote must be two assets"),
            *(
                rule(f"self.{field} == oldSelf.{field}", f"{field} never changes once a symbol is listed")
                for field in _FIXED
            ),
            *(
                rule(f"self.{field}.matches('[1-9]')", f"{field} must be greater than 0")
                for field in ("tickSize", "lotSize", "maxPrice", "maxQuantity")
            ),
            rule(
                f"{_decimals('tickSize')} + {_decimals('lotSize')} <= 18",
                "tickSize and lotSize together may have at most 18 decimals, so that price times quantity is exact",
            ),
            *(
                rule(f"double(self.{least}) <= double(self.{most})", f"{least} may be at most {most}")
                for least, most in (
                    *(("minPrice", "maxPrice"), ("minQuantity", "maxQuantity")),
                    *(("marketMaxQuantity", "maxQuantity"), ("referencePrice", "maxPrice")),
                )
            ),
            rule(
                "!self.maxNotional.matches('[1-9]') || double(self.minNotional) <= double(self.maxNotional)",
                "minNotional may be at most maxNotional",
            ),
            *(rule(f"double(self.{field}) <= 0.1", f"{field} may be at most 0.1, which is 10 %") for field in _FEES),
            *(
                rule(f"double(self.{field}) < 1.0", f"{field} must be less than 1: it is a share of the price")
                for field in _SHARES
            ),
            *(
                rule(f"{_decimals(field)} <= 6", f"{field} may have at most 6 decimals")
                for field in (*_FEES, *_SHARES, *(f"{band}.{end}" for band in _BANDS for end in ("lowest", "highest")))
            ),
            *(
                rule(
                    f"!self.{band}.highest.matches('[1-9]') || "
                    f"double(self.{band}.lowest) <= double(self.{band}.highest)",
                    f"{band}.lowest may be at most {band}.highest",
                )
                for band in _BANDS
            ),
            rule(
                f"self.volatilityAuction.matches('{DURATION_PATTERN}') && self.volatilityAuction.matches('[1-9]')",
                duration_sentence("volatilityAuction"),
            ),
        ),
    )

    exchange: str = Field(min_length=1, max_length=20)
    shard: str = Field(
        default="main",
        min_length=1,
        max_length=20,
        description="the EngineShard that is to trade it: another one moves it there, with its orders and their funds",
    )

    @property
    def name(self) -> str:
        return self.base + self.quote


class MoveState(StrEnum):
    """Asked: the ledgers may not know of it yet. Refused: they never began it. The others are theirs."""

    ASKED = "Asked"
    REQUESTED = "Requested"
    WILLING = "Willing"
    FROZEN = "Frozen"
    IMPORTED = "Imported"
    COMPLETED = "Completed"
    ABANDONED = "Abandoned"
    UNDONE = "Undone"
    REFUSED = "Refused"


ARRIVED = frozenset({MoveState.IMPORTED, MoveState.COMPLETED})
OVER = frozenset({MoveState.COMPLETED, MoveState.UNDONE, MoveState.REFUSED})


class SymbolMove(Stored):
    """The last move to another shard, or the one that is under way."""

    id: str | None = Field(
        default=None,
        max_length=36,
        description="as the ledgers know it: it follows from the Symbol's uid and the generation that asked; none: a "
        "person moved it, by `openbourse ledger move-symbol`",
    )
    from_shard: str = Field(max_length=20)
    to_shard: str = Field(max_length=20)
    state: MoveState = Field(
        description="Requested, Willing: traded where it was; Frozen: on its way; Imported, Completed: traded where it "
        "went; Abandoned, Undone, Refused: traded where it was"
    )
    since: datetime.datetime = Field(description="of the state")
    generation: int = Field(description="of the spec that asked for it; a later one asks anew")
    paused_ms: int | None = Field(
        default=None, description="how long it was traded in neither, from freeze to import by the engines' clocks"
    )
    reason: str = Field(default="", max_length=512, description="why it was undone or refused, or waits")
    tried_at: datetime.datetime | None = Field(
        default=None, description="when a ledger was asked last and did not do it"
    )

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def where(self) -> str:
        """The shard that has it, or had it last."""
        return self.to_shard if self.state in ARRIVED else self.from_shard


class SymbolStatus(Status):
    shard: str | None = Field(default=None, max_length=63, description="the shard that has it")
    move: SymbolMove | None = Field(default=None, description="the last move to another shard")
    state: str | None = Field(
        default=None, max_length=32, description="TRADING, AUCTION, POST_ONLY, CANCEL_ONLY or HALT: what is accepted"
    )
    held_by: str | None = Field(
        default=None,
        max_length=253,
        description="what keeps it from trading: Halt/NAME, direct:NAME (`kubectl bourse lift --direct`), safety (the "
        "ledger lags), or phase (an auction, or what comes before one)",
    )

    @property
    def home(self) -> str | None:
        """The shard that has it; None: that was not said yet, or was lost."""
        return self.move.where if self.move is not None else self.shard


class Symbol(CustomResource):
    """A symbol of an exchange: what is traded for what, in which steps, at which fees."""

    spec: SymbolSpec
    status: SymbolStatus = Field(default_factory=SymbolStatus)

    resource = kind("symbols", "Symbol")
    short_names = ("sym",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="Shard", type="string", json_path=".status.shard"),
        Column(name="Listed", type="string", json_path='.status.conditions[?(@.type=="Listed")].status'),
        Column(name="State", type="string", json_path=".status.state"),
        Column(name="HeldBy", type="string", json_path=".status.heldBy"),
        Column(name="Moving", type="string", json_path='.status.conditions[?(@.type=="Moving")].status'),
        Column(name="Tick", type="string", json_path=".spec.tickSize"),
        Column(name="Lot", type="string", json_path=".spec.lotSize"),
        AGE,
    )
    object_rules = (
        rule(
            "self.metadata.name == (self.spec.base + self.spec.quote).lowerAscii()",
            "the name of a Symbol is its base and quote in lower case, such as btcusdt",
        ),
        rule(
            "self.spec.shard == oldSelf.spec.shard || !has(self.status) || !has(self.status.move) "
            f"|| self.status.move.state in {sorted(str(state) for state in OVER)} "
            "|| self.spec.shard in [self.status.move.fromShard, self.status.move.toShard]",
            "a symbol that is on its way between two shards (status.move) goes to the one or back to the other: wait "
            "until it is there before it is sent on",
        ),
    )
