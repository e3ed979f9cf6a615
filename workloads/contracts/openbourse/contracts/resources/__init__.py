"""The custom resources of OpenBourse: pydantic models, and the CustomResourceDefinitions made from them."""

from openbourse.contracts.market_states import HaltMode, ReopenMode
from openbourse.contracts.resources.api_key import ApiKey, ApiKeySpec, ApiKeyStatus
from openbourse.contracts.resources.engine_shard import (
    EngineShard,
    EngineShardSpec,
    EngineShardStatus,
    Switchover,
)
from openbourse.contracts.resources.exchange import Exchange, ExchangeSpec, ExchangeStatus
from openbourse.contracts.resources.halt import (
    Acknowledgement,
    AcknowledgementState,
    Halt,
    HaltSpec,
    HaltStatus,
    Reopening,
)
from openbourse.contracts.resources.meta import API_VERSION, GROUP, VERSION, Condition, CustomResource, Metadata
from openbourse.contracts.resources.rehearsal import (
    Phase,
    Rehearsal,
    RehearsalSpec,
    RehearsalStatus,
    Scenario,
    Verdict,
)
from openbourse.contracts.resources.rehearsal_schedule import (
    RehearsalSchedule,
    RehearsalScheduleSpec,
    RehearsalScheduleStatus,
)
from openbourse.contracts.resources.symbol import MoveState, Symbol, SymbolMove, SymbolSpec, SymbolStatus
from openbourse.contracts.resources.trading_limit import TradingLimit, TradingLimitSpec, TradingLimitStatus

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "Acknowledgement",
    "AcknowledgementState",
    "ApiKey",
    "ApiKeySpec",
    "ApiKeyStatus",
    "Condition",
    "CustomResource",
    "EngineShard",
    "EngineShardSpec",
    "EngineShardStatus",
    "Exchange",
    "ExchangeSpec",
    "ExchangeStatus",
    "Halt",
    "HaltMode",
    "HaltSpec",
    "HaltStatus",
    "Metadata",
    "MoveState",
    "Phase",
    "Rehearsal",
    "RehearsalSchedule",
    "RehearsalScheduleSpec",
    "RehearsalScheduleStatus",
    "RehearsalSpec",
    "RehearsalStatus",
    "ReopenMode",
    "Reopening",
    "Scenario",
    "Switchover",
    "Symbol",
    "SymbolMove",
    "SymbolSpec",
    "SymbolStatus",
    "TradingLimit",
    "TradingLimitSpec",
    "TradingLimitStatus",
    "Verdict",
]
