//! The end of the log: appends batches, one sync each, and goes on to the next segment when one is full.

use std::ops::Range;
use std::sync::Arc;

use crate::record::{Chain, encode};
use crate::segment::{self, HEADER_BYTES, Header, segment_name};
use crate::spare::{self, Spare};
use crate::{Error, File, Storage};

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub segment_bytes: usize,
    /// Make the next segment in a thread, ahead of need.
    pub ahead: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 16 << 20,
            ahead: true,
        }
    }
}

/// Commands that are written and synced together: `first_seq`, `first_seq + 1`, and so on.
#[derive(Debug, Clone)]
pub struct Batch {
    pub epoch: u64,
    pub time_us: i64,
    pub first_seq: u64,
    /// Never empty. Shared with the kernel, which steps the same bytes meanwhile.
    pub commands: Arc<Vec<Vec<u8>>>,
}

impl Batch {
    pub fn seqs(&self) -> Range<u64> {
        self.first_seq..self.first_seq + self.commands.len() as u64
    }
}

/// Made by [`crate::recover`], which knows where the log ends.
pub struct Log {
    storage: Arc<dyn Storage>,
    shard: String,
    options: Options,
    file: Box<dyn File>,
    spare: Spare,
    segment: String,
    capacity: usize,
    position: usize,
    chain: Chain,
    next_seq: u64,
    buffer: Vec<u8>,
}

/// Where a log ends: in which segment, how large that is, and where the next record goes.
pub(crate) struct End {
    pub segment: String,
    pub capacity: usize,
    pub position: usize,
    pub chain: Chain,
    pub next_seq: u64,
}

impl Log {
    pub(crate) fn at(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
        file: Box<dyn File>,
        end: End,
    ) -> Log {
        let spare = Spare::new(storage.clone(), options.segment_bytes);
        Log {
            storage,
            shard: shard.into(),
            options,
            file,
            spare,
            segment: end.segment,
            capacity: end.capacity,
            position: end.position,
            chain: end.chain,
            next_seq: end.next_seq,
            buffer: Vec::new(),
        }
    }

    /// The first segment of a new log.
    pub(crate) fn create(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
    ) -> Result<Log, Error> {
        let mut spare = Spare::new(storage.clone(), options.segment_bytes);
        let chain = Chain::default();
        let (file, segment) = begin_segment(&*storage, &mut spare, shard, 1, chain)?;
        let end = End {
            segment,
            capacity: options.segment_bytes,
            position: HEADER_BYTES,
            chain,
            next_seq: 1,
        };
        Ok(Log::at(storage, shard, options, file, end))
    }

    /// Durable when it comes back. After an error nothing is known of this batch, and the log must not be used again.
    pub fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        assert_eq!(
            batch.first_seq, self.next_seq,
            "batches follow each other without a gap"
        );
        assert!(!batch.commands.is_empty(), "a batch has commands");
        let chain_before = self.chain;
        self.buffer.clear();
        for (seq, command) in batch.seqs().zip(batch.commands.iter()) {
            let facts = (batch.epoch, seq, batch.time_us, batch.first_seq);
            self.chain = encode(&mut self.buffer, &self.chain, facts, command);
        }
        if self.position + self.buffer.len() > self.capacity {
            let most = self.options.segment_bytes - HEADER_BYTES;
            if self.buffer.len() > most {
                return Err(Error::TooLarge {
                    bytes: self.buffer.len(),
                    most,
                });
            }
            (self.file, self.segment) = begin_segment(
                &*self.storage,
                &mut self.spare,
                &self.shard,
                batch.first_seq,
                chain_before,
            )?;
            self.capacity = self.options.segment_bytes;
            self.position = HEADER_BYTES;
        }
        self.file
            .write_at(&self.buffer, self.position as u64)
            .and_then(|()| self.file.sync())
            .map_err(Error::io(format!(
                "write {} at offset {}",
                self.segment, self.position
            )))?;
        self.position += self.buffer.len();
        self.next_seq = batch.seqs().end;
        if self.options.ahead && self.position > self.capacity / 4 {
            self.spare
                .begin()
                .map_err(Error::io("start a thread for the next segment"))?;
        }
        Ok(())
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub fn segment(&self) -> &str {
        &self.segment
    }
}

/// The header is durable before the segment has its name, and the name before its first record.
fn begin_segment(
    storage: &dyn Storage,
    spare: &mut Spare,
    shard: &str,
    first_seq: u64,
    chain: Chain,
) -> Result<(Box<dyn File>, String), Error> {
    let name = segment_name(first_seq);
    let doing = || format!("begin segment {name}");
    let file = spare.take().map_err(Error::io(doing()))?;
    let header = segment::encode_header(&Header {
        shard: shard.into(),
        first_seq,
        chain,
    });
    file.write_at(&header, 0)
        .and_then(|()| file.sync())
        .and_then(|()| storage.rename(spare::NAME, &name))
        .and_then(|()| storage.sync_folder())
        .map_err(Error::io(doing()))?;
    Ok((file, name))
}
