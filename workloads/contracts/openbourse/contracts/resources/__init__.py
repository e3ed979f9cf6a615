"""The custom resources of OpenBourse: pydantic models, and the CustomResourceDefinitions made from them."""

from openbourse.contracts.resources.engine_shard import (
    EngineShard,
    EngineShardSpec,
    EngineShardStatus,
)
from openbourse.contracts.resources.exchange import Exchange, ExchangeSpec, ExchangeStatus
from openbourse.contracts.resources.halt import (
    Acknowledgement,
    AcknowledgementState,
    Halt,
    HaltMode,
    HaltSpec,
    HaltStatus,
    Reopening,
    ReopenMode,
)
from openbourse.contracts.resources.meta import API_VERSION, GROUP, VERSION, Condition, CustomResource, Metadata
from openbourse.contracts.resources.symbol import Symbol, SymbolSpec, SymbolStatus

__all__ = [
    "API_VERSION",
    "GROUP",
    "VERSION",
    "Acknowledgement",
    "AcknowledgementState",
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
    "ReopenMode",
    "Reopening",
    "Symbol",
    "SymbolSpec",
    "SymbolStatus",
]
