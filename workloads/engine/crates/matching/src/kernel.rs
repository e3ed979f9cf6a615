//! One shard's state, moved on by one command at a time.

use crate::command::{Body, Command, Stamp};
use crate::event::{Effects, Outcome, Reply};
use crate::refusal::Refusal;

pub struct Kernel {
    shard: String,
    seq: u64,
}

/// A checkpoint in the log names another state than the one that this kernel had there: it must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverged {
    pub seq: u64,
    pub recorded: [u8; 32],
    /// None: the kernel has no checkpoint at that seq.
    pub computed: Option<[u8; 32]>,
}

impl Kernel {
    pub fn new(shard: &str) -> Self {
        Self {
            shard: shard.into(),
            seq: 0,
        }
    }

    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The last command's; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn step(
        &mut self,
        stamp: Stamp,
        command: &Command,
        effects: &mut Effects,
    ) -> Result<(), Diverged> {
        assert_eq!(
            stamp.seq,
            self.seq + 1,
            "a command is missing or came twice"
        );
        effects.clear();
        let outcome = match &command.body {
            Body::Invalid(what) => Outcome::Refused(Refusal::Invalid(what)),
            _ => Outcome::Refused(Refusal::Invalid("body: not carried out by this version")),
        };
        effects.reply = Some(Reply {
            command_id: command.id,
            stamp,
            outcome,
        });
        self.seq = stamp.seq;
        Ok(())
    }

    pub fn state_hash(&self) -> [u8; 32] {
        [0; 32]
    }
}
