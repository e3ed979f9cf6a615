//! Reads a log from its start and decides what a bad end means.
//!
//! A record that is not whole is the torn end of a batch that was never acknowledged only if a crash explains it:
//! it looks like bytes that were not written (a sector of zeros, an early end), and nothing of a later batch is
//! behind it, for a batch is begun only after the one before it was synced. Everything else may have been
//! acknowledged, so it is damage, and the engine does not start.
//!
//! A log may begin above seq 1, where segments were recycled: the header of its first segment has the chain that it
//! goes on from. The state before it must come from a snapshot.

use std::sync::Arc;

use crate::batch::Head;
use crate::record::{Chain, Found, find, header, record_bytes};
use crate::segment::{HEADER_BYTES, decode_header, segments};
use crate::{Error, Place, Reader, Record, Storage};

/// What a log holds.
#[derive(Debug, Default)]
pub struct Scan {
    pub shard: String,
    pub segments: Vec<String>,
    /// Where the log begins; 1 unless segments were recycled.
    pub first_seq: u64,
    /// Of the record before the first one.
    pub chain_before: Chain,
    pub last_seq: u64,
    pub last_epoch: u64,
    pub last_time_us: i64,
    pub chain: Chain,
    /// The unfinished end of a batch that was never acknowledged. Of a log in use it may be a batch on its way.
    pub torn: Option<Place>,
    pub(crate) end: Tail,
}

/// The end of the last segment.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub bytes: Vec<u8>,
    /// Without the zeros at the end of the file.
    pub used: usize,
    /// Behind the last whole record.
    pub position: usize,
    /// Where the last batch begins in this segment.
    pub batch_position: usize,
    pub batch_first_seq: u64,
    /// The last record lacks its end marker only.
    pub unmarked: bool,
}
/// Reads everything and changes nothing. `visit` gets each record in order; its error ends the scan. `last_seq` and
/// `chain` of a log without records are those of the record before it.
pub fn scan<E: From<Error>>(
    storage: &dyn Storage,
    shard: Option<&str>,
    mut visit: impl FnMut(&Record) -> Result<(), E>,
) -> Result<Scan, E> {
    let names = segments(storage.list().map_err(Error::io("list the segments"))?);
    let mut scan = Scan {
        shard: shard.unwrap_or_default().into(),
        first_seq: names.first().map_or(1, |(first_seq, _)| *first_seq),
        ..Scan::default()
    };
    for (index, (first_seq, name)) in names.iter().enumerate() {
        let bytes = storage
            .read(name)
            .map_err(Error::io(format!("read {name}")))?;
        let header = decode_header(name, &bytes, *first_seq)?;
        if index == 0 && *first_seq > 1 {
            (scan.last_seq, scan.chain) = (first_seq - 1, header.chain);
            scan.chain_before = header.chain;
        }
        if let Some(wanted) = shard.filter(|wanted| *wanted != header.shard) {
            return Err(Error::WrongShard {
                file: name.clone(),
                found: header.shard,
                wanted: wanted.into(),
            }
            .into());
        }
        let place = |why: String| Place {
            file: name.clone(),
            offset: 0,
            seq: scan.last_seq + 1,
            why,
        };
        if *first_seq != scan.last_seq + 1 {
            let why =
                format!("the segment begins at seq {first_seq}: what comes before it is missing");
            return Err(Error::Corrupt(place(why)).into());
        }
        if header.chain != scan.chain {
            return Err(Error::Corrupt(place(
                "the segment continues another log: its chain differs".into(),
            ))
            .into());
        }
        scan.shard = header.shard;
        scan.segments.push(name.clone());
        read_segment(&mut scan, bytes, index + 1 == names.len(), &mut visit)?;
    }
    Ok(scan)
}

fn read_segment<E: From<Error>>(
    scan: &mut Scan,
    bytes: Vec<u8>,
    is_last: bool,
    visit: &mut impl FnMut(&Record) -> Result<(), E>,
) -> Result<(), E> {
    let name = scan
        .segments
        .last()
        .expect("the segment that is read")
        .clone();
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let mut tail = Tail {
        used,
        position: HEADER_BYTES,
        batch_position: HEADER_BYTES,
        ..Tail::default()
    };
    loop {
        let at = tail.position;
        let expected_seq = scan.last_seq + 1;
        let place = |why: &str| Place {
            file: name.clone(),
            offset: at as u64,
            seq: expected_seq,
            why: why.into(),
        };
        let (record, unfinished) = match find(&bytes, used, at) {
            Found::Whole(record) => (Some(record), None),
            Found::Unmarked(record) => (Some(record), Some("its end marker was never written")),
            Found::Nothing => break,
            Found::Torn(why) => (None, Some(why)),
            Found::Damaged(why) => return Err(Error::Corrupt(place(why)).into()),
        };
        if let Some(why) = unfinished {
            if !is_last {
                return Err(
                    Error::Corrupt(place(&format!("{why}, but a later segment exists"))).into(),
                );
            }
            if let Some(later) = later_batch(&bytes, at, expected_seq) {
                let why = format!("{why}, but seq {later} of a later batch is behind it");
                return Err(Error::Corrupt(place(&why)).into());
            }
            scan.torn = Some(place(why));
            tail.unmarked = record.is_some();
        }
        let Some(record) = record else { break };
        check(scan, &record).map_err(|why| Error::Corrupt(place(&why)))?;
        visit(&record)?;
        if record.batch_first_seq != tail.batch_first_seq {
            (tail.batch_position, tail.batch_first_seq) = (at, record.batch_first_seq);
        }
        scan.last_seq = record.seq;
        scan.last_epoch = record.epoch;
        scan.last_time_us = record.time_us;
        scan.chain = record.chain;
        tail.position = at + record_bytes(record.payload.len());
        if tail.unmarked {
            break;
        }
    }
    tail.bytes = bytes;
    scan.end = tail;
    Ok(())
}

