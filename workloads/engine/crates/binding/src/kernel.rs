//! The kernel alone, one command at a time: for the twin and for whoever wants to look at it from Python.

use openbourse_protocol::{Shard, Stamp, Version, Windows, v1};
use prost::Message;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One shard without a log or a loop. Bytes in, bytes out.
#[pyclass(module = "openbourse.engine._core")]
pub struct Kernel {
    shard: Shard,
}

#[pymethods]
impl Kernel {
    #[new]
    #[pyo3(signature = (
        shard,
        *,
        version = 1,
        remembered_commands = 100_000,
        remembered_orders = 100_000,
        remembered_client_order_ids = 2_000_000,
    ))]
    fn new(
        shard: &str,
        version: u32,
        remembered_commands: usize,
        remembered_orders: usize,
        remembered_client_order_ids: usize,
    ) -> PyResult<Self> {
        let windows = Windows {
            commands: remembered_commands,
            closed_orders: remembered_orders,
            closed_client_order_ids: remembered_client_order_ids,
        };
        let version = Version::of_number(version).ok_or_else(|| {
            let latest = Version::LATEST.number();
            PyValueError::new_err(format!("version must be 1 to {latest}, not {version}"))
        })?;
        Ok(Self {
            shard: Shard::at_version(version, shard, windows),
        })
    }

    #[getter]
    fn version(&self) -> u32 {
        self.shard.version().number()
    }

    #[getter]
    fn next_due_us(&self) -> Option<i64> {
        self.shard.next_due_us()
    }

    fn step<'py>(
        &mut self,
        py: Python<'py>,
        seq: u64,
        epoch: u64,
        time_us: i64,
        command: &[u8],
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let next = self.shard.seq() + 1;
        if seq != next {
            return Err(PyValueError::new_err(format!(
                "seq must be {next}, not {seq}"
            )));
        }
        let stamp = Stamp {
            seq,
            epoch,
            time_us,
        };
        let (mut reply, mut events) = (Vec::new(), Vec::new());
        match self.shard.step(stamp, command, &mut reply, &mut events) {
            Ok(()) => Ok((PyBytes::new(py, &reply), PyBytes::new(py, &events))),
            Err(diverged) => Err(PyRuntimeError::new_err(format!(
                "the checkpoint at seq {} had another state",
                diverged.seq
            ))),
        }
    }

    fn answer<'py>(
        &self,
        py: Python<'py>,
        epoch: u64,
        query: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let query =
            v1::Query::decode(query).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut answer = Vec::new();
        self.shard.answer(epoch, &query, &mut answer);
        Ok(PyBytes::new(py, &answer))
    }

    fn state_hash<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.shard.state_hash())
    }
}
