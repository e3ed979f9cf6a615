//! Why an engine must stop.

use std::fmt;

use openbourse_journal::Error;
use openbourse_protocol::Diverged;

#[derive(Debug)]
pub enum Fatal {
    Log(Error),
    /// The writer thread met an error of the disk.
    Writer(String),
    /// This kernel comes to another state than the one that wrote the log.
    Diverged(Diverged),
    /// A leader writes only epochs above all that the log has seen.
    OldEpoch {
        epoch: u64,
        last_epoch: u64,
    },
}

impl From<Error> for Fatal {
    fn from(error: Error) -> Fatal {
        Fatal::Log(error)
    }
}

impl From<Diverged> for Fatal {
    fn from(diverged: Diverged) -> Fatal {
        Fatal::Diverged(diverged)
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fatal::Log(error) => error.fmt(f),
            Fatal::Writer(error) => error.fmt(f),
            Fatal::Diverged(diverged) => {
                let computed = diverged
                    .computed
                    .map_or("no checkpoint".into(), |hash| hex(&hash));
                write!(
                    f,
                    "replay diverged: the checkpoint at seq {} has state hash {}, this kernel has {computed} there. \
                     The log was written by a kernel that behaves otherwise, or this one is wrong: start the engine \
                     version that wrote it",
                    diverged.seq,
                    hex(&diverged.recorded)
                )
            }
            Fatal::OldEpoch { epoch, last_epoch } => {
                write!(
                    f,
                    "epoch {epoch} cannot lead: the log already has records of epoch {last_epoch}"
                )
            }
        }
    }
}

impl std::error::Error for Fatal {}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
