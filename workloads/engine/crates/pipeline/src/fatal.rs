//! Why an engine must stop.

use std::fmt;

use openbourse_journal::Error;
use openbourse_journal::snapshot::Bad;
use openbourse_protocol::Diverged;

#[derive(Debug)]
pub enum Fatal {
    Log(Error),
    /// The log goes on behind a snapshot, and none that is left can be used.
    NoSnapshot {
        error: Error,
        bad: Vec<Bad>,
    },
    /// A snapshot that was just written, or received, is not good.
    Snapshots(Vec<Bad>),
    /// The writer thread met an error of the disk.
    Writer(String),
    /// This kernel comes to another state than the one that wrote the log.
    Diverged(Diverged),
    /// What a leader sent does not go on from this log.
    NotNext {
        seq: u64,
        why: String,
    },
    /// Only a boot, which begins with a snapshot, can go back behind what was carried out.
    CutTooDeep {
        last_seq: u64,
        carried_out: u64,
    },
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
            Fatal::NoSnapshot { error, bad } => write!(f, "{error}. Not usable: {}", list(bad)),
            Fatal::Snapshots(bad) => {
                write!(
                    f,
                    "the snapshot that came last cannot be used: {}",
                    list(bad)
                )
            }
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
            Fatal::NotNext { seq, why } => {
                write!(
                    f,
                    "what the leader sent for seq {seq} cannot be taken: {why}"
                )
            }
            Fatal::CutTooDeep {
                last_seq,
                carried_out,
            } => write!(
                f,
                "the log is cut behind seq {last_seq}, but seq {carried_out} is carried out: begin again from a snapshot"
            ),
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

fn list(bad: &[Bad]) -> String {
    match bad {
        [] => "there is none".into(),
        _ => (bad.iter())
            .map(|bad| format!("{} ({})", bad.file, bad.why))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
