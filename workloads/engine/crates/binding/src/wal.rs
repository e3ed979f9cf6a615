//! A log to look at, whether an engine runs on it or not.

use std::path::PathBuf;
use std::sync::Arc;

use openbourse_journal::{Chain, Error, Folder, Place, Reader, Scan, scan};
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

#[pyfunction]
#[pyo3(signature = (folder, shard = None))]
pub fn verify(py: Python<'_>, folder: PathBuf, shard: Option<&str>) -> PyResult<Verified> {
    py.detach(|| {
        let mut seen = Verified::default();
        let scanned: Result<Scan, Error> = scan(&Folder::shared(folder), shard, |record| {
            if seen.records == 0 {
                seen.first_epoch = record.epoch;
            }
            seen.records += 1;
            seen.last_seq = record.seq;
            seen.last_epoch = record.epoch;
            seen.chain = record.chain;
            Ok(())
        });
        match scanned {
            Ok(scan) => {
                seen.shard = scan.shard;
                seen.segments = scan.segments;
                seen.torn = scan.torn.map(place);
            }
            Err(Error::Corrupt(damaged)) => seen.damaged = Some(place(damaged)),
            Err(error) => return Err(fatal(error)),
        }
        Ok(seen)
    })
}

/// The records of a log in order, up to `last_seq`, which must be there.
#[pyclass(module = "openbourse.engine._core")]
pub struct Records {
    reader: Reader,
    last_seq: u64,
}

type Fields<'py> = (u64, u64, i64, u64, Chain, Bound<'py, PyBytes>);

#[pymethods]
impl Records {
    #[new]
    fn new(folder: PathBuf, last_seq: u64) -> Records {
        Records {
            reader: Reader::new(Arc::new(Folder::shared(folder))),
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
