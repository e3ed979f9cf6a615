//! Snapshots: the state that a kernel begins with, and how a new one is made of the log.
//!
//! One that is bad in any way (the file's hash, the kernel's reading of it, the state hash) is passed over for an older
//! one, and told. Making one reads the log beside the engine and shares nothing with it but the folder.

use openbourse_journal::snapshot::{self, Bad, Position, newest_up_to, prune};
use openbourse_journal::{Known, Options, Reader, Storage, begin};
use openbourse_protocol::{Shard, Stamp};
use std::sync::Arc;

use crate::Fatal;

/// A kernel, and how far in the log it is.
pub struct Start {
    pub kernel: Shard,
    pub known: Known,
    /// Of the last command that it has; 0 before the first.
    pub epoch: u64,
    pub time_us: i64,
    /// Newer snapshots that were passed over.
    pub bad: Vec<Bad>,
}

impl Start {
    /// From the newest good snapshot of a seq up to `seq_most`; before seq 1 where there is none.
    pub fn newest(storage: &dyn Storage, shard: &str, seq_most: u64) -> Result<Start, Fatal> {
        let mut start = Start {
            kernel: Shard::new(shard),
            known: Known::default(),
            epoch: 0,
            time_us: 0,
            bad: Vec::new(),
        };
        let mut seq_most = seq_most;
        loop {
            let (found, bad) = newest_up_to(storage, shard, seq_most)?;
            start.bad.extend(bad);
            let Some(found) = found else {
                return Ok(start);
            };
            match kernel_of(&found.position, &found.body) {
                Ok(kernel) => {
                    start.kernel = kernel;
                    start.known = Known {
                        seq: found.position.seq,
                        chain: found.position.chain,
                    };
                    (start.epoch, start.time_us) = (found.position.epoch, found.position.time_us);
                    return Ok(start);
                }
                Err(why) => start.bad.push(Bad {
                    file: snapshot::name(found.position.seq),
                    why,
                }),
            }
            seq_most = found.position.seq - 1;
        }
    }
}

/// Begins a log behind the snapshot of `seq`, the only thing in its folder, after that was checked as a start checks it.
/// Durable when it comes back, the snapshot too if it was.
pub fn begin_log(
    storage: Arc<dyn Storage>,
    shard: &str,
    seq: u64,
    options: Options,
) -> Result<(), Fatal> {
    let start = Start::newest(&*storage, shard, seq)?;
    if start.known.seq != seq {
        return Err(Fatal::Snapshots(start.bad));
    }
    Ok(begin(storage, shard, options, start.known)?)
}

/// One of seq 0 is none.
fn kernel_of(position: &Position, body: &[u8]) -> Result<Shard, String> {
    let kernel = Shard::of_snapshot(body).map_err(|unusable| unusable.to_string())?;
    let said = (
        position.shard.as_str(),
        position.seq,
        position.kernel_version,
    );
    let found = (kernel.shard(), kernel.seq(), kernel.version().number());
    match position.seq > 0 && said == found {
        true => Ok(kernel),
        false => Err(format!("it says {said:?} and has the state of {found:?}")),
    }
}

/// A snapshot that was made, read back as a state with its hash, and is durable.
pub struct Made {
    pub file: String,
    pub seq: u64,
    pub bytes: u64,
    /// The seq that the replay began behind.
    pub from_seq: u64,
    /// Snapshots that were passed over on the way.
    pub bad: Vec<Bad>,
    /// The oldest that is kept: what comes before it is needed for no recovery.
    pub oldest_seq: u64,
}

/// Makes the snapshot of `seq`, which is committed, and keeps the newest `keep`, this one among them, and the newest of
/// a seq up to `behind`. Two at a time for one folder are the caller's to prevent.
pub fn make(
    storage: Arc<dyn Storage>,
    shard: &str,
    seq: u64,
    keep: usize,
    behind: u64,
) -> Result<Made, Fatal> {
    let start = Start::newest(&*storage, shard, seq)?;
    let (bad, from_seq) = (start.bad.clone(), start.known.seq);
    let (file, bytes) = match from_seq == seq {
        true => (snapshot::name(seq), storage_size(&*storage, seq)?),
        false => {
            let (position, body) = replayed(storage.clone(), start, seq)?;
            let file = snapshot::write(&*storage, &position, &body)?;
            (file, body.len() as u64)
        }
    };
    // Only one that can be gone on from may make an older one go.
    let back = Start::newest(&*storage, shard, seq)?;
    if back.known.seq != seq {
        return Err(Fatal::Snapshots(back.bad));
    }
    let oldest_seq = prune(&*storage, keep.max(1), behind)?.unwrap_or(seq);
    Ok(Made {
        file,
        seq,
        bytes,
        from_seq,
        bad,
        oldest_seq,
    })
}

fn storage_size(storage: &dyn Storage, seq: u64) -> Result<u64, Fatal> {
    let name = snapshot::name(seq);
    let size = storage.size(&name);
    size.map_err(|source| {
        Fatal::Log(openbourse_journal::Error::Io {
            doing: format!("look at {name}"),
            source,
        })
    })
}

/// The state at `seq`, as it is to be written.
fn replayed(
    storage: Arc<dyn Storage>,
    start: Start,
    seq: u64,
) -> Result<(Position, Vec<u8>), Fatal> {
    let mut kernel = start.kernel;
    let mut reader = Reader::starting_at(storage, start.known.seq + 1);
    let mut last = (start.epoch, start.time_us, start.known.chain);
    let (mut reply, mut events) = (Vec::new(), Vec::new());
    while let Some(record) = reader.next(seq)? {
        let stamp = Stamp {
            seq: record.seq,
            epoch: record.epoch,
            time_us: record.time_us,
        };
        reply.clear();
        events.clear();
        kernel.step(stamp, record.payload, &mut reply, &mut events)?;
        last = (record.epoch, record.time_us, record.chain);
    }
    let (epoch, time_us, chain) = last;
    let position = Position {
        shard: kernel.shard().into(),
        seq,
        epoch,
        time_us,
        chain,
        kernel_version: kernel.version().number(),
    };
    let mut body = Vec::new();
    kernel.write_snapshot(&mut body);
    Ok((position, body))
}
