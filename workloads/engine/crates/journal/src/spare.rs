//! Makes the next segment ahead of need: a file of zeros, written and synced in small portions, so that the writer's
//! own syncs are not held up behind it. Overwriting zeros that are on the disk syncs in half the time of growing a file.
//!
//! Only here does the log ask the disk for room. A recycled segment needs none: it is filled with zeros where it lies.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::{File, Storage, retention};

/// What a segment is called before it has a first seq. One left by a crash is filled with zeros again.
pub const NAME: &str = "next.prepared";
const PORTION_BYTES: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(10);

type Made = io::Result<Box<dyn File>>;

enum State {
    Nothing,
    Making(JoinHandle<Made>),
    Made(Box<dyn File>),
    Failed { at: Instant, why: String },
}

pub struct Spare {
    storage: Arc<dyn Storage>,
    segment_bytes: usize,
    retry: Duration,
    hurry: Arc<AtomicBool>,
    state: State,
}

impl Spare {
    /// After a failure ahead of need it is not tried again for `retry`.
    pub fn new(storage: Arc<dyn Storage>, segment_bytes: usize, retry: Duration) -> Spare {
        Spare {
            storage,
            segment_bytes,
            retry,
            hurry: Arc::default(),
            state: State::Nothing,
        }
    }

    /// Starts a thread that makes the file, unless one does or did, or failed just now. Says why the last one failed.
    pub fn ahead(&mut self) -> Option<String> {
        self.look();
        match &self.state {
            State::Making(_) | State::Made(_) => return None,
            State::Failed { at, why } if at.elapsed() < self.retry => return Some(why.clone()),
            State::Failed { .. } | State::Nothing => {}
        }
        let failed = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Failed { why, .. } => Some(why),
            _ => None,
        };
        let (storage, bytes, hurry) =
            (self.storage.clone(), self.segment_bytes, self.hurry.clone());
        hurry.store(false, Ordering::Relaxed);
        let thread = thread::Builder::new()
            .name("wal-spare".into())
            .spawn(move || make(&*storage, bytes, &hurry));
        self.state = match thread {
            Ok(making) => State::Making(making),
            Err(error) => State::failed(&error),
        };
        failed
    }

    /// Takes the outcome of a thread that has ended.
    fn look(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Nothing) {
            State::Making(making) if making.is_finished() => match outcome(making) {
                Ok(file) => State::Made(file),
                Err(error) => State::failed(&error),
            },
            other => other,
        };
    }

    /// The file, named [`NAME`], all zeros and durable. Waits for it, or makes it now.
    pub fn take(&mut self) -> Made {
        self.hurry.store(true, Ordering::Relaxed);
        match std::mem::replace(&mut self.state, State::Nothing) {
            State::Made(file) => return Ok(file),
            State::Making(making) => {
                if let Ok(file) = outcome(making) {
                    return Ok(file);
                }
            }
            State::Failed { .. } | State::Nothing => {}
        }
        // What failed ahead of need may find room now.
        make(&*self.storage, self.segment_bytes, &self.hurry)
    }
}

impl State {
    fn failed(error: &io::Error) -> State {
        State::Failed {
            at: Instant::now(),
            why: error.to_string(),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        if let State::Making(making) = std::mem::replace(&mut self.state, State::Nothing) {
            // What became of a file that nobody needs any more is of no interest.
            let _ = making.join();
        }
    }
}

fn outcome(making: JoinHandle<Made>) -> Made {
    making
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn make(storage: &dyn Storage, segment_bytes: usize, hurry: &AtomicBool) -> Made {
    let file = match reusable(storage, segment_bytes)? {
        Some(name) if name != NAME => {
            storage.rename(&name, NAME)?;
            storage.open(NAME)?
        }
        Some(_) => storage.open(NAME)?,
        None => storage.create(NAME)?,
    };
    let made = zero(&*file, 0, segment_bytes, || {
        if !hurry.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
    });
    let unfinished = |size| size != segment_bytes as u64;
    if made.is_err() && storage.size(NAME).is_ok_and(unfinished) {
        // What there was of room is left to others until there is enough. The first error is the one that counts.
        let _ = storage.create(NAME);
    }
    made.map(|()| file)
}

/// A file that has the room of a segment already.
fn reusable(storage: &dyn Storage, segment_bytes: usize) -> io::Result<Option<String>> {
    let mut names = storage.list()?;
    names.retain(|name| name == NAME || retention::is_recycled(name));
    // What a crash left behind comes first.
    names.sort_by_key(|name| (name != NAME, name.clone()));
    for name in names {
        if storage.size(&name)? == segment_bytes as u64 {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Writes and syncs zeros from `start` to `end`, calling `between` after each portion.
pub fn zero(file: &dyn File, start: usize, end: usize, between: impl Fn()) -> io::Result<()> {
    let zeros = vec![0; PORTION_BYTES.min(end.saturating_sub(start))];
    let mut at = start;
    while at < end {
        let bytes = zeros.len().min(end - at);
        file.write_at(&zeros[..bytes], at as u64)?;
        file.sync()?;
        at += bytes;
        between();
    }
    Ok(())
}
