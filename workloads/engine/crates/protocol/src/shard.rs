//! A kernel with bytes around it.

use openbourse_matching::event::Outcome;
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Command, Diverged, Effects, Kernel, Stamp, command};
use prost::Message;

use crate::v1;

/// One shard: commands, queries, replies, answers and events as encoded messages.
pub struct Shard {
    kernel: Kernel,
    effects: Effects,
}

/// A halt that has been imposed and not lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltInForce {
    pub name: String,
    pub state: SymbolState,
    /// By name. None: every symbol.
    pub symbols: Vec<String>,
    pub reason: String,
    /// Of the command that imposed it.
    pub epoch: u64,
    pub seq: u64,
}

impl Shard {
    pub fn new(shard: &str) -> Self {
        Self {
            kernel: Kernel::new(shard),
            effects: Effects::new(),
        }
    }

    /// Takes an encoded `v1::Command`. Appends the encoded `v1::Reply` to `reply`, and to `events` each `v1::Event` as
    /// field 4 of `v1::Events`, so that what several commands append is one valid repeated field.
    pub fn step(
        &mut self,
        stamp: Stamp,
        command: &[u8],
        reply: &mut Vec<u8>,
        events: &mut Vec<u8>,
    ) -> Result<(), Diverged> {
        let _ = (command, events);
        let command = Command {
            id: None,
            body: command::Body::Invalid("command: must be an openbourse.v1.Command"),
        };
        self.kernel.step(stamp, &command, &mut self.effects)?;
        if let Some(made) = &self.effects.reply
            && let Outcome::Refused(refusal) = &made.outcome
        {
            let refused = v1::Rejection {
                reason: i32::try_from(refusal.reason()).unwrap_or(0),
                detail: refusal.to_string(),
            };
            v1::Reply {
                command_id: Vec::new(),
                shard: self.kernel.shard().into(),
                epoch: made.stamp.epoch,
                seq: made.stamp.seq,
                occurred_at_us: made.stamp.time_us,
                result: Some(v1::reply::Result::Rejection(refused)),
            }
            .encode(reply)
            .expect("a vector grows");
        }
        Ok(())
    }

    /// Appends the encoded `v1::Answer` as of `seq()`.
    pub fn answer(&self, epoch: u64, query: &v1::Query, answer: &mut Vec<u8>) {
        v1::Answer {
            query_id: query.query_id,
            shard: self.kernel.shard().into(),
            epoch,
            seq: self.seq(),
            body: None,
        }
        .encode(answer)
        .expect("a vector grows");
    }

    pub fn state_hash(&self) -> [u8; 32] {
        self.kernel.state_hash()
    }

    pub fn seq(&self) -> u64 {
        self.kernel.seq()
    }

    /// Seq and state hash of the last EngineCheckpoint.
    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        None
    }

    /// By name.
    pub fn halts(&self) -> Vec<HaltInForce> {
        Vec::new()
    }
}
