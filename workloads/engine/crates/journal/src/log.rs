//! The end of the log: appends batches, one sync each, and goes on to the next segment when one is full.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::record::{Chain, encode, record_bytes};
use crate::scan::check_written;
use crate::segment::{self, HEADER_BYTES, Header, segment_name};
use crate::spare::{self, Spare};
use crate::{Error, File, Storage};

#[derive(Debug, Clone, Copy)]
pub struct Options {
    pub segment_bytes: usize,
    /// Make the next segment in a thread, ahead of need.
    pub ahead: bool,
    /// How long the writer waits before it asks a disk again that said no.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 16 << 20,
            ahead: true,
            retry: Duration::from_millis(500),
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

    /// What it takes in a segment.
    pub fn bytes(&self) -> usize {
        let records = self.commands.iter();
        records.map(|command| record_bytes(command.len())).sum()
    }
}

/// Made by [`crate::recover`], which knows where the log ends.
pub struct Log {
    storage: Arc<dyn Storage>,
    shard: String,
    options: Options,
    file: Box<dyn File>,
    spare: Spare,
    next: Option<Next>,
    segment: String,
    capacity: usize,
    position: usize,
    chain: Chain,
    next_seq: u64,
    /// The records of the last batch, and its chain: what `append_again` needs.
    buffer: Vec<u8>,
    buffer_chain: Chain,
}

/// Where a log ends: in which segment, how large that is, and where the next record goes.
pub(crate) struct End {
    pub segment: String,
    pub capacity: usize,
    pub position: usize,
    pub chain: Chain,
    pub next_seq: u64,
}

/// A segment that is begun and that nothing is written to yet.
struct Next {
    file: Box<dyn File>,
    named: bool,
}

impl Log {
    pub(crate) fn at(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
        file: Box<dyn File>,
        end: End,
    ) -> Log {
        let spare = Spare::new(storage.clone(), options.segment_bytes, options.retry);
        Log {
            storage,
            shard: shard.into(),
            options,
            file,
            spare,
            next: None,
            segment: end.segment,
            capacity: end.capacity,
            position: end.position,
            chain: end.chain,
            next_seq: end.next_seq,
            buffer: Vec::new(),
            buffer_chain: end.chain,
        }
    }

    /// The first segment of a new log.
    pub(crate) fn create(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
    ) -> Result<Log, Error> {
        let mut spare = Spare::new(storage.clone(), options.segment_bytes, options.retry);
        let chain = Chain::default();
        let mut next = None;
        begin_segment(&*storage, &mut spare, &mut next, shard, 1, chain)?;
        let end = End {
            segment: segment_name(1),
            capacity: options.segment_bytes,
            position: HEADER_BYTES,
            chain,
            next_seq: 1,
        };
        let begun = next.expect("begun").file;
        Ok(Log::at(storage, shard, options, begun, end))
    }

    /// Durable when it comes back. After [`Error::NoRoom`] and [`Error::TooLarge`] nothing has changed. After
    /// [`Error::Io`] nothing is known of this batch, and only `append_again` may follow.
    pub fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        assert_eq!(
            batch.first_seq, self.next_seq,
            "batches follow each other without a gap"
        );
        assert!(!batch.commands.is_empty(), "a batch has commands");
        let (bytes, most) = (batch.bytes(), self.options.segment_bytes - HEADER_BYTES);
        if bytes > self.room_bytes() {
            if bytes > most {
                return Err(Error::TooLarge { bytes, most });
            }
            self.roll()?;
        }
        self.buffer.clear();
        self.buffer_chain = self.chain;
        for (seq, command) in batch.seqs().zip(batch.commands.iter()) {
            let facts = (batch.epoch, seq, batch.time_us, batch.first_seq);
            self.buffer_chain = encode(&mut self.buffer, &self.buffer_chain, facts, command);
        }
        self.write()?;
        self.next_seq = batch.seqs().end;
        Ok(())
    }

    /// Tries the batch once more that [`Error::Io`] came for. As a boot does, it reads back what was acknowledged,
    /// and writes the whole batch again: after a sync that failed, memory may hold what the disk does not.
    pub fn append_again(&mut self, batch: &Batch) -> Result<(), Error> {
        assert_eq!(batch.first_seq, self.next_seq, "the batch that failed");
        let end = (self.position, self.next_seq, self.chain);
        check_written(&*self.storage, &self.segment, end)?;
        // A file that met an error may have told somebody else of it.
        self.file = self
            .storage
            .open(&self.segment)
            .map_err(Error::io(format!("open {}", self.segment)))?;
        self.write()?;
        self.next_seq = batch.seqs().end;
        Ok(())
    }

    /// Overwrites zeros that are on the disk, so it never needs room there.
    fn write(&mut self) -> Result<(), Error> {
        assert!(self.buffer.len() <= self.room_bytes(), "it fits");
        self.file
            .write_at(&self.buffer, self.position as u64)
            .and_then(|()| self.file.sync())
            .map_err(Error::io(format!(
                "write {} at offset {}",
                self.segment, self.position
            )))?;
        self.position += self.buffer.len();
        self.chain = self.buffer_chain;
        Ok(())
    }

    /// Goes on to the next segment. Until it has come back nothing has changed: after [`Error::NoRoom`] it may be
    /// tried again.
    pub fn roll(&mut self) -> Result<(), Error> {
        if self.position == HEADER_BYTES {
            return Ok(());
        }
        let (storage, shard) = (&*self.storage, self.shard.as_str());
        begin_segment(
            storage,
            &mut self.spare,
            &mut self.next,
            shard,
            self.next_seq,
            self.chain,
        )?;
        self.file = self.next.take().expect("begun").file;
        self.segment = segment_name(self.next_seq);
        self.capacity = self.options.segment_bytes;
        self.position = HEADER_BYTES;
        Ok(())
    }

    /// Makes the next segment in a thread when this one fills up. Says why the last try came to nothing.
    pub fn look_ahead(&mut self) -> Option<String> {
        let soon = self.options.ahead && self.next.is_none() && self.position > self.capacity / 4;
        if soon { self.spare.ahead() } else { None }
    }

    /// What batches may still take in this segment.
    pub fn room_bytes(&self) -> usize {
        self.capacity - self.position
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub fn segment(&self) -> &str {
        &self.segment
    }

    pub fn options(&self) -> Options {
        self.options
    }
}

/// The header is durable before the segment has its name, and the name before its first record. What a try has
/// reached stays in `next` for the one after it.
fn begin_segment(
    storage: &dyn Storage,
    spare: &mut Spare,
    next: &mut Option<Next>,
    shard: &str,
    first_seq: u64,
    chain: Chain,
) -> Result<(), Error> {
    let name = segment_name(first_seq);
    let mut begin = || {
        if next.is_none() {
            let file = spare.take()?;
            *next = Some(Next { file, named: false });
        }
        let begun = next.as_mut().expect("taken");
        if !begun.named {
            let header = segment::encode_header(&Header {
                shard: shard.into(),
                first_seq,
                chain,
            });
            begun.file.write_at(&header, 0)?;
            begun.file.sync()?;
            storage.rename(spare::NAME, &name)?;
            begun.named = true;
        }
        storage.sync_folder()
    };
    begin().map_err(|source| Error::NoRoom {
        segment: segment_name(first_seq),
        source,
    })
}
