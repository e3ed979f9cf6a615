//! Snapshots: a state at one seq, as opaque bytes, in a file that is whole or not taken.
//!
//! A file is written under another name, synced, and renamed. What is read is checked against its hash before anybody
//! uses it; a bad one is passed over for an older one, and the caller is told. Little-endian:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 8 | magic |
//! | 8 | 4 | version of this header |
//! | 12 | 4 | length of the shard's name |
//! | 16 | 8 | seq: the state is that right after it, and the log goes on behind it |
//! | 24 | 8 | epoch of that record |
//! | 32 | 8 | its time, microseconds since 1970 |
//! | 40 | 32 | its chain |
//! | 72 | 4 | version of the kernel, 4 zeros |
//! | 80 | 8 | length of the body |
//! | 88 | 32 | SHA-256 of the body |
//! | 120 | 64 | the shard's name |
//! | 184 | 4 | 4 zeros |
//! | 188 | 4 | CRC32C of bytes 0 to 188 |
//! | 192 | | body |

use sha2::{Digest, Sha256};

use crate::record::u64_at;
use crate::{Chain, Error, Storage};

const MAGIC: [u8; 8] = *b"\xF5OBSNP\xFA\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 192;
const CRC_AT: usize = 188;
const SHARD_AT: usize = 120;
const SHARD_MOST: usize = 64;
const SUFFIX: &str = ".snapshot";
const UNFINISHED: &str = ".snapshot.new";

/// What a state is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub shard: String,
    /// Of the last command that the state has.
    pub seq: u64,
    /// Of that command's record.
    pub epoch: u64,
    pub time_us: i64,
    pub chain: Chain,
    /// Who understands the body.
    pub kernel_version: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub position: Position,
    pub body: Vec<u8>,
}

/// A file that was passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    pub file: String,
    pub why: String,
}

pub fn name(seq: u64) -> String {
    format!("{seq:020}{SUFFIX}")
}

/// The seqs of all snapshots in a folder, oldest first, good or bad.
pub fn seqs(storage: &dyn Storage) -> Result<Vec<u64>, Error> {
    let names = storage.list().map_err(Error::io("list the snapshots"))?;
    let seq = |name: &String| {
        let digits = name.strip_suffix(SUFFIX).filter(|it| it.len() == 20)?;
        digits.parse().ok()
    };
    let mut seqs: Vec<u64> = names.iter().filter_map(seq).collect();
    seqs.sort_unstable();
    Ok(seqs)
}

/// Durable when it comes back. After an error, or a crash, the snapshots that were there are there.
pub fn write(storage: &dyn Storage, position: &Position, body: &[u8]) -> Result<String, Error> {
    let name = name(position.seq);
    let head = encode_head(position, body);
    let write = || {
        let file = storage.create(UNFINISHED)?;
        file.write_at(&head, 0)?;
        file.write_at(body, HEADER_BYTES as u64)?;
        file.sync()?;
        storage.rename(UNFINISHED, &name)?;
        storage.sync_folder()
    };
    let written = write();
    if written.is_err() && storage.size(UNFINISHED).is_ok() {
        // It gives back what it took of the disk. The first error is the one that counts.
        let _ = storage.remove(UNFINISHED);
    }
    written.map_err(Error::io(format!("write the snapshot {name}")))?;
    Ok(name)
}

/// The newest good snapshot, and the newer ones that are not good. An error of the disk makes one bad as well.
pub fn newest(storage: &dyn Storage, shard: &str) -> Result<(Option<Snapshot>, Vec<Bad>), Error> {
    newest_up_to(storage, shard, u64::MAX)
}

