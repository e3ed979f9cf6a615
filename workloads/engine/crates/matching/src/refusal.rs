//! Why a command was refused. A refusal changes nothing but the memory of its command id.

use std::fmt;

use crate::names::{AssetName, ClientOrderId, HaltName, SymbolName};

/// Shown, it is a sentence for people; its reason is for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Invalid(&'static str),
    UnknownSymbol(SymbolName),
    UnknownAsset(AssetName),
    UnknownOrder,
    PriceOutOfRange {
        most: i64,
    },
    QuantityOutOfRange {
        most: i64,
    },
    NotionalTooSmall {
        least: i64,
    },
    InsufficientFunds {
        asset: AssetName,
        needed: i64,
        available: i64,
    },
    DuplicateClientOrderId(ClientOrderId),
    SymbolHalted(Box<HaltNotice>),
    SymbolCancelOnly(Box<HaltNotice>),
    Overflow(&'static str),
    Immutable(&'static str),
    UnknownHalt(HaltName),
}

/// The halt that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltNotice {
    pub halt: HaltName,
    pub reason: String,
}

impl fmt::Display for HaltNotice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "halt {}: {}", self.halt, self.reason)
    }
}

impl Refusal {
    /// Its number in `openbourse.v1.RejectReason`, which is also its number in the state hash.
    pub fn reason(&self) -> u32 {
        match self {
            Self::Invalid(_) => 1,
            Self::UnknownSymbol(_) => 2,
            Self::UnknownAsset(_) => 3,
            Self::UnknownOrder => 4,
            Self::PriceOutOfRange { .. } => 5,
            Self::QuantityOutOfRange { .. } => 6,
            Self::NotionalTooSmall { .. } => 7,
            Self::InsufficientFunds { .. } => 8,
            Self::DuplicateClientOrderId(_) => 9,
            Self::SymbolHalted(_) => 10,
            Self::SymbolCancelOnly(_) => 11,
            Self::Overflow(_) => 12,
            Self::Immutable(_) => 13,
            Self::UnknownHalt(_) => 14,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what) | Self::Overflow(what) | Self::Immutable(what) => {
                out.write_str(what)
            }
            Self::UnknownSymbol(symbol) => write!(out, "symbol {symbol} is not listed"),
            Self::UnknownAsset(asset) => write!(out, "asset {asset} is not defined"),
            Self::UnknownOrder => out.write_str("the account has no such order"),
            Self::PriceOutOfRange { most } => write!(out, "price_ticks: must be 1 to {most}"),
            Self::QuantityOutOfRange { most } => write!(out, "quantity_lots: must be 1 to {most}"),
            Self::NotionalTooSmall { least } => {
                write!(
                    out,
                    "price times quantity must be at least {least} quote min-units"
                )
            }
            Self::InsufficientFunds {
                asset,
                needed,
                available,
            } => {
                write!(
                    out,
                    "needs {needed} min-units of {asset}, {available} are available"
                )
            }
            Self::DuplicateClientOrderId(id) => {
                write!(out, "client_order_id {id} is that of an open order")
            }
            Self::SymbolHalted(notice) | Self::SymbolCancelOnly(notice) => notice.fmt(out),
            Self::UnknownHalt(halt) => write!(out, "no halt {halt} is in force"),
        }
    }
}
