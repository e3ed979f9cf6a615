//! The matching kernel of one shard: commands in, replies and events out.
//!
//! A pure function of its log. Nothing here reads a clock, a file or a socket, draws a random number, uses a float or
//! walks a hash table; seq, epoch and time come with each command. Integers are ticks, lots and min-units.
//!
//! # The rules
//!
//! **Orders.** LIMIT orders, GTC or IOC. An incoming order trades against the best price of the other side first, and
//! within a price against the oldest order first, always at the resting order's price. What is left
//! of a GTC order rests, what is left of an IOC order expires. An order's id is the seq of the command that placed it;
//! trade ids and book update ids count from 1 for each symbol. Two orders of one account may trade with each other.
//!
//! **Refusals**, in the order in which they are looked for: what is not well formed (INVALID), UNKNOWN_SYMBOL, the
//! symbol's state, price, quantity, notional, a client order id that an open order of the account has, funds. A
//! refusal changes nothing but the memory of its command id. A refused PlaceOrder that was well formed is an event,
//! OrderRejected; other refusals are replies only.
//!
//! **Money.** Before it can trade, an order holds the most that it can cost: a buy price x quantity in quote, a sell its
//! quantity in base. Each trade takes its part out of both holds, gives each side what it bought less its fee, and gives
//! a buyer that pays less than it held for the difference back at once. Fees are taken in the received asset and go to
//! account 1. A deposit comes out of account 2, the world outside, which is as far below zero as all others are
//! above. Every event carries its movements, and they sum to zero for each asset over available and hold. The movements
//! of a trade are: buyer quote, buyer base, seller base, seller quote, fees base, fees quote, without those that are
//! zero. All deposits of an asset together stay below 2^63, and so does every sum.
//!
//! **Events of one command**, in order. PlaceOrder: OrderAccepted, each TradeExecuted, OrderExpired, then one BookDelta
//! for each level that changed: the other side's in the order in which they were reached, then the order's own.
//! CancelOrder: OrderCanceled, BookDelta. DefineSymbol: SymbolDefined, and SymbolStateChanged when a halt waited for it.
//! ImposeHalt, LiftHalt: SymbolStateChanged for each symbol whose state changed, by name. What changes nothing (a
//! definition or a halt as it was) is done without an event.
//!
//! **Listings** can be defined again. An asset's scale and a symbol's assets, tick and lot never change; limits and fees
//! do, for trades and orders from then on.
//!
//! **Resends.** The ids of the last 100,000 commands are remembered with their replies; a resent id gets its first
//! reply, with its first seq, epoch and time, and does nothing else. The last 100,000 closed orders are remembered for
//! questions.
//!
//! **Checkpoints** hash the state ([`state_hash`](Kernel::state_hash)). A checkpoint that names the one before with
//! another hash than this kernel had there is [`Diverged`].
#![forbid(unsafe_code)]
#![deny(clippy::iter_over_hash_type)]

pub mod accounts;
mod closed_orders;
pub mod command;
pub mod event;
mod fees;
mod ids;
mod index;
pub mod kernel;
pub mod limit_book;
pub mod listings;
mod matching;
pub mod names;
pub mod order;
pub mod order_book;
mod order_index;
mod price_levels;
pub mod queries;
pub mod refusal;
mod state_hash;
pub mod symbol_state;
mod table;

pub use command::{Command, Stamp};
pub use event::Effects;
pub use kernel::{Diverged, Kernel, Windows};
