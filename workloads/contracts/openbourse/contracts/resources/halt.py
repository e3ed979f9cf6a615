"""A halt: asked for by a person, carried out and acknowledged by the engines themselves."""

import datetime
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from openbourse.contracts.documents import DURATION_PATTERN, SymbolName, duration_sentence, parse_duration
from openbourse.contracts.market_states import HaltMode, ReopenMode
from openbourse.contracts.resources.meta import (
    AGE,
    Column,
    CustomResource,
    Status,
    Stored,
    kind,
    list_map,
    rule,
    rules,
)


class AcknowledgementState(StrEnum):
    HALTED = "Halted"
    LIFTED = "Lifted"
    REFUSED = "Refused"


class Reopening(Stored):
    """What comes between a halt and trading."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "(self.mode == 'TRADING') == (self.seconds == 0)",
                "seconds says how long POST_ONLY or AUCTION takes, 1 to 86400; TRADING comes at once and has none",
            )
        )
    )

    mode: ReopenMode = Field(
        default=ReopenMode.TRADING,
        description="TRADING at once; POST_ONLY takes orders that rest; AUCTION collects orders for one price",
    )
    seconds: int = Field(default=0, ge=0, le=86_400, description="how long POST_ONLY or AUCTION takes")


ShardName = Annotated[str, Field(min_length=1, max_length=20)]


class HaltSpec(Stored):
    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.duration) != (has(self.untilLifted) && self.untilLifted)",
                "give exactly one of duration (such as 15m) and untilLifted: true",
            ),
            rule(
                "size(self.symbols) == 0 || size(self.shards) == 0",
                "give symbols or shards, not both; neither halts the whole exchange",
            ),
            rule(
                "!self.twoPerson || (has(self.untilLifted) && self.untilLifted)",
                "a Halt with twoPerson stands until a second person lifts it: give untilLifted: true, no duration",
            ),
            rule(
                "!self.twoPerson || has(self.requester)",
                "a Halt with twoPerson says who asks for it: give requester, your name as kubectl auth whoami says it",
            ),
            rule("self == oldSelf", "a Halt never changes: delete it to lift it, make a new one to ask for another"),
        )
    )

    exchange: str = Field(min_length=1, max_length=20)
    symbols: tuple[SymbolName, ...] = Field(
        default=(),
        max_length=64,
        description="none: every symbol, those listed later included",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    shards: tuple[ShardName, ...] = Field(
        default=(),
        max_length=64,
        description="every symbol of these shards, those listed later included; none: of every shard",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    mode: HaltMode = Field(
        default=HaltMode.HALT,
        description="HALT accepts nothing, CANCEL_ONLY cancels, POST_ONLY cancels and orders that rest",
    )
    reopen: Reopening = Field(default_factory=Reopening, description="how trading begins again")
    reason: str = Field(
        min_length=1,
        max_length=256,
        description="what traders are told",
        json_schema_extra=rules(rule("self.matches('[^ ]')", "reason must say why, in 1 to 256 characters")),
    )
    duration: str | None = Field(
        default=None,
        max_length=16,
        description="after this time the halt lifts itself",
        json_schema_extra=rules(
            rule(
                f"self.matches('{DURATION_PATTERN}') && self.matches('[1-9]')",
                duration_sentence("duration"),
            )
        ),
    )
    until_lifted: bool | None = Field(default=None, description="the halt stands until this object is deleted")
    requester: str | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="user who asks for it; the chart's admission policy takes nobody else's name",
    )
    two_person: bool = Field(
        default=False, description="lifted by another user than the requester alone, held by the admission policy"
    )

    def concerns(self, shard: str) -> bool:
        """Whether the engines of a shard carry it out: of symbols every shard does, for those that it lists later."""
        return not self.shards or shard in self.shards

    def covers(self, symbol: str, shard: str) -> bool:
        """Whether it holds a symbol that this shard trades."""
        return self.concerns(shard) and (not self.symbols or symbol in self.symbols)

    def scope(self, shards: Iterable[str], traded: Iterable[tuple[str, str]]) -> list[str]:
        """Those of `shards`, by name, that have to acknowledge it. `traded`: symbols, each with a shard of it."""
        holding = {shard for symbol, shard in traded if symbol in self.symbols}
        return sorted(shard for shard in shards if self.concerns(shard) and (not self.symbols or shard in holding))

    @property
    def lasts(self) -> datetime.timedelta | None:
        """None: until it is deleted."""
        return None if self.duration is None else parse_duration(self.duration)


class Acknowledgement(Stored):
    """One shard's answer. Only the engine of that shard writes it."""

    shard: str = Field(max_length=63)
    epoch: int
    seq: int = Field(description="the place of the halt, or of its lifting, in the shard's order of everything")
    state: AcknowledgementState
    at: datetime.datetime = Field(description="when the engine carried it out")
    message: str = Field(default="", max_length=512)


class HaltStatus(Status):
    acknowledgements: tuple[Acknowledgement, ...] = Field(
        default=(), max_length=64, json_schema_extra=list_map("shard")
    )

    def by(self, shard: str) -> Acknowledgement | None:
        return next((entry for entry in self.acknowledgements if entry.shard == shard), None)


class Halt(CustomResource):
    """Stops trading of an exchange, of shards or of symbols, until it is deleted or its time is over."""

    spec: HaltSpec
    status: HaltStatus = Field(default_factory=HaltStatus)

    resource = kind("halts", "Halt")
    short_names = ("hlt",)
    columns = (
        Column(name="Exchange", type="string", json_path=".spec.exchange"),
        Column(name="Mode", type="string", json_path=".spec.mode"),
        Column(name="Requester", type="string", json_path=".spec.requester"),
        Column(name="Acknowledged", type="string", json_path='.status.conditions[?(@.type=="Acknowledged")].status'),
        Column(name="Expired", type="string", json_path='.status.conditions[?(@.type=="Expired")].status'),
        Column(name="Reason", type="string", json_path=".spec.reason"),
        AGE,
    )
    object_rules = (rule("size(self.metadata.name) <= 63", "the name of a Halt may have at most 63 characters"),)

    @property
    def ends_at(self) -> datetime.datetime | None:
        """When it lifts itself. None: when it is deleted."""
        lasts = self.spec.lasts
        if lasts is None:
            return None
        assert self.metadata.creation_timestamp is not None
        return self.metadata.creation_timestamp + lasts
