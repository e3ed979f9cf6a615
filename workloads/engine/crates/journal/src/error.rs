//! Why the log cannot go on. None of these is worth a retry inside the process.

use std::{fmt, io};

/// Where in the log something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub offset: u64,
    /// The seq that the record at this place must have.
    pub seq: u64,
    pub why: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at offset {} (seq {}): {}",
            self.file, self.offset, self.seq, self.why
        )
    }
}

#[derive(Debug)]
pub enum Error {
    /// The disk refused. After a failed fdatasync nobody knows what is on it, so it is never tried again.
    Io { doing: String, source: io::Error },
    /// A record that may have been acknowledged is damaged.
    Corrupt(Place),
    /// The folder holds the log of another shard.
    WrongShard {
        file: String,
        found: String,
        wanted: String,
    },
    /// Another process writes this log.
    Locked { folder: String },
    /// A batch that no segment can hold.
    TooLarge { bytes: usize, most: usize },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, source } => write!(f, "write-ahead log: cannot {doing}: {source}"),
            Error::Corrupt(place) => write!(
                f,
                "write-ahead log damaged: {place}. It may have been acknowledged, so nothing was cut or changed. \
                 Keep the folder, run `openbourse wal verify` on it, and restore this file from a copy of the volume"
            ),
            Error::WrongShard {
                file,
                found,
                wanted,
            } => write!(
                f,
                "{file} belongs to shard {found:?}, not to {wanted:?}: give each shard a folder of its own"
            ),
            Error::Locked { folder } => {
                write!(
                    f,
                    "{folder} is in use: another engine writes this log. Stop it first"
                )
            }
            Error::TooLarge { bytes, most } => {
                write!(
                    f,
                    "a batch of {bytes} bytes does not fit into a segment, which holds {most}"
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
