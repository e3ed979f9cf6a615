//! A kernel with bytes around it.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use openbourse_matching::command::{Command, CommandId};
use openbourse_matching::safety::Lag;
use openbourse_matching::snapshot::Unusable;
use openbourse_matching::symbol_state::{Decider, SymbolState};
use openbourse_matching::{Diverged, Effects, Kernel, Stamp, Version, Windows};
use prost::Message;
use prost::encoding::message;

use crate::encode::Envelope;
use crate::{answer, decode, encode, v1};

/// Of `events` in `openbourse.v1.Events`.
const EVENTS_FIELD: u32 = 4;

/// As W3C Trace Context has it: version, trace id, span id, flags.
const TRACEPARENT_BYTES: usize = 55;

/// One shard: commands, queries, replies, answers and events as encoded messages.
pub struct Shard {
    kernel: Kernel,
    effects: Effects,
    /// Of the last command.
    traceparent: String,
}

/// A command as the kernel takes it, and what of its message the events repeat.
pub struct Decoded {
    pub command: Command,
    correlation_id: String,
    causation_id: String,
    traceparent: String,
}

impl Decoded {
    /// Of an encoded `v1::Command`, or of any other bytes: then of one that is refused.
    pub fn of(command: &[u8], version: Version) -> Self {
        let message = v1::Command::decode(command).ok();
        let command = decode::command(message.as_ref(), version);
        let mut message = message.unwrap_or_default();
        // Nothing depends on it, so one that is none is dropped, not refused: a binary that does not know the field yet
        // makes the same state of the log.
        if message.traceparent.len() != TRACEPARENT_BYTES {
            message.traceparent.clear();
        }
        Self {
            command,
            correlation_id: message.correlation_id,
            causation_id: message.causation_id,
            traceparent: message.traceparent,
        }
    }

    /// Appends what the command did, as `Shard::step` does. The effects are those of this kernel's last step.
    pub fn encode(
        &self,
        kernel: &Kernel,
        effects: &Effects,
        reply: &mut Vec<u8>,
        events: &mut Vec<u8>,
    ) {
        let made = effects.reply.as_ref().expect("every step has a reply");
        encode::reply(kernel, made)
            .encode(reply)
            .expect("a vector has room");
        let envelope = Envelope {
            kernel,
            stamp: made.stamp,
            correlation_id: &self.correlation_id,
            causation_id: &self.causation_id,
            traceparent: &self.traceparent,
        };
        for (index, (event, movements)) in (0..).zip(effects.events()) {
            let event = envelope.event(index, event, movements);
            message::encode(EVENTS_FIELD, &event, events);
        }
    }
}

/// A halt that has been imposed and not lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaltInForce {
    pub name: String,
    pub state: SymbolState,
    /// By name. None: every symbol.
    pub symbols: Vec<String>,
    pub reason: String,
    /// Of the command that imposed it, or last changed it.
    pub epoch: u64,
    pub seq: u64,
}

impl Shard {
    /// As a log begins: with version 1.
    pub fn new(shard: &str) -> Self {
        Self::at_version(Version::One, shard, Windows::default())
    }

    pub fn at_version(version: Version, shard: &str, windows: Windows) -> Self {
        Self {
            kernel: Kernel::keyed(version, shard, windows, secret()),
            effects: Effects::new(),
            traceparent: String::new(),
        }
    }

    /// That which `write_snapshot` wrote. No bytes make it panic.
    pub fn of_snapshot(bytes: &[u8]) -> Result<Self, Unusable> {
        Ok(Self {
            kernel: Kernel::read_snapshot(bytes, secret())?,
            effects: Effects::new(),
            traceparent: String::new(),
        })
    }

    /// Appends the whole state, which costs time and bytes in proportion to it.
    pub fn write_snapshot(&mut self, out: &mut Vec<u8>) {
        self.kernel.write_snapshot(out);
    }

    /// Takes an encoded `v1::Command`. Appends the encoded `v1::Reply` to `reply`, and to `events` each `v1::Event` as
    /// field 4 of `v1::Events`, so that what several commands append is one valid repeated field.
    ///
    /// Bytes that are no command, or one that lacks something, get a Rejection INVALID. After `Diverged` nothing was
    /// appended and the shard is as it was.
    ///
    /// # Panics
    /// When `stamp.seq` is not `self.seq() + 1`.
    pub fn step(
        &mut self,
        stamp: Stamp,
        command: &[u8],
        reply: &mut Vec<u8>,
        events: &mut Vec<u8>,
    ) -> Result<(), Diverged> {
        let decoded = Decoded::of(command, self.kernel.version());
        (self.kernel).step(stamp, &decoded.command, &mut self.effects)?;
        decoded.encode(&self.kernel, &self.effects, reply, events);
        self.traceparent = decoded.traceparent;
        Ok(())
    }

    /// Of the last command; empty unless its request is traced.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// The last command was here before: its reply was the first one again, and it did nothing.
    pub fn was_resent(&self) -> bool {
        let reply = self.effects.reply.as_ref();
        reply.is_some_and(|reply| reply.origin.is_some() || reply.stamp.seq < self.kernel.seq())
    }

