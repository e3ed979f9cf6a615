//! The matching kernel of one shard: commands in, replies and events out.
//!
//! A pure function of its log. Nothing here reads a clock, a file or a socket, draws a random number, uses a float or
//! walks a hash table; seq, epoch and time come with each command. Integers are ticks, lots and min-units.
//!
#![doc = include_str!("../RULES.md")]
#![forbid(unsafe_code)]
#![deny(clippy::iter_over_hash_type)]

pub mod account_limits;
pub mod accounts;
mod amend;
pub mod auction;
pub mod bands;
mod cancel;
mod closed_orders;
pub mod command;
mod countdowns;
mod digests;
mod encoding;
pub mod event;
pub mod fees;
mod foresight;
mod funds;
mod halts;
mod ids;
mod index;
pub mod kernel;
pub mod limit_book;
pub mod listings;
mod matching;
mod moves;
pub mod names;
pub mod order;
pub mod order_book;
mod order_index;
mod place;
pub mod planted;
mod price_levels;
pub mod queries;
pub mod record;
pub mod refusal;
mod risk;
pub mod safety;
mod self_trade;
pub mod snapshot;
mod state_hash;
mod state_hash_v1;
mod stored;
mod stored_values;
pub mod symbol_state;
mod table;
pub mod version;
mod window;

pub use command::{Command, Stamp};
pub use event::Effects;
pub use halts::REASON_MOST;
pub use kernel::{Diverged, Kernel, Windows};
pub use moves::RecordPart;
pub use version::Version;