/// Whether a record that is whole is also the one that must follow.
fn check(scan: &Scan, record: &Record) -> Result<(), String> {
    if record.seq != scan.last_seq + 1 {
        return Err(format!("it has seq {}", record.seq));
    }
    if record.epoch < scan.last_epoch {
        return Err(format!(
            "its epoch {} is older than {} before it",
            record.epoch, scan.last_epoch
        ));
    }
    if !record.follows(&scan.chain) {
        return Err("its chain does not follow from the record before it".into());
    }
    Ok(())
}

/// The seq of a record behind `at` that belongs to a later batch than the record `seq` that should be there.
fn later_batch(bytes: &[u8], at: usize, seq: u64) -> Option<u64> {
    (at + 8..bytes.len())
        .step_by(8)
        .filter_map(|behind| header(bytes, behind))
        .find(|header| header.batch_first_seq > seq)
        .map(|header| header.seq)
}
/// Whose log it is, as its first segment says; None where there is none.
pub fn shard_of(storage: &dyn Storage) -> Result<Option<String>, Error> {
    let names = segments(storage.list().map_err(Error::io("list the segments"))?);
    let Some((first_seq, name)) = names.first() else {
        return Ok(None);
    };
    let bytes = storage
        .read(name)
        .map_err(Error::io(format!("read {name}")))?;
    decode_header(name, &bytes, *first_seq).map(|header| Some(header.shard))
}

/// Where a log begins; 1 where there is none.
pub fn first_seq(storage: &dyn Storage) -> Result<u64, Error> {
    let names = segments(storage.list().map_err(Error::io("list the segments"))?);
    Ok(names.first().map_or(1, |(first_seq, _)| *first_seq))
}

/// The chain of the record `seq`; None where the log does not say it any more, or not yet.
pub fn chain_at(storage: &Arc<dyn Storage>, seq: u64) -> Result<Option<Chain>, Error> {
    let names = segments(storage.list().map_err(Error::io("list the segments"))?);
    match names.first() {
        Some((first_seq, name)) if seq + 1 == *first_seq => {
            let bytes = storage
                .read(name)
                .map_err(Error::io(format!("read {name}")))?;
            decode_header(name, &bytes, *first_seq).map(|header| Some(header.chain))
        }
        Some((first_seq, _)) if seq >= *first_seq => {
            let mut reader = Reader::starting_at(storage.clone(), seq);
            Ok(reader.next(seq)?.map(|record| record.chain))
        }
        _ => Ok(None),
    }
}

/// A segment read alone, whole records only.
pub(crate) struct Finished {
    pub shard: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub chain_before: Chain,
    pub chain: Chain,
    /// Without the zeros at its end.
    pub bytes: Vec<u8>,
}

pub(crate) fn read_finished(
    storage: &dyn Storage,
    segment: &str,
    visit: impl FnMut(&Record),
) -> Result<Finished, Error> {
    let bytes = storage
        .read(segment)
        .map_err(Error::io(format!("read {segment}")))?;
    read_alone(segment, bytes, visit)
}

fn read_alone(
    segment: &str,
    bytes: Vec<u8>,
    mut visit: impl FnMut(&Record),
) -> Result<Finished, Error> {
    let named = segments(vec![segment.into()]);
    let first_seq = named.first().map_or(0, |(first_seq, _)| *first_seq);
    let header = decode_header(segment, &bytes, first_seq)?;
    let mut scan = Scan {
        segments: vec![segment.into()],
        first_seq,
        last_seq: first_seq - 1,
        chain: header.chain,
        ..Scan::default()
    };
    // As one with others behind it: an unfinished record is damage.
    read_segment(&mut scan, bytes, false, &mut |record| {
        visit(record);
        Ok::<(), Error>(())
    })?;
    scan.end.bytes.truncate(scan.end.position);
    Ok(Finished {
        shard: header.shard,
        first_seq,
        last_seq: scan.last_seq,
        chain_before: header.chain,
        chain: scan.chain,
        bytes: scan.end.bytes,
    })
}

/// Reads back that a segment has all that was acknowledged of it: whole records up to a position, where the log's head
/// is.
pub(crate) fn check_written(
    storage: &dyn Storage,
    segment: &str,
    position: usize,
    head: Head,
) -> Result<(), Error> {
    let mut bytes = storage
        .read(segment)
        .map_err(Error::io(format!("read {segment}")))?;
    bytes.truncate(position);
    let read = read_alone(segment, bytes, |_| ())?;
    let found = Head {
        next_seq: read.last_seq + 1,
        chain: read.chain,
    };
    if (read.bytes.len(), found) != (position, head) {
        return Err(Error::Corrupt(Place {
            file: segment.into(),
            offset: read.bytes.len() as u64,
            seq: read.last_seq + 1,
            why: "an acknowledged record cannot be read back".into(),
        }));
    }
    Ok(())
}
