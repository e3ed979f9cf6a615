//! An eventfd: a thread rings, an event loop that polls the descriptor wakes.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};

pub struct Bell(OwnedFd);

impl Bell {
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?))
    }

    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    pub fn ring(&self) {
        match write(&self.0, &1u64.to_ne_bytes()) {
            // A counter that is full is a bell that rings already.
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => panic!("the eventfd of the log is broken: {error}"),
        }
    }

    /// Stops ringing. Look at the progress after this, never before.
    pub fn silence(&self) {
        match read(&self.0, &mut [0u8; 8]) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => panic!("the eventfd of the log is broken: {error}"),
        }
    }
}
