//! The matching kernel.
#![forbid(unsafe_code)]
#![deny(clippy::iter_over_hash_type)]

pub mod command;
pub mod event;
pub mod kernel;
pub mod listings;
pub mod names;
pub mod order;
pub mod refusal;
pub mod symbol_state;

pub use command::{Command, Stamp};
pub use event::Effects;
pub use kernel::{Diverged, Kernel};
