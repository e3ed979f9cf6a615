//! The kernel behind the log: which records it has carried out, and whose events may be seen.
//!
//! A standby carries out what is committed, a leader everything that it has. Events come into the ring, and out of it,
//! once they are committed.

use std::collections::VecDeque;
use std::sync::Arc;

use openbourse_journal::{Batch, Known, Reader, Record, Storage};
use openbourse_protocol::{Shard, Stamp};

use crate::events::{Ring, Stream};
use crate::{Fatal, Limits};

pub struct Stepping {
    storage: Arc<dyn Storage>,
    pub kernel: Shard,
    /// Reads what the log had at the start, through `read_through`; what came since is in memory.
    reader: Reader,
    read_through: u64,
    received: VecDeque<Arc<Batch>>,
    /// Of commands that are carried out and not committed.
    uncommitted: VecDeque<Vec<u8>>,
    ring: Ring,
    committed_seq: u64,
    last_time_us: i64,
}

impl Stepping {
    /// The kernel is that of `known`, which is committed; the log goes on through `end_seq`.
    pub fn new(
        storage: Arc<dyn Storage>,
        kernel: Shard,
        known: Known,
        end_seq: u64,
        limits: Limits,
    ) -> Stepping {
        Stepping {
            reader: Reader::starting_at(storage.clone(), known.seq + 1),
            storage,
            kernel,
            read_through: end_seq,
            received: VecDeque::new(),
            uncommitted: VecDeque::new(),
            ring: Ring::starting_at(known.seq + 1, limits),
            committed_seq: known.seq,
            last_time_us: 0,
        }
    }

    /// Of the last command that was carried out here.
    pub fn last_time_us(&self) -> i64 {
        self.last_time_us
    }

    pub fn committed_seq(&self) -> u64 {
        self.committed_seq
    }

    /// A batch that goes into the log behind all that is there.
    pub fn receive(&mut self, batch: Arc<Batch>) {
        self.received.push_back(batch);
    }

    /// The log ends at `last_seq` now, which the kernel must not be beyond.
    pub fn cut(&mut self, last_seq: u64) {
        let seq = self.kernel.seq();
        assert!(
            seq <= last_seq,
            "carried out through {seq}, cut behind {last_seq}"
        );
        self.received.clear();
        self.read_through = last_seq;
        self.reader = Reader::starting_at(self.storage.clone(), seq + 1);
    }

    /// Carries out at most `commands_most` commands, none beyond `through`. Whether it is there.
    pub fn advance(&mut self, through: u64, commands_most: usize) -> Result<bool, Fatal> {
        let mut left = commands_most;
        let through_read = through.min(self.read_through);
        while left > 0 && self.kernel.seq() < through_read {
            let Some(record) = self.reader.next(through_read)? else {
                break;
            };
            let mut events = Vec::new();
            carry_out(&mut self.kernel, &record, &mut events)?;
            self.last_time_us = self.last_time_us.max(record.time_us);
            self.uncommitted.push_back(events);
            left -= 1;
        }
        while left > 0
            && self.kernel.seq() < through
            && let Some(batch) = self.received.front().cloned()
        {
            let next_seq = self.kernel.seq() + 1;
            let behind = batch.records().filter(|record| record.seq >= next_seq);
            for record in behind.take_while(|record| record.seq <= through).take(left) {
                let mut events = Vec::new();
                carry_out(&mut self.kernel, &record, &mut events)?;
                self.last_time_us = self.last_time_us.max(record.time_us);
                self.uncommitted.push_back(events);
                left -= 1;
            }
            if self.kernel.seq() + 1 == batch.seqs().end {
                self.received.pop_front();
            }
        }
        self.show();
        Ok(self.kernel.seq() >= through)
    }

    /// The leader's own command, behind all that the log had.
    pub fn step(&mut self, stamp: Stamp, command: &[u8], reply: &mut Vec<u8>) -> Result<(), Fatal> {
        let mut events = Vec::new();
        self.kernel.step(stamp, command, reply, &mut events)?;
        self.last_time_us = self.last_time_us.max(stamp.time_us);
        self.uncommitted.push_back(events);
        Ok(())
    }

    /// Everything through `seq` is committed.
    pub fn commit(&mut self, seq: u64) {
        self.committed_seq = self.committed_seq.max(seq);
        self.show();
    }

    /// Puts on the stream what is carried out and committed.
    fn show(&mut self) {
        let shown = self.kernel.seq() - self.uncommitted.len() as u64;
        for _ in shown..self.committed_seq.min(self.kernel.seq()) {
            let events = self.uncommitted.pop_front().expect("one of each command");
            self.ring.push(events);
        }
    }

    pub fn events(&self, epoch: u64, from_seq: u64, bytes_most: usize) -> Stream {
        self.ring.frame(epoch, from_seq, bytes_most)
    }
}

fn carry_out(kernel: &mut Shard, record: &Record, events: &mut Vec<u8>) -> Result<(), Fatal> {
    let stamp = Stamp {
        seq: record.seq,
        epoch: record.epoch,
        time_us: record.time_us,
    };
    kernel.step(stamp, record.payload, &mut Vec::new(), events)?;
    Ok(())
}
