//! Committed events as frames, and the ring that keeps the newest of them.

use std::collections::VecDeque;

use prost::encoding::{encoded_len_varint, uint64};

use crate::frames::{EVENTS, append_head};
use crate::limits::Limits;

/// The next piece of the committed stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Stream {
    /// A frame with the events up to this seq.
    Frame { last_seq: u64, bytes: Vec<u8> },
    /// Nothing newer is committed.
    UpToDate,
    /// No longer in the ring: read it from the log.
    Older,
    /// Beyond what is committed: the subscriber has followed another log.
    Beyond { committed_seq: u64 },
}

/// The events of each of the newest commands, as one piece of a repeated field.
pub struct Ring {
    limits: Limits,
    first_seq: u64,
    bytes: usize,
    commands: VecDeque<Vec<u8>>,
}

impl Ring {
    /// The first command that is pushed has `first_seq`.
    pub fn starting_at(first_seq: u64, limits: Limits) -> Ring {
        Ring {
            limits,
            first_seq,
            bytes: 0,
            commands: VecDeque::new(),
        }
    }

    pub fn push(&mut self, events: Vec<u8>) {
        self.bytes += events.len();
        self.commands.push_back(events);
        while self.commands.len() > self.limits.ring_commands
            || (self.bytes > self.limits.ring_bytes && self.commands.len() > 1)
        {
            self.bytes -= self.commands.pop_front().map_or(0, |oldest| oldest.len());
            self.first_seq += 1;
        }
    }

    fn committed_seq(&self) -> u64 {
        self.first_seq + self.commands.len() as u64 - 1
    }

    /// A frame that begins at `from_seq`, of as many commands as stay within `bytes_most`, but at least one.
    pub fn frame(&self, epoch: u64, from_seq: u64, bytes_most: usize) -> Stream {
        let committed_seq = self.committed_seq();
        if from_seq > committed_seq + 1 {
            return Stream::Beyond { committed_seq };
        }
        if from_seq > committed_seq {
            return Stream::UpToDate;
        }
        if from_seq < self.first_seq {
            return Stream::Older;
        }
        let mut bytes = 0;
        let events = self.commands.range((from_seq - self.first_seq) as usize..);
        let count = events
            .clone()
            .take_while(|events| {
                bytes += events.len();
                bytes <= bytes_most
            })
            .count()
            .max(1);
        let last_seq = from_seq + count as u64 - 1;
        Stream::Frame {
            last_seq,
            bytes: frame(epoch, from_seq, last_seq, events.take(count)),
        }
    }
}

/// A `v1::ServerFrame` with `v1::Events`, whose field 4 is `events` one behind the other.
pub fn frame<'a>(
    epoch: u64,
    first_seq: u64,
    last_seq: u64,
    events: impl Iterator<Item = &'a Vec<u8>> + Clone,
) -> Vec<u8> {
    let head = [(1, epoch), (2, first_seq), (3, last_seq)];
    let head_bytes: usize = head
        .iter()
        .map(|(_, value)| 1 + encoded_len_varint(*value))
        .sum();
    let body_bytes = head_bytes + events.clone().map(Vec::len).sum::<usize>();
    let mut out = Vec::with_capacity(body_bytes + 16);
    append_head(&mut out, EVENTS, body_bytes);
    for (field, value) in head {
        uint64::encode(field, &value, &mut out);
    }
    events.for_each(|events| out.extend_from_slice(events));
    out
}
