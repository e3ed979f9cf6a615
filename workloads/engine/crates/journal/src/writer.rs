//! The writer thread: one batch at a time, appended and synced while the caller does something else.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::{Batch, Bell, Error, Log};

/// How far the log is durable, and whether it goes on.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub durable_seq: u64,
    pub segment: String,
    /// Why the thread gave up. What is beyond `durable_seq` has an unknown fate and is never acknowledged.
    pub failed: Option<String>,
}

pub struct Writer {
    bell: Arc<Bell>,
    progress: Arc<Mutex<Progress>>,
    batches: Option<SyncSender<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(log: Log) -> Result<Writer, Error> {
        let bell = Arc::new(Bell::new().map_err(Error::io("make an eventfd"))?);
        let progress = Progress {
            durable_seq: log.next_seq() - 1,
            segment: log.segment().into(),
            failed: None,
        };
        let progress = Arc::new(Mutex::new(progress));
        let (sender, receiver) = sync_channel(1);
        let (rung, shared) = (bell.clone(), progress.clone());
        let thread = thread::Builder::new()
            .name("wal-writer".into())
            .spawn(move || write(log, &receiver, &rung, &shared))
            .map_err(Error::io("start the writer thread"))?;
        Ok(Writer {
            bell,
            progress,
            batches: Some(sender),
            thread: Some(thread),
        })
    }

    /// Rings when `progress` has changed.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// At most one batch waits behind the one that is being written; a third waits here. After a failure it does nothing.
    pub fn submit(&self, batch: Batch) {
        let batches = self
            .batches
            .as_ref()
            .expect("the channel is open until the writer is dropped");
        // The thread is gone only after it said why in `progress`.
        let _ = batches.send(batch);
    }

    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .expect("nobody panics with the progress in hand")
            .clone()
    }
}

impl Drop for Writer {
    /// Writes what was submitted, then ends the thread.
    fn drop(&mut self) {
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write(mut log: Log, batches: &Receiver<Batch>, bell: &Bell, progress: &Mutex<Progress>) {
    let _last_words = LastWords { bell, progress };
    for batch in batches {
        let outcome = log.append(&batch);
        let mut progress = progress
            .lock()
            .expect("nobody panics with the progress in hand");
        match &outcome {
            Ok(()) => {
                progress.durable_seq = batch.seqs().end - 1;
                if progress.segment != log.segment() {
                    progress.segment = log.segment().into();
                }
            }
            Err(error) => progress.failed = Some(error.to_string()),
        }
        drop(progress);
        bell.ring();
        if outcome.is_err() {
            return;
        }
    }
}

/// A writer that panics says so, or everybody would wait for it.
struct LastWords<'a> {
    bell: &'a Bell,
    progress: &'a Mutex<Progress>,
}

impl Drop for LastWords<'_> {
    fn drop(&mut self) {
        if thread::panicking()
            && let Ok(mut progress) = self.progress.lock()
        {
            progress.failed = Some("the writer thread of the log panicked".into());
            self.bell.ring();
        }
    }
}
