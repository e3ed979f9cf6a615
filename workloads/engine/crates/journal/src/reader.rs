//! Reads committed records from some seq on, beside the writer or without one. It changes nothing.

use std::sync::Arc;

use crate::record::{Found, Record, find, record_bytes};
use crate::segment::{HEADER_BYTES, segments};
use crate::{Error, Place, Storage};

pub struct Reader {
    storage: Arc<dyn Storage>,
    next_seq: u64,
    segment: String,
    bytes: Vec<u8>,
    used: usize,
    position: usize,
    /// Where the last record that was read begins.
    before: usize,
}

impl Reader {
    /// From seq 1, which a log whose segments were recycled does not have.
    pub fn new(storage: Arc<dyn Storage>) -> Reader {
        Reader::starting_at(storage, 1)
    }

    /// From any seq.
    pub fn starting_at(storage: Arc<dyn Storage>, seq: u64) -> Reader {
        Reader {
            storage,
            next_seq: seq,
            segment: String::new(),
            bytes: Vec::new(),
            used: 0,
            position: 0,
            before: 0,
        }
    }

    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next record, or none beyond `committed_seq`. Every record up to there must be whole, or it is an error.
    pub fn next(&mut self, committed_seq: u64) -> Result<Option<Record<'_>>, Error> {
        if self.next_seq > committed_seq {
            return Ok(None);
        }
        // What was read may be older than what is committed, so a missing record is looked for once more: in the same
        // segment, and in the one that begins with it.
        if !self.is_here() {
            self.read()?;
        }
        self.skip();
        match find(&self.bytes, self.used, self.position) {
            Found::Whole(record) if record.seq == self.next_seq => {
                self.before = self.position;
                self.position += record_bytes(record.payload.len());
                self.next_seq += 1;
                Ok(Some(record))
            }
            found => {
                let why = format!("a committed record is missing: {found:?}");
                let (file, offset) = (self.segment.clone(), self.position as u64);
                Err(Error::Corrupt(Place {
                    file,
                    offset,
                    seq: self.next_seq,
                    why,
                }))
            }
        }
    }

    /// The next records as they lie in their segments, none beyond `durable_seq`: as many as stay within `bytes_most`,
    /// but at least one where there is one.
    pub fn records(&mut self, durable_seq: u64, bytes_most: usize) -> Result<Vec<u8>, Error> {
        let mut records = Vec::new();
        while records.len() < bytes_most && self.next(durable_seq)?.is_some() {
            records.extend_from_slice(&self.bytes[self.before..self.position]);
        }
        Ok(records)
    }

    /// Passes the records of the segment before the wanted one.
    fn skip(&mut self) {
        while let Found::Whole(record) = find(&self.bytes, self.used, self.position)
            && record.seq < self.next_seq
        {
            self.position += record_bytes(record.payload.len());
        }
    }

    fn is_here(&self) -> bool {
        matches!(find(&self.bytes, self.used, self.position), Found::Whole(_))
    }

    fn read(&mut self) -> Result<(), Error> {
        let names = segments(
            self.storage
                .list()
                .map_err(Error::io("list the segments"))?,
        );
        let holds_next = names
            .iter()
            .rev()
            .find(|(first_seq, _)| *first_seq <= self.next_seq);
        let Some((_, name)) = holds_next else {
            let wanted_seq = self.next_seq;
            return names.first().map_or(Ok(()), |(first_seq, _)| {
                Err(Error::Begins {
                    first_seq: *first_seq,
                    wanted_seq,
                })
            });
        };
        self.bytes = self
            .storage
            .read(name)
            .map_err(Error::io(format!("read {name}")))?;
        self.used = self
            .bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if self.segment != *name {
            self.segment = name.clone();
            self.position = HEADER_BYTES;
        }
        Ok(())
    }
}
