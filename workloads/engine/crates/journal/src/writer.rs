//! The writer thread: one batch at a time, appended and synced while the caller does something else.
//!
//! A disk that says no is asked again, every so often, until it says yes or the writer is dropped. Meanwhile nothing is
//! acknowledged; what was submitted stays submitted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::{Batch, Bell, Error, Log, Pace, Tried};

/// How far the log is durable, and whether it goes on.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    pub durable_seq: u64,
    pub segment: String,
    /// What the segment still takes. A batch that fits needs no room on the disk.
    pub room_bytes: usize,
    /// Why nothing goes on at the moment.
    pub trouble: Option<Trouble>,
    /// Why the next segment could not be made ahead of need.
    pub warning: Option<String>,
    /// Why the thread gave up. What is beyond `durable_seq` has an unknown fate and is never acknowledged.
    pub failed: Option<String>,
}

/// What the disk refuses, and is asked for again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The next segment cannot be made. Everything that was submitted before is durable.
    NoRoom(String),
    /// The batch that is submitted cannot be written or synced.
    NotWritten(String),
}

impl Trouble {
    pub fn why(&self) -> &str {
        match self {
            Trouble::NoRoom(why) | Trouble::NotWritten(why) => why,
        }
    }
}

enum Job {
    Append(Arc<Batch>),
    /// The batch whose append failed with an error of the disk.
    AppendAgain(Arc<Batch>),
    Roll,
}

pub struct Writer {
    progress: Arc<Mutex<Progress>>,
    jobs: Option<SyncSender<Job>>,
    ending: Arc<AtomicBool>,
    pace: Option<Arc<dyn Pace>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `bell` rings when `progress` has changed.
    pub fn start(log: Log, bell: Arc<Bell>) -> Result<Writer, Error> {
        let progress = Progress {
            durable_seq: log.next_seq() - 1,
            segment: log.segment().into(),
            room_bytes: log.room_bytes(),
            ..Progress::default()
        };
        let progress = Arc::new(Mutex::new(progress));
        let (sender, receiver) = sync_channel(1);
        let ending = Arc::new(AtomicBool::new(false));
        let (shared, ends) = (progress.clone(), ending.clone());
        let pace = log.pace();
        let paced = pace.clone();
        let thread = thread::Builder::new()
            .name("wal-writer".into())
            .spawn(move || write(log, &receiver, &ends, &bell, &shared, paced.as_deref()))
            .map_err(Error::io("start the writer thread"))?;
        Ok(Writer {
            progress,
            jobs: Some(sender),
            ending,
            pace,
            thread: Some(thread),
        })
    }

    /// At most one batch waits behind the one that is being written; a third waits here. After a failure it does nothing.
    pub fn submit(&self, batch: Arc<Batch>) {
        self.send(Job::Append(batch));
    }

    /// Goes on to the next segment, so that a batch fits that does not fit now.
    pub fn roll(&self) {
        self.send(Job::Roll);
    }

    fn send(&self, job: Job) {
        let jobs = self
            .jobs
            .as_ref()
            .expect("the channel is open until the writer is dropped");
        if let Some(pace) = &self.pace {
            pace.given();
        }
        // The thread is gone only after it said why in `progress`.
        let _ = jobs.send(job);
    }

    pub fn progress(&self) -> Progress {
        self.progress
            .lock()
            .expect("nobody panics with the progress in hand")
            .clone()
    }
}

impl Drop for Writer {
    /// Writes what was submitted, as far as the disk takes it at once, then ends the thread.
    fn drop(&mut self) {
        self.jobs = None;
        self.ending.store(true, Ordering::Relaxed);
        if let Some(pace) = &self.pace {
            pace.ending();
        }
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        if let Some(pace) = &self.pace {
            pace.ended();
        }
    }
}

fn write(
    mut log: Log,
    jobs: &Receiver<Job>,
    ending: &AtomicBool,
    bell: &Bell,
    progress: &Mutex<Progress>,
    pace: Option<&dyn Pace>,
) {
    let tried = |tried| {
        if let Some(pace) = pace {
            pace.tried(tried);
        }
    };
    let _last_words = LastWords { bell, progress };
    for mut job in jobs {
        loop {
            if let Some(pace) = pace {
                pace.begin();
            }
            let last_try = ending.load(Ordering::Relaxed);
            let trouble = match carry_out(&mut log, &job) {
                Ok(()) => None,
                Err(error @ Error::NoRoom { .. }) => Some(Trouble::NoRoom(error.to_string())),
                Err(error @ Error::Io { .. }) => {
                    job = job.again();
                    Some(Trouble::NotWritten(error.to_string()))
                }
                Err(error) => {
                    tell(bell, progress, |progress| {
                        progress.failed = Some(error.to_string());
                    });
                    tried(Tried::GaveUp);
                    return;
                }
            };
            let again = trouble.is_some();
            let warning = log.look_ahead();
            tell(bell, progress, |progress| {
                progress.durable_seq = log.next_seq() - 1;
                if progress.segment != log.segment() {
                    progress.segment = log.segment().into();
                }
                progress.room_bytes = log.room_bytes();
                progress.trouble = trouble;
                progress.warning = warning;
            });
            tried(if again { Tried::Again } else { Tried::Done });
            if !again {
                break;
            }
            if last_try {
                return;
            }
            // Woken early when the writer is dropped, for one try more.
            thread::park_timeout(log.options().retry);
        }
    }
}

impl Job {
    fn again(self) -> Job {
        match self {
            Job::Append(batch) => Job::AppendAgain(batch),
            same => same,
        }
    }
}

fn carry_out(log: &mut Log, job: &Job) -> Result<(), Error> {
    match job {
        Job::Append(batch) => log.append(batch),
        Job::AppendAgain(batch) => log.append_again(batch),
        Job::Roll => log.roll(),
    }
}

fn tell(bell: &Bell, progress: &Mutex<Progress>, change: impl FnOnce(&mut Progress)) {
    change(
        &mut progress
            .lock()
            .expect("nobody panics with the progress in hand"),
    );
    bell.ring();
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
