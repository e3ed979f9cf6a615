//! Bytes in, bytes out, around the kernel: the messages of `openbourse.v1`, what they mean in the kernel's own types,
//! and a shard that takes encoded commands and gives encoded replies, events and answers.
//!
//! Decides nothing but whether a message can be said in the kernel's types. No I/O, no clock, and no input that panics.
//! What is drawn at random is the kernel's key, which changes no result.
#![forbid(unsafe_code)]

mod answer;
mod decode;
mod encode;
mod moves;
mod shard;

pub use openbourse_matching::snapshot::Unusable;
pub use openbourse_matching::symbol_state::SymbolState;
pub use openbourse_matching::{Diverged, Stamp, Version, Windows};
pub use shard::{Decoded, HaltInForce, Markets, Shard};

/// Generated from `workloads/contracts/openbourse/contracts/v1`.
pub mod v1 {
    #![allow(clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/openbourse.v1.rs"));
}
