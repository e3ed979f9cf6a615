//! Makes a log ready to be written on: what a scan of it keeps is made durable before anything of it counts.

use std::sync::Arc;

use crate::batch::Head;
use crate::log::{End, Log, Options};
use crate::record::{Chain, MARKER};
use crate::scan::{Scan, first_seq, scan};
use crate::{Error, Place, Record, Storage, spare};

/// A log that may be written on, and what was cut from it.
pub struct Recovered {
    pub log: Log,
    pub last_seq: u64,
    pub last_epoch: u64,
    pub last_time_us: i64,
    pub chain: Chain,
    /// Which epoch wrote each seq that the log has: (epoch, last seq), both rising.
    pub runs: Vec<(u64, u64)>,
    pub cut: Option<Place>,
}
/// What the state that a recovery begins with has already: nothing, or what a snapshot has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    pub seq: u64,
    /// Of the record with that seq.
    pub chain: Chain,
}

/// Makes a log ready to be written on, a new one if there is none: reads it, cuts a torn end, and makes durable what
/// it read, before anything of it counts. `visit` gets the records behind what is known, which must be of this log.
///
/// Of a log without records, `last_epoch` and `last_time_us` are 0, whatever is known.
pub fn recover<E: From<Error>>(
    storage: Arc<dyn Storage>,
    shard: &str,
    options: Options,
    known: Known,
    mut visit: impl FnMut(&Record) -> Result<(), E>,
) -> Result<Recovered, E> {
    let first_seq = first_seq(&*storage)?;
    if first_seq > known.seq + 1 {
        let wanted_seq = known.seq + 1;
        return Err(Error::Begins {
            first_seq,
            wanted_seq,
        }
        .into());
    }
    let mut chain_at_known = None;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let found = scan(&*storage, Some(shard), |record| {
        match runs.last_mut() {
            Some(run) if run.0 == record.epoch => run.1 = record.seq,
            _ => runs.push((record.epoch, record.seq)),
        }
        if record.seq == known.seq {
            chain_at_known = Some(record.chain);
        }
        if record.seq > known.seq {
            visit(record)
        } else {
            Ok(())
        }
    })?;
    if found.last_seq < known.seq {
        let (last_seq, known_seq) = (found.last_seq, known.seq);
        return Err(Error::Ends {
            last_seq,
            known_seq,
        }
        .into());
    }
    if chain_at_known.unwrap_or(found.chain_before) != known.chain {
        return Err(Error::Corrupt(Place {
            file: found.segments.first().cloned().unwrap_or_default(),
            offset: 0,
            seq: known.seq,
            why: "the snapshot is of another log: the chain at its seq differs".into(),
        })
        .into());
    }
    let log = match found.segments.last() {
        None => Log::create(storage, shard, options, Head::default())?,
        Some(segment) => repair(storage, shard, options, segment, &found)?,
    };
    Ok(Recovered {
        log,
        last_seq: found.last_seq,
        last_epoch: found.last_epoch,
        last_time_us: found.last_time_us,
        chain: found.chain,
        runs,
        cut: found.torn,
    })
}

/// Begins a log in a folder that has none, behind what is known. Durable when it comes back.
pub fn begin(
    storage: Arc<dyn Storage>,
    shard: &str,
    options: Options,
    known: Known,
) -> Result<(), Error> {
    let head = Head {
        next_seq: known.seq + 1,
        chain: known.chain,
    };
    Log::create(storage, shard, options, head).map(|_| ())
}

fn repair(
    storage: Arc<dyn Storage>,
    shard: &str,
    options: Options,
    segment: &str,
    found: &Scan,
) -> Result<Log, Error> {
    let tail = &found.end;
    let file = storage
        .open(segment)
        .map_err(Error::io(format!("open {segment}")))?;
    let capacity = tail.bytes.len().max(options.segment_bytes);
    let write = || {
        // Written again, not only synced: after a sync that failed, memory may hold what the disk does not.
        let batch = &tail.bytes
            [tail.batch_position.min(tail.position)..tail.position.min(tail.bytes.len())];
        file.write_at(batch, tail.batch_position as u64)?;
        if tail.unmarked {
            file.write_at(&MARKER, (tail.position - MARKER.len()) as u64)?;
        }
        file.sync()?;
        spare::zero(&*file, tail.position, tail.used, || ())?;
        spare::zero(&*file, tail.bytes.len().max(tail.position), capacity, || ())?;
        storage.sync_folder()
    };
    write().map_err(Error::io(format!("make the end of {segment} durable")))?;
    let end = End {
        segment: segment.into(),
        capacity,
        position: tail.position,
        head: Head {
            next_seq: found.last_seq + 1,
            chain: found.chain,
        },
    };
    Ok(Log::at(storage, shard, options, file, end))
}
