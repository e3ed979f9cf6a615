//! Which segments may go, as a pure decision, and how they go. The newest never does.
//!
//! From which seq on somebody may still ask for records, the caller knows. Whoever has to see a segment's signed root
//! comes first all the same.

use std::io;

use crate::segment::{segment_name, segments};
use crate::{Error, Storage};

/// Recycled segments that wait to be written again; more are removed.
const RECYCLED_MOST: usize = 2;
const RECYCLED: &str = ".recycled";
/// On the way there: its new name may not be durable, so nobody may write on it.
const PASSED: &str = ".passed";
/// A signed root lies beside its segment, under its name and this. It stays when the segment goes.
pub const SIGNATURE: &str = ".sig";

/// A segment as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub first_seq: u64,
    /// Its root is signed and durable.
    pub signed: bool,
}

/// How many of these segments, oldest first, hold nothing from `needed_from` on, are signed and are not the newest.
pub fn passed(segments: &[Candidate], needed_from: u64) -> usize {
    segments
        .windows(2)
        .take_while(|pair| pair[0].signed && pair[1].first_seq <= needed_from)
        .count()
}

/// Recycles every segment that nobody needs from `needed_from` on. Returns the names that are gone from the log.
/// After an error some may be gone, always the oldest; call it again.
pub fn retain(storage: &dyn Storage, needed_from: u64) -> Result<Vec<String>, Error> {
    let names = storage.list().map_err(Error::io("list the segments"))?;
    let signed = |name: &str| names.contains(&format!("{name}{SIGNATURE}"));
    let found: Vec<Candidate> = segments(names.clone())
        .into_iter()
        .map(|(first_seq, name)| Candidate {
            first_seq,
            signed: signed(&name),
        })
        .collect();
    let mut gone = Vec::new();
    for segment in &found[..passed(&found, needed_from)] {
        let name = segment_name(segment.first_seq);
        // One by one, oldest first: a crash must not leave a gap, nor a name of the log on zeros.
        storage
            .rename(&name, &format!("{name}{PASSED}"))
            .and_then(|()| storage.sync_folder())
            .map_err(Error::io(format!("recycle {name}")))?;
        gone.push(name);
    }
    recycle_passed(storage).map_err(Error::io("recycle the segments that were passed"))?;
    Ok(gone)
}

/// Also those that a crash left on the way.
fn recycle_passed(storage: &dyn Storage) -> io::Result<()> {
    let names = storage.list()?;
    let waiting = names.iter().filter(|name| is_recycled(name)).count();
    let passed = names.iter().filter_map(|name| name.strip_suffix(PASSED));
    for (index, name) in passed.enumerate() {
        let from = format!("{name}{PASSED}");
        match waiting + index < RECYCLED_MOST {
            true => storage.rename(&from, &format!("{name}{RECYCLED}"))?,
            false => storage.remove(&from)?,
        }
    }
    Ok(())
}

pub(crate) fn is_recycled(name: &str) -> bool {
    name.ends_with(RECYCLED)
}
