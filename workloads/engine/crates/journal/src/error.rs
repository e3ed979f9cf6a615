//! Why the log cannot go on.
//!
//! NoRoom, Io     the disk said no: nothing is acknowledged until it says yes, and the writer asks again
//! all others     not worth a retry inside the process

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
    /// The disk refused. After a failed write or fdatasync nobody knows what is on it.
    Io { doing: String, source: io::Error },
    /// The next segment cannot be made. Nothing that the log holds was touched.
    NoRoom { segment: String, source: io::Error },
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
    /// The log begins behind what the reader knows: what is before was recycled.
    Begins { first_seq: u64, wanted_seq: u64 },
    /// The reader knows more than the log has.
    Ends { last_seq: u64, known_seq: u64 },
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
            Error::NoRoom { segment, source } => write!(
                f,
                "write-ahead log: cannot make its next segment, {segment}: {source}. The disk must have room for it \
                 and be writable"
            ),
            Error::Begins {
                first_seq,
                wanted_seq,
            } => write!(
                f,
                "the write-ahead log begins at seq {first_seq}, and seq {wanted_seq} is wanted: what comes before was \
                 recycled. A good snapshot of seq {} or later must be beside it",
                first_seq - 1
            ),
            Error::Ends {
                last_seq,
                known_seq,
            } => write!(
                f,
                "the write-ahead log ends at seq {last_seq}, but the snapshot is of seq {known_seq}: the end of the \
                 log is missing. Restore its segments from a copy of the volume"
            ),
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
            Error::Io { source, .. } | Error::NoRoom { source, .. } => Some(source),
            _ => None,
        }
    }
}
