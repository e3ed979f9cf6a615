//! The end of the log: appends batches, one sync each, and goes on to the next segment when one is full.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Head};
use crate::scan::check_written;
use crate::segment::{self, HEADER_BYTES, Header, segment_name};
use crate::spare::{self, Spare};
use crate::{Error, File, Pace, Storage};

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
    head: Head,
}

/// Where a log ends: in which segment, how large that is, and where the next record goes.
pub(crate) struct End {
    pub segment: String,
    pub capacity: usize,
    pub position: usize,
    pub head: Head,
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
            head: end.head,
        }
    }

    /// The first segment of a new log, of which nothing is there before `head`.
    pub(crate) fn create(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
        head: Head,
    ) -> Result<Log, Error> {
        let mut spare = Spare::new(storage.clone(), options.segment_bytes, options.retry);
        let mut next = None;
        begin_segment(&*storage, &mut spare, &mut next, shard, head)?;
        let end = End {
            segment: segment_name(head.next_seq),
            capacity: options.segment_bytes,
            position: HEADER_BYTES,
            head,
        };
        let begun = next.expect("begun").file;
        Ok(Log::at(storage, shard, options, begun, end))
    }

    /// Durable when it comes back. After [`Error::NoRoom`] and [`Error::TooLarge`] nothing has changed. After
    /// [`Error::Io`] nothing is known of this batch, and only `append_again` may follow.
    pub fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        assert_eq!(batch.before(), self.head, "batches follow each other");
        let (bytes, most) = (
            batch.bytes().len(),
            self.options.segment_bytes - HEADER_BYTES,
        );
        if bytes > self.room_bytes() {
            if bytes > most {
                return Err(Error::TooLarge { bytes, most });
            }
            self.roll()?;
        }
        self.write(batch)
    }

    /// Tries the batch once more that [`Error::Io`] came for. As a boot does, it reads back what was acknowledged,
    /// and writes the whole batch again: after a sync that failed, memory may hold what the disk does not.
    pub fn append_again(&mut self, batch: &Batch) -> Result<(), Error> {
        assert_eq!(batch.before(), self.head, "the batch that failed");
        check_written(&*self.storage, &self.segment, self.position, self.head)?;
        // A file that met an error may have told somebody else of it.
        self.file = self
            .storage
            .open(&self.segment)
            .map_err(Error::io(format!("open {}", self.segment)))?;
        self.write(batch)
    }

    /// Overwrites zeros that are on the disk, so it never needs room there.
    fn write(&mut self, batch: &Batch) -> Result<(), Error> {
        assert!(batch.bytes().len() <= self.room_bytes(), "it fits");
        self.file
            .write_at(batch.bytes(), self.position as u64)
            .and_then(|()| self.file.sync())
            .map_err(Error::io(format!(
                "write {} at offset {}",
                self.segment, self.position
            )))?;
        self.position += batch.bytes().len();
        self.head = batch.after();
        Ok(())
    }

    /// Goes on to the next segment. Until it has come back nothing has changed: after [`Error::NoRoom`] it may be
    /// tried again.
    pub fn roll(&mut self) -> Result<(), Error> {
        if self.position == HEADER_BYTES {
            return Ok(());
        }
        let (storage, shard) = (&*self.storage, self.shard.as_str());
        begin_segment(storage, &mut self.spare, &mut self.next, shard, self.head)?;
        self.file = self.next.take().expect("begun").file;
        self.segment = segment_name(self.head.next_seq);
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
        self.head.next_seq
    }

    /// What the next batch goes on from.
    pub fn head(&self) -> Head {
        self.head
    }

    pub fn segment(&self) -> &str {
        &self.segment
    }

    pub fn options(&self) -> Options {
        self.options
    }

    pub(crate) fn pace(&self) -> Option<Arc<dyn Pace>> {
        self.storage.pace()
    }
}

/// The header is durable before the segment has its name, and the name before its first record. What a try has
/// reached stays in `next` for the one after it.
fn begin_segment(
    storage: &dyn Storage,
    spare: &mut Spare,
    next: &mut Option<Next>,
    shard: &str,
    head: Head,
) -> Result<(), Error> {
    let name = segment_name(head.next_seq);
    let mut begin = || {
        if next.is_none() {
            let file = spare.take()?;
            *next = Some(Next { file, named: false });
        }
        let begun = next.as_mut().expect("taken");
        if !begun.named {
            let header = segment::encode_header(&Header {
                shard: shard.into(),
                first_seq: head.next_seq,
                chain: head.chain,
            });
            begun.file.write_at(&header, 0)?;
            begun.file.sync()?;
            storage.rename(spare::NAME, &name)?;
            begun.named = true;
        }
        storage.sync_folder()
    };
    begin().map_err(|source| Error::NoRoom {
        segment: segment_name(head.next_seq),
        source,
    })
}
