//! Makes the next segment ahead of need: a file of zeros, written and synced in small portions, so that the writer's
//! own syncs are not held up behind it. Overwriting zeros that are on the disk syncs in half the time of growing a file.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::{File, Storage};

/// What a segment is called before it has a first seq. One left by a crash is simply made anew.
pub const NAME: &str = "next.prepared";
const PORTION_BYTES: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(10);

pub struct Spare {
    storage: Arc<dyn Storage>,
    segment_bytes: usize,
    hurry: Arc<AtomicBool>,
    making: Option<JoinHandle<io::Result<Box<dyn File>>>>,
}

impl Spare {
    pub fn new(storage: Arc<dyn Storage>, segment_bytes: usize) -> Spare {
        Spare {
            storage,
            segment_bytes,
            hurry: Arc::default(),
            making: None,
        }
    }

    /// Starts a thread that makes the file, unless one does or did.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.making.is_none() {
            let (storage, bytes, hurry) =
                (self.storage.clone(), self.segment_bytes, self.hurry.clone());
            hurry.store(false, Ordering::Relaxed);
            let make = move || make(&*storage, bytes, &hurry);
            self.making = Some(
                thread::Builder::new()
                    .name("wal-spare".into())
                    .spawn(make)?,
            );
        }
        Ok(())
    }

    /// The file, named [`NAME`], all zeros and durable. Waits for it, or makes it now.
    pub fn take(&mut self) -> io::Result<Box<dyn File>> {
        self.hurry.store(true, Ordering::Relaxed);
        match self.making.take() {
            Some(making) => making
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread panicked"))),
            None => make(&*self.storage, self.segment_bytes, &self.hurry),
        }
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        if let Some(making) = self.making.take() {
            // What became of a file that nobody needs any more is of no interest.
            let _ = making.join();
        }
    }
}

fn make(
    storage: &dyn Storage,
    segment_bytes: usize,
    hurry: &AtomicBool,
) -> io::Result<Box<dyn File>> {
    let file = storage.create(NAME)?;
    zero(&*file, 0, segment_bytes, || {
        if !hurry.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
    })?;
    Ok(file)
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