    /// Appends the encoded `v1::Answer` as of `seq()`; `epoch` is that of the session.
    pub fn answer(&self, epoch: u64, query: &v1::Query, answer: &mut Vec<u8>) {
        let made = answer::answer(&self.kernel, epoch, query);
        made.encode(answer).expect("a vector has room");
    }

    /// Costs what changed since it was asked last, the first time everything; with version 1 always everything.
    pub fn state_hash(&mut self) -> [u8; 32] {
        self.kernel.state_hash()
    }

    /// The same as if no command had had an id: a refused command leaves it as it was.
    pub fn state_hash_but_command_ids(&mut self) -> [u8; 32] {
        self.kernel.state_hash_but_command_ids()
    }

    /// The first answer to a command with this id, which is remembered: its seq, and the encoded `v1::Reply`. Of one that
    /// came with a symbol from another shard the seq of the command that it came with.
    pub fn first_reply(&self, command_id: &[u8]) -> Option<(u64, Vec<u8>)> {
        let id = CommandId::try_from(command_id).ok()?;
        let first = self.kernel.first_reply(&id)?;
        let encoded = encode::reply(&self.kernel, first).encode_to_vec();
        let seq = match &first.origin {
            Some(origin) => origin.imported_seq,
            None => first.stamp.seq,
        };
        Some((seq, encoded))
    }

    /// Its name.
    pub fn shard(&self) -> &str {
        self.kernel.shard()
    }

    /// Of the last command; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.kernel.seq()
    }

    /// Of the kernel, for the next command.
    pub fn version(&self) -> Version {
        self.kernel.version()
    }

    /// When a Tick would do something, in microseconds; a time that has passed where it would at once.
    pub fn next_due_us(&self) -> Option<i64> {
        self.kernel.next_due_us()
    }

    /// Seq and state hash of the last EngineCheckpoint.
    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        self.kernel.last_checkpoint()
    }

    /// In force, as ConfigureSafety would say it.
    pub fn safety_configuration(&self) -> v1::ConfigureSafety {
        encode::safety_configuration(self.kernel.safety_configuration())
    }

    pub fn safety_level(&self) -> v1::SafetyLevel {
        encode::safety_level(self.kernel.safety_level())
    }

    /// The safety level that this report would bring.
    pub fn safety_level_at(&self, lag: &v1::ReportLag) -> v1::SafetyLevel {
        let lag = Lag {
            settlement_lag_ms: lag.settlement_lag_ms,
            unpublished_commands: lag.unpublished_commands,
        };
        encode::safety_level(self.kernel.safety_level_at(lag))
    }

    /// In force, by name.
    pub fn halts(&self) -> Vec<HaltInForce> {
        let halts = self.kernel.halts().map(|(name, halt)| HaltInForce {
            name: name.to_string(),
            state: halt.terms.state,
            symbols: halt.terms.symbols.iter().map(ToString::to_string).collect(),
            reason: halt.terms.reason.clone(),
            epoch: halt.epoch,
            seq: halt.seq,
        });
        halts.collect()
    }

    /// All symbols that are here, those together that are in one state for one reason: by state, and then by what holds
    /// them.
    pub fn markets(&self) -> Vec<Markets> {
        let mut together: BTreeMap<(SymbolState, String, String), Vec<String>> = BTreeMap::new();
        for listing in self.kernel.symbols() {
            if listing.moved_to.is_some() {
                continue;
            }
            let (held_by, reason) = match listing.decider {
                None => Default::default(),
                Some(Decider::Halt { halt, reason }) => (halt.to_string(), reason),
                Some(decider @ Decider::Safety(_)) => (SAFETY.into(), decider.to_string()),
                Some(decider) => (PHASE.into(), decider.to_string()),
            };
            let symbols = together
                .entry((listing.state, held_by, reason))
                .or_default();
            symbols.push(listing.definition.symbol.to_string());
        }
        let markets = together
            .into_iter()
            .map(|((state, held_by, reason), symbols)| Markets {
                state,
                held_by,
                reason,
                symbols,
            });
        markets.collect()
    }

    /// Symbols that are listed and are in another shard by now, by name, each with that shard.
    pub fn moved(&self) -> Vec<(String, String)> {
        self.kernel
            .symbols()
            .filter_map(|listing| {
                let to_shard = listing.moved_to?;
                Some((listing.definition.symbol.to_string(), to_shard.to_string()))
            })
            .collect()
    }
}

/// What holds symbols that no halt holds. Neither is the name of a halt of Kubernetes or of people.
const SAFETY: &str = "safety";
const PHASE: &str = "phase";

/// Symbols that are in one state for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markets {
    pub state: SymbolState,
    /// A halt's name, `safety`, `phase`, or nothing in TRADING.
    pub held_by: String,
    pub reason: String,
    /// By name.
    pub symbols: Vec<String>,
}

/// The kernel's key (`Kernel::keyed`), another one for each shard that is made: the standard library's hashes have keys
/// from the operating system. Nothing that a shard says depends on it.
fn secret() -> u64 {
    RandomState::new().hash_one(0)
}
