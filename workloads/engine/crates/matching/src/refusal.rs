//! Why a command was refused. A refusal changes nothing but the memory of its command id.

use std::fmt;

use crate::bands::PriceBand;
use crate::names::{AssetName, ClientOrderId, HaltName, ShardName, SymbolName};
use crate::symbol_state::{Decider, SymbolState};

/// Shown, it is a sentence for people; its reason is for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    Invalid(&'static str),
    UnknownSymbol(SymbolName),
    UnknownAsset(AssetName),
    UnknownOrder,
    PriceOutOfRange {
        least: i64,
        most: i64,
    },
    QuantityOutOfRange {
        least: i64,
        most: i64,
    },
    NotionalTooSmall {
        least: i64,
    },
    InsufficientFunds {
        asset: AssetName,
        /// May be more than any balance can be.
        needed: i128,
        available: i64,
    },
    DuplicateClientOrderId(ClientOrderId),
    /// In HALT, CANCEL_ONLY, POST_ONLY or AUCTION, which has its own reason.
    NotInState {
        state: SymbolState,
        decider: Box<Decider>,
    },
    Overflow(&'static str),
    Immutable(&'static str),
    UnknownHalt(HaltName),
    PriceOutOfBand {
        band: PriceBand,
        reference_ticks: i64,
    },
    NotionalTooLarge {
        most: i64,
    },
    WouldTake {
        best_ticks: i64,
    },
    TooManyOpenOrders {
        most: u32,
    },
    OpenNotionalExceeded {
        asset: AssetName,
        most: i64,
    },
    OrderRateExceeded {
        most: u32,
        interval_ms: i64,
    },
    AccountKilled,
    Throttled {
        most: u32,
    },
    RecentClientOrderId(ClientOrderId),
    QuantityNotLower {
        below: i64,
        above: i64,
    },
    InvalidTransition(Transition),
    UnknownVersion(u32),
    /// Executed in part, or not.
    CancelRestricted {
        executed: bool,
    },
    NotAttempted,
    /// It is to be in that shard soon, or here again: worth another try there and here.
    SymbolMoving(ShardName),
    SymbolMoved(ShardName),
    /// A move, or a part of it, cannot be done.
    MoveRefused(&'static str),
    /// What another shard said, whose answer came with a symbol.
    Told {
        reason: u32,
        detail: Box<str>,
    },
}

/// Why a symbol cannot go where it is told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    Unknown { from: SymbolState, to: SymbolState },
    AuctionEndsIn(SymbolState),
    Uncrossing,
}

impl Refusal {
    /// Of a symbol that is elsewhere, or soon will be: the same command may come again, there or here, and is carried
    /// out then. There is no event of it either.
    pub(crate) fn is_not_remembered(&self) -> bool {
        matches!(self, Self::SymbolMoving(_) | Self::SymbolMoved(_))
    }

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
            Self::NotInState { state, .. } => match state {
                SymbolState::Halt => 10,
                SymbolState::CancelOnly => 11,
                SymbolState::PostOnly => 18,
                SymbolState::Trading | SymbolState::Auction => 19,
            },
            Self::Overflow(_) => 12,
            Self::Immutable(_) => 13,
            Self::UnknownHalt(_) => 14,
            Self::PriceOutOfBand { .. } => 15,
            Self::NotionalTooLarge { .. } => 16,
            Self::WouldTake { .. } => 17,
            Self::TooManyOpenOrders { .. } => 20,
            Self::OpenNotionalExceeded { .. } => 21,
            Self::OrderRateExceeded { .. } => 22,
            Self::AccountKilled => 23,
            Self::Throttled { .. } => 24,
            Self::RecentClientOrderId(_) => 25,
            Self::QuantityNotLower { .. } => 26,
            Self::InvalidTransition(_) => 27,
            Self::UnknownVersion(_) => 28,
            Self::CancelRestricted { .. } => 29,
            Self::NotAttempted => 30,
            Self::SymbolMoving(_) => 31,
            Self::SymbolMoved(_) => 32,
            Self::MoveRefused(_) => 33,
            Self::Told { reason, .. } => *reason,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(what)
            | Self::Overflow(what)
            | Self::Immutable(what)
            | Self::MoveRefused(what) => out.write_str(what),
            Self::SymbolMoving(shard) => write!(out, "the symbol is moving to shard {shard}"),
            Self::SymbolMoved(shard) => write!(out, "the symbol has moved to shard {shard}"),
            Self::Told { detail, .. } => out.write_str(detail),
            Self::UnknownSymbol(symbol) => write!(out, "symbol {symbol} is not listed"),
            Self::UnknownAsset(asset) => write!(out, "asset {asset} is not defined"),
            Self::UnknownOrder => out.write_str("the account has no such order"),
            Self::PriceOutOfRange { least, most } => {
                write!(out, "price_ticks: must be {least} to {most}")
            }
            Self::QuantityOutOfRange { least, most } => {
                write!(out, "quantity_lots: must be {least} to {most}")
            }
            Self::NotionalTooSmall { least } => write!(
                out,
                "price times quantity must be at least {least} quote min-units"
            ),
            Self::NotionalTooLarge { most } => write!(
                out,
                "price times quantity must be at most {most} quote min-units"
            ),
            Self::InsufficientFunds {
                asset,
                needed,
                available,
            } => write!(
                out,
                "needs {needed} min-units of {asset}, {available} are available"
            ),
            Self::DuplicateClientOrderId(id) => {
                write!(out, "client_order_id {id} is that of an open order")
            }
            Self::RecentClientOrderId(id) => write!(
                out,
                "client_order_id {id} is that of an order closed less than 300 seconds ago"
            ),
            Self::NotInState { decider, .. } => decider.fmt(out),
            Self::UnknownHalt(halt) => write!(out, "no halt {halt} is in force"),
            Self::PriceOutOfBand {
                band:
                    PriceBand {
                        lowest_ppm,
                        highest_ppm,
                    },
                reference_ticks,
            } => write!(
                out,
                "price_ticks: must be {lowest_ppm} to {highest_ppm} ppm of the reference price {reference_ticks}"
            ),
            Self::WouldTake { best_ticks } => {
                write!(out, "the order would trade at {best_ticks}")
            }
            Self::TooManyOpenOrders { most } => {
                write!(out, "at most {most} open orders are allowed")
            }
            Self::OpenNotionalExceeded { asset, most } => write!(
                out,
                "open orders may be worth at most {most} min-units of {asset}"
            ),
            Self::OrderRateExceeded { most, interval_ms } => {
                write!(out, "at most {most} orders in {interval_ms} ms are allowed")
            }
            Self::AccountKilled => out.write_str("the account's kill switch is on"),
            Self::Throttled { most } => {
                write!(out, "at most {most} orders a second are accepted")
            }
            Self::QuantityNotLower { below, above } => {
                write!(
                    out,
                    "quantity_lots: must be below {below} and above {above}"
                )
            }
            Self::InvalidTransition(transition) => transition.fmt(out),
            Self::UnknownVersion(version) => write!(
                out,
                "version {version} is unknown, or lower than the one in force"
            ),
            Self::CancelRestricted { executed: true } => {
                out.write_str("the order was executed in part")
            }
            Self::CancelRestricted { executed: false } => {
                out.write_str("the order was not executed")
            }
            Self::NotAttempted => out.write_str("the cancel was refused"),
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { from, to } => write!(out, "a symbol cannot go from {from} to {to}"),
            Self::AuctionEndsIn(state) => {
                write!(out, "the auction cannot end while the state is {state}")
            }
            Self::Uncrossing => out.write_str("the auction is being uncrossed"),
        }
    }
}
