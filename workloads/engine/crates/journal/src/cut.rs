//! Cuts what a log has behind some seq, for good: the leader does not have it. Nothing of it was acknowledged.
//!
//! Wherever the power goes, what is left is a whole log that ends somewhere between the cut and its old end.

use crate::record::{Found, find, record_bytes};
use crate::retention::SIGNATURE;
use crate::segment::{HEADER_BYTES, decode_header, segments};
use crate::{Error, Place, Storage};

/// The segment that the log ends in from now on, until it has its name. One left by a crash is written anew.
const NAME: &str = "cut.prepared";

/// Durable when it comes back; nobody writes on the log meanwhile. Cuts nothing of a log that ends at `last_seq` or
/// before. The log must begin at `last_seq + 1` at the latest.
pub fn cut(storage: &dyn Storage, last_seq: u64) -> Result<(), Error> {
    let names = segments(storage.list().map_err(Error::io("list the segments"))?);
    let kept = names.partition_point(|(first_seq, _)| *first_seq <= last_seq + 1);
    let Some((first_seq, name)) = kept.checked_sub(1).map(|at| names[at].clone()) else {
        return match names.first() {
            None => Ok(()),
            Some((first_seq, _)) => Err(Error::Begins {
                first_seq: *first_seq,
                wanted_seq: last_seq + 1,
            }),
        };
    };
    // From its end: a log never has a hole.
    for (_, later) in names[kept..].iter().rev() {
        remove(storage, later)?;
    }
    let bytes = storage
        .read(&name)
        .map_err(Error::io(format!("read {name}")))?;
    decode_header(&name, &bytes, first_seq)?;
    let position = behind(&name, &bytes, last_seq)?;
    if bytes[position..].iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let replace = || {
        unsign(storage, &name)?;
        let file = storage.create(NAME)?;
        let mut kept = bytes.clone();
        kept[position..].fill(0);
        file.write_at(&kept, 0)?;
        file.sync()?;
        storage.rename(NAME, &name)?;
        storage.sync_folder()
    };
    replace().map_err(Error::io(format!("cut {name} behind seq {last_seq}")))
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), Error> {
    unsign(storage, name)
        .and_then(|()| storage.remove(name))
        .and_then(|()| storage.sync_folder())
        .map_err(Error::io(format!("remove {name}")))
}

/// The signature of a segment speaks of all of it.
fn unsign(storage: &dyn Storage, name: &str) -> std::io::Result<()> {
    let signature = format!("{name}{SIGNATURE}");
    if storage.list()?.contains(&signature) {
        storage.remove(&signature)?;
        storage.sync_folder()?;
    }
    Ok(())
}

/// Where the record of `last_seq` ends, or all records do.
fn behind(name: &str, bytes: &[u8], last_seq: u64) -> Result<usize, Error> {
    let mut at = HEADER_BYTES;
    let mut seq = 0;
    loop {
        match find(bytes, bytes.len(), at) {
            Found::Whole(record) if record.seq <= last_seq => {
                at += record_bytes(record.payload.len());
                seq = record.seq;
            }
            Found::Whole(_) => return Ok(at),
            _ if bytes[at..].iter().all(|byte| *byte == 0) => return Ok(at),
            found => {
                return Err(Error::Corrupt(Place {
                    file: name.into(),
                    offset: at as u64,
                    seq: seq + 1,
                    why: format!("a record that was read at the start is not whole: {found:?}"),
                }));
            }
        }
    }
}
