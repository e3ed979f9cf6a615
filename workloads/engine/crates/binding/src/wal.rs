//! A log to look at, whether an engine runs on it or not.

use std::path::PathBuf;
use std::sync::Arc;

use openbourse_journal::{Chain, Error, Folder, Place, Reader, Scan, root, scan, shard_of};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::fatal;

type Where = (String, u64, u64, String);

/// How far a log is good.
#[pyclass(module = "openbourse.engine._core", frozen, get_all)]
#[derive(Default)]
pub struct Verified {
    shard: String,
    segments: Vec<String>,
    first_seq: u64,
    records: u64,
    last_seq: u64,
    first_epoch: u64,
    last_epoch: u64,
    chain: Chain,
    torn: Option<Where>,
    damaged: Option<Where>,
}

fn place(place: Place) -> Where {
    (place.file, place.offset, place.seq, place.why)
}

/// Why a look at a log ends early.
enum Stop {
    Log(Error),
    /// Ctrl-C.
    Signal(PyErr),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Log(error)
    }
}

const RECORDS_BETWEEN_SIGNALS: u64 = 20_000;

#[pyfunction]
#[pyo3(signature = (folder, shard = None))]
pub fn verify(py: Python<'_>, folder: PathBuf, shard: Option<&str>) -> PyResult<Verified> {
    py.detach(|| {
        let mut seen = Verified::default();
        let folder = Folder::shared(folder);
        let scanned: Result<Scan, Stop> = scan(&folder, shard, |record| {
            if seen.records == 0 {
                seen.first_epoch = record.epoch;
                seen.first_seq = record.seq;
            }
            seen.records += 1;
            seen.last_seq = record.seq;
            seen.last_epoch = record.epoch;
            seen.chain = record.chain;
            if seen.records.is_multiple_of(RECORDS_BETWEEN_SIGNALS) {
                Python::attach(|py| py.check_signals()).map_err(Stop::Signal)?;
            }
            Ok(())
        });
        match scanned {
            Ok(scan) => {
                seen.shard = scan.shard;
                seen.segments = scan.segments;
                (seen.first_seq, seen.last_seq) = (scan.first_seq, scan.last_seq);
                seen.chain = scan.chain;
                seen.torn = scan.torn.map(place);
            }
            Err(Stop::Log(Error::Corrupt(damaged))) => {
                // Where it cannot be told, the damage is in the first header and there is no record.
                seen.shard = shard_of(&folder).ok().flatten().unwrap_or_default();
                seen.damaged = Some(place(damaged));
            }
            Err(Stop::Log(error)) => return Err(fatal(error)),
            Err(Stop::Signal(signal)) => return Err(signal),
        }
        Ok(seen)
    })
}

/// shard, first and last seq, first and last epoch, records, chain before and at the end, bytes, SHA-256
type RootFields = (String, u64, u64, u64, u64, u64, Chain, Chain, u64, [u8; 32]);

#[pyfunction]
pub fn segment_root(py: Python<'_>, folder: PathBuf, segment: &str) -> PyResult<RootFields> {
    let root = py
        .detach(|| root(&Folder::shared(folder), segment))
        .map_err(fatal)?;
    Ok((
        root.shard,
        root.first_seq,
        root.last_seq,
        root.first_epoch,
        root.last_epoch,
        root.records,
        root.chain_before,
        root.chain,
        root.bytes,
        root.sha256,
    ))
}

/// The records of a log in order, from `from_seq` up to `last_seq`, which must be there.
#[pyclass(module = "openbourse.engine._core")]
pub struct Records {
    reader: Reader,
    last_seq: u64,
}

type Fields<'py> = (u64, u64, i64, u64, Chain, Bound<'py, PyBytes>);

#[pymethods]
impl Records {
    #[new]
    fn new(folder: PathBuf, from_seq: u64, last_seq: u64) -> Records {
        Records {
            reader: Reader::starting_at(Arc::new(Folder::shared(folder)), from_seq),
            last_seq,
        }
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// seq, epoch, time_us, batch_first_seq, chain, command
    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Fields<'py>>> {
        let record = self.reader.next(self.last_seq).map_err(fatal)?;
        Ok(record.map(|record| {
            let payload = PyBytes::new(py, record.payload);
            (
                record.seq,
                record.epoch,
                record.time_us,
                record.batch_first_seq,
                record.chain,
                payload,
            )
        }))
    }
}