/// As `newest`, of those of a seq up to `seq_most`.
pub fn newest_up_to(
    storage: &dyn Storage,
    shard: &str,
    seq_most: u64,
) -> Result<(Option<Snapshot>, Vec<Bad>), Error> {
    let mut bad = Vec::new();
    let seqs = seqs(storage)?.into_iter().rev();
    for seq in seqs.filter(|seq| *seq <= seq_most) {
        let file = name(seq);
        let read = storage.read(&file).map_err(|error| error.to_string());
        match read.and_then(|bytes| decode(bytes, seq)) {
            Ok(snapshot) if snapshot.position.shard == shard => return Ok((Some(snapshot), bad)),
            Ok(other) => {
                return Err(Error::WrongShard {
                    file,
                    found: other.position.shard,
                    wanted: shard.into(),
                });
            }
            Err(why) => bad.push(Bad { file, why }),
        }
    }
    Ok((None, bad))
}

/// Removes all but the newest `keep`, and the newest of a seq up to `behind`: who goes on from there needs the state too.
/// Returns the oldest seq that is left: up to there the log may be recycled. Call it only after the newest was read
/// back as good.
pub fn prune(storage: &dyn Storage, keep: usize, behind: u64) -> Result<Option<u64>, Error> {
    let seqs = seqs(storage)?;
    let newest_behind = seqs.iter().rev().find(|seq| **seq <= behind);
    let newest = seqs.len().saturating_sub(keep);
    let (kept, gone): (Vec<_>, Vec<_>) = (seqs.iter().enumerate())
        .partition(|(index, seq)| *index >= newest || Some(*seq) == newest_behind);
    for (_, seq) in gone {
        storage
            .remove(&name(*seq))
            .map_err(Error::io(format!("remove {}", name(*seq))))?;
    }
    storage
        .sync_folder()
        .map_err(Error::io("sync the folder of the snapshots"))?;
    Ok(kept.first().map(|(_, seq)| **seq))
}

fn encode_head(position: &Position, body: &[u8]) -> Vec<u8> {
    let shard = position.shard.as_bytes();
    assert!(
        shard.len() <= SHARD_MOST,
        "the shard's name has at most {SHARD_MOST} bytes"
    );
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(shard.len() as u32).to_le_bytes());
    out.extend_from_slice(&position.seq.to_le_bytes());
    out.extend_from_slice(&position.epoch.to_le_bytes());
    out.extend_from_slice(&position.time_us.to_le_bytes());
    out.extend_from_slice(&position.chain);
    out.extend_from_slice(&position.kernel_version.to_le_bytes());
    out.resize(80, 0);
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&Sha256::digest(body));
    out.extend_from_slice(shard);
    out.resize(CRC_AT, 0);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// The whole file, or why it is not good.
fn decode(mut bytes: Vec<u8>, seq: u64) -> Result<Snapshot, String> {
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    if bytes.len() < HEADER_BYTES
        || bytes[..8] != MAGIC
        || u32_at(CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT])
    {
        return Err("its header is not whole".into());
    }
    if u32_at(8) != VERSION {
        let version = u32_at(8);
        return Err(format!(
            "version {version} of its header; this engine reads version {VERSION}"
        ));
    }
    let shard_end = SHARD_AT + (u32_at(12) as usize).min(SHARD_MOST);
    let position = Position {
        shard: String::from_utf8_lossy(&bytes[SHARD_AT..shard_end]).into_owned(),
        seq: u64_at(&bytes, 16),
        epoch: u64_at(&bytes, 24),
        time_us: u64_at(&bytes, 32) as i64,
        chain: bytes[40..72].try_into().expect("32 bytes"),
        kernel_version: u32_at(72),
    };
    if position.seq != seq {
        return Err(format!("it is one of seq {}", position.seq));
    }
    let (length, sha256) = (u64_at(&bytes, 80), bytes[88..120].to_vec());
    let body = bytes.split_off(HEADER_BYTES);
    if body.len() as u64 != length {
        return Err(format!("its body has {} bytes of {length}", body.len()));
    }
    if Sha256::digest(&body).as_slice() != sha256 {
        return Err("its body does not match its SHA-256".into());
    }
    Ok(Snapshot { position, body })
}
