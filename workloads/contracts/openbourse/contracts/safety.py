"""When a shard protects its traders from its own lag: the limits as people write them, and the command that sets them.

Limits are of settlement lag alone: nothing publishes the committed stream yet, so nothing can be unpublished.
"""

from typing import Self

from pydantic import Field, model_validator

from openbourse.contracts import v1
from openbourse.contracts.documents import Document

LIMIT_SECONDS_MOST = 86_400
ORDERS_PER_SECOND_MOST = 1_000_000
LIMITS_SENTENCE = "throttleSeconds, cancelOnlySeconds and haltSeconds must grow in this order, those that are not 0"
THROTTLED_SENTENCE = "throttledOrdersPerSecond must be at least 1 where throttleSeconds is not 0"


class LagLimits(Document):
    """Seconds of lag at which a level begins; it ends below half of them. 0: never."""

    throttle_seconds: int = Field(
        default=5, ge=0, le=LIMIT_SECONDS_MOST, description="few orders are accepted from here on; 0: never"
    )
    cancel_only_seconds: int = Field(
        default=15, ge=0, le=LIMIT_SECONDS_MOST, description="orders can only be cancelled from here on; 0: never"
    )
    halt_seconds: int = Field(
        default=60, ge=0, le=LIMIT_SECONDS_MOST, description="nothing is accepted from here on; 0: never"
    )


class Safety(Document):
    """What a shard does about lag. Raises ValueError (with what is allowed) when the limits do not fit together."""

    settlement_lag: LagLimits = Field(
        default_factory=LagLimits,
        description="how long ago the oldest command was committed that the ledger has not settled",
    )
    throttled_orders_per_second: int = Field(
        default=1000, ge=0, le=ORDERS_PER_SECOND_MOST, description="accepted in a second while the shard throttles"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        limits = self.settlement_lag
        ordered = [limits.throttle_seconds, limits.cancel_only_seconds, limits.halt_seconds]
        ordered = [limit for limit in ordered if limit]
        if ordered != sorted(set(ordered)):
            raise ValueError(LIMITS_SENTENCE)
        if limits.throttle_seconds and not self.throttled_orders_per_second:
            raise ValueError(THROTTLED_SENTENCE)
        return self

    def configuration(self) -> v1.ConfigureSafety:
        limits = self.settlement_lag
        settlement = v1.SafetyLimits(
            throttle=limits.throttle_seconds * 1000,
            cancel_only=limits.cancel_only_seconds * 1000,
            halt=limits.halt_seconds * 1000,
        )
        configuration = v1.ConfigureSafety(throttled_orders_per_second=self.throttled_orders_per_second)
        if settlement != v1.SafetyLimits():
            configuration.settlement_lag_ms.CopyFrom(settlement)
        return configuration
