//! The committed stream from any seq: the log read from its start, or from the newest snapshot before that seq, into a
//! kernel of its own, a bounded piece at a time.

use std::sync::Arc;

use openbourse_journal::{Reader, Storage};
use openbourse_protocol::{Shard, Stamp, v1};

use crate::Fatal;
use crate::events::frame;
use crate::snapshots::Start;

pub struct Replay {
    storage: Arc<dyn Storage>,
    reader: Reader,
    kernel: Shard,
    /// The seq that it began behind: of a snapshot, or 0.
    begun: Option<u64>,
    epoch: u64,
    from_seq: u64,
}

impl Replay {
    /// `epoch` is the session's, as frames carry it. Reads nothing yet.
    pub fn new(storage: Arc<dyn Storage>, shard: &str, epoch: u64, from_seq: u64) -> Replay {
        Replay {
            reader: Reader::new(storage.clone()),
            storage,
            kernel: Shard::new(shard),
            begun: None,
            epoch,
            from_seq,
        }
    }

    /// The seq that it begins behind: of the newest good snapshot before the wanted seq, else 0. The first step does
    /// it, and takes as long as the snapshot is large.
    pub fn begin(&mut self) -> Result<u64, Fatal> {
        if let Some(seq) = self.begun {
            return Ok(seq);
        }
        let before = self.from_seq.saturating_sub(1);
        let start = Start::newest(&*self.storage, self.kernel.shard(), before)?;
        self.reader = Reader::starting_at(self.storage.clone(), start.known.seq + 1);
        self.kernel = start.kernel;
        self.begun = Some(start.known.seq);
        Ok(start.known.seq)
    }

    /// The seq that the next frame begins at.
    pub fn next_seq(&self) -> u64 {
        self.from_seq.max(self.reader.next_seq())
    }

    /// Steps at most `commands_most` commands, none beyond `committed_seq`, until there are `bytes_most` of events.
    /// None: still before the wanted seq, or at `committed_seq`.
    pub fn step(
        &mut self,
        committed_seq: u64,
        commands_most: usize,
        bytes_most: usize,
    ) -> Result<Option<Vec<u8>>, Fatal> {
        self.begin()?;
        let first_seq = self.next_seq();
        let (mut reply, mut events) = (Vec::new(), Vec::new());
        for _ in 0..commands_most {
            let wanted = self.reader.next_seq() >= self.from_seq;
            let Some(record) = self.reader.next(committed_seq)? else {
                break;
            };
            let stamp = Stamp {
                seq: record.seq,
                epoch: record.epoch,
                time_us: record.time_us,
            };
            reply.clear();
            self.kernel
                .step(stamp, record.payload, &mut reply, &mut events)?;
            if !wanted {
                events.clear();
            } else if events.len() >= bytes_most {
                break;
            }
        }
        let last_seq = self.reader.next_seq() - 1;
        Ok((last_seq >= first_seq)
            .then(|| frame(self.epoch, first_seq, last_seq, [&events].into_iter())))
    }

    /// Steps at most `commands_most` commands, none beyond `last_seq`, without events. Stops early behind a checkpoint,
    /// and returns it: its seq, and the state hash there.
    pub fn advance(
        &mut self,
        last_seq: u64,
        commands_most: usize,
    ) -> Result<Option<(u64, [u8; 32])>, Fatal> {
        self.begin()?;
        let before = self.kernel.last_checkpoint();
        let (mut reply, mut events) = (Vec::new(), Vec::new());
        for _ in 0..commands_most {
            let Some(record) = self.reader.next(last_seq)? else {
                break;
            };
            let stamp = Stamp {
                seq: record.seq,
                epoch: record.epoch,
                time_us: record.time_us,
            };
            reply.clear();
            events.clear();
            self.kernel
                .step(stamp, record.payload, &mut reply, &mut events)?;
            let checkpoint = self.kernel.last_checkpoint();
            if checkpoint != before {
                return Ok(checkpoint);
            }
        }
        Ok(None)
    }

    /// Of the last command that was stepped, or that the snapshot has.
    pub fn seq(&self) -> u64 {
        self.kernel.seq()
    }

    /// Of the state that it has come to.
    pub fn answer(&self, query: &v1::Query) -> Vec<u8> {
        let mut answer = Vec::new();
        self.kernel.answer(self.epoch, query, &mut answer);
        answer
    }

    pub fn state_hash(&mut self) -> (u64, [u8; 32]) {
        (self.kernel.seq(), self.kernel.state_hash())
    }
}
