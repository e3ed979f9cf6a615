//! The pipeline and the replay, as Python sees them.

use std::path::PathBuf;

use openbourse_journal::retention;
use openbourse_journal::snapshot::Bad;
use openbourse_journal::{Options, Reader, Trouble};
use openbourse_pipeline as pipeline;
use openbourse_pipeline::{Begun, Limits, Pipeline, Received, Sender, Stream};
use openbourse_protocol::v1;
use prost::Message;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::simulated;

pyo3::create_exception!(_core, Fatal, PyException);

pub fn fatal(error: impl std::fmt::Display) -> PyErr {
    Fatal::new_err(error.to_string())
}

type PyFrames<'py> = Vec<(u64, Bound<'py, PyBytes>)>;
/// send, subscribe from, close, pause, passed (seq, replica)
type Asked<'py> = (
    Bound<'py, PyBytes>,
    Option<u64>,
    bool,
    bool,
    Option<(u64, u32)>,
);

#[pyclass(module = "openbourse.engine._core")]
pub struct Engine(Pipeline);

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (folder, shard, *, batch_requests = None, ring_commands = None, segment_bytes = None))]
    fn new(
        py: Python<'_>,
        folder: PathBuf,
        shard: &str,
        batch_requests: Option<usize>,
        ring_commands: Option<usize>,
        segment_bytes: Option<usize>,
    ) -> PyResult<Engine> {
        let mut options = Options::default();
        options.segment_bytes = segment_bytes.unwrap_or(options.segment_bytes);
        let mut limits = Limits::default();
        limits.batch_requests = batch_requests.unwrap_or(limits.batch_requests);
        limits.ring_commands = ring_commands.unwrap_or(limits.ring_commands);
        py.detach(|| {
            let storage = simulated::exclusive(folder, &mut options).map_err(fatal)?;
            Pipeline::open(storage, shard, limits, options)
                .map(Engine)
                .map_err(fatal)
        })
    }

    fn lead(&mut self, py: Python<'_>, epoch: u64) -> PyResult<()> {
        py.detach(|| self.0.lead(epoch)).map_err(fatal)
    }

    fn welcome<'py>(&mut self, py: Python<'py>) -> PyFrames<'py> {
        frames(py, self.0.welcome())
    }

    fn follow(&mut self, py: Python<'_>, records: &[u8]) -> PyResult<u64> {
        py.detach(|| self.0.follow(records)).map_err(fatal)
    }

    fn cut(&mut self, py: Python<'_>, last_seq: u64) -> PyResult<()> {
        py.detach(|| self.0.cut(last_seq)).map_err(fatal)
    }

    fn recent<'py>(
        &self,
        py: Python<'py>,
        after: u64,
        last: u64,
        bytes_most: usize,
    ) -> Option<(u64, Bound<'py, PyBytes>)> {
        let (through, records) = self.0.recent(after, last, bytes_most)?;
        Some((through, PyBytes::new(py, &records)))
    }

    fn commit(&mut self, py: Python<'_>, seq: u64) {
        py.detach(|| self.0.commit(seq));
    }

    fn advance(&mut self, py: Python<'_>, through: u64, commands_most: usize) -> PyResult<bool> {
        py.detach(|| self.0.advance(through, commands_most))
            .map_err(fatal)
    }

    fn suspend(&mut self, why: Option<String>) {
        self.0.suspend(why);
    }

    fn durable_seq(&mut self) -> PyResult<u64> {
        self.0.durable_seq().map_err(fatal)
    }

    #[getter]
    fn runs(&self) -> Vec<(u64, u64)> {
        self.0.runs().to_vec()
    }

    #[getter]
    fn end_seq(&self) -> u64 {
        self.0.end_seq()
    }

    #[getter]
    fn chain(&self) -> [u8; 32] {
        self.0.chain()
    }

    fn chain_at(&self, seq: u64) -> PyResult<Option<[u8; 32]>> {
        self.0.chain_at(seq).map_err(fatal)
    }

    fn bell(&self) -> i32 {
        self.0.bell().descriptor()
    }

    #[pyo3(signature = (connection, component, person="", role=""))]
    fn connect(&mut self, connection: u64, component: &str, person: &str, role: &str) {
        (self.0).connect(connection, Sender::of(component, person, role));
    }

    fn disconnect(&mut self, connection: u64) {
        self.0.disconnect(connection);
    }

    fn receive<'py>(
        &mut self,
        py: Python<'py>,
        connection: u64,
        data: &[u8],
    ) -> Option<Asked<'py>> {
        let received = self.0.receive(connection, data);
        if received == Received::default() {
            return None;
        }
        Some((
            PyBytes::new(py, &received.send),
            received.subscribe,
            received.close,
            received.pause,
            received.passed.map(|passed| (passed.seq, passed.replica)),
        ))
    }

    fn begin(&mut self, py: Python<'_>, now_us: i64) -> PyResult<u8> {
        let begun = py.detach(|| self.0.begin(now_us)).map_err(fatal)?;
        Ok(match begun {
            Begun::Nothing => 0,
            Begun::Syncing => 1,
            Begun::Ready => 2,
        })
    }

    fn collect<'py>(&mut self, py: Python<'py>) -> Option<PyFrames<'py>> {
        let collected = py.detach(|| self.0.collect())?;
        Some(frames(py, collected))
    }

    fn traced(&mut self) -> Vec<(u64, i64, String)> {
        let traced = self.0.traced().into_iter();
        traced
            .map(|command| (command.seq, command.time_us, command.traceparent))
            .collect()
    }

    fn resumed(&mut self) -> Vec<u64> {
        self.0.resumed()
    }

    fn events<'py>(
        &self,
        py: Python<'py>,
        from_seq: u64,
        bytes_most: usize,
    ) -> PyResult<Option<(u64, Bound<'py, PyBytes>)>> {
        match self.0.events(from_seq, bytes_most) {
            Stream::Frame { last_seq, bytes } => Ok(Some((last_seq, PyBytes::new(py, &bytes)))),
            Stream::UpToDate => Ok(Some((from_seq - 1, PyBytes::new(py, b"")))),
            Stream::Older => Ok(None),
            Stream::Beyond { committed_seq } => Err(PyValueError::new_err(format!(
                "events from seq {from_seq} were asked for, but this log ends at {committed_seq}: \
                 the subscriber has followed another log"
            ))),
        }
    }

    #[getter]
    fn is_idle(&self) -> bool {
        self.0.is_idle()
    }

    #[getter]
    fn is_syncing(&self) -> bool {
        self.0.is_syncing()
    }

    #[getter]
    fn trouble(&self) -> Option<(&str, String)> {
        self.0.trouble().map(|trouble| {
            let kind = match &trouble {
                Trouble::NoRoom(_) => "no_room",
                Trouble::NotWritten(_) => "not_written",
            };
            (kind, trouble.why().into())
        })
    }

    #[getter]
    fn warning(&self) -> Option<String> {
        self.0.warning()
    }

    #[getter]
    fn shard(&self) -> &str {
        self.0.shard()
    }

    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    #[getter]
    fn last_epoch(&self) -> u64 {
        self.0.last_epoch()
    }

    #[getter]
    fn committed_seq(&self) -> u64 {
        self.0.committed_seq()
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq()
    }

    #[getter]
    fn pending_commands(&self) -> usize {
        self.0.pending_commands()
    }

    #[getter]
    fn resent_commands(&self) -> u64 {
        self.0.resent_commands()
    }

    #[getter]
    fn segment(&self) -> String {
        self.0.segment()
    }

    #[getter]
    fn snapshot_seq(&self) -> u64 {
        self.0.snapshot_seq()
    }

    #[getter]
    fn bad_snapshots(&self) -> Vec<(String, String)> {
        named(self.0.bad_snapshots())
    }

    #[getter]
    fn torn(&self) -> Option<String> {
        self.0.torn().map(ToString::to_string)
    }

    fn state_hash(&mut self, py: Python<'_>) -> (u64, [u8; 32]) {
        py.detach(|| (self.0.seq(), self.0.state_hash()))
    }

    fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        self.0.last_checkpoint()
    }

    #[getter]
    fn kernel_version(&self) -> u32 {
        self.0.kernel_version()
    }

    #[getter]
    fn next_due_us(&self) -> Option<i64> {
        self.0.next_due_us()
    }

    /// An encoded ConfigureSafety.
    #[getter]
    fn safety_configuration<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let configuration = self.0.kernel().safety_configuration();
        PyBytes::new(py, &configuration.encode_to_vec())
    }

    #[getter]
    fn safety_level(&self) -> i32 {
        self.0.kernel().safety_level().into()
    }

    fn safety_level_at(&self, settlement_lag_ms: u64, unpublished_commands: u64) -> i32 {
        let lag = v1::ReportLag {
            settlement_lag_ms,
            unpublished_commands,
        };
        self.0.kernel().safety_level_at(&lag).into()
    }

    fn halts(&self) -> Vec<HaltFields> {
        (self.0.halts().into_iter())
            .map(|halt| {
                let state = halt.state.name();
                (
                    halt.name,
                    halt.epoch,
                    halt.seq,
                    state,
                    halt.symbols,
                    halt.reason,
                )
            })
            .collect()
    }

    fn markets(&self) -> Vec<(&'static str, String, String, Vec<String>)> {
        (self.0.markets().into_iter())
            .map(|market| {
                (
                    market.state.name(),
                    market.held_by,
                    market.reason,
                    market.symbols,
                )
            })
            .collect()
    }

    fn moved(&self) -> Vec<(String, String)> {
        self.0.moved()
    }
}

/// name, epoch, seq, state, symbols, reason
type HaltFields = (String, u64, u64, &'static str, Vec<String>, String);

/// file, seq, bytes, the seq that the replay began behind, bad ones, the oldest seq that is kept
type MadeFields = (String, u64, u64, u64, Vec<(String, String)>, u64);

#[pyfunction]
pub fn make_snapshot(
    py: Python<'_>,
    folder: PathBuf,
    shard: &str,
    seq: u64,
    keep: usize,
    behind: u64,
) -> PyResult<MadeFields> {
    let storage = simulated::shared(folder);
    let made = py
        .detach(|| pipeline::make_snapshot(storage, shard, seq, keep, behind))
        .map_err(fatal)?;
    Ok((
        made.file,
        made.seq,
        made.bytes,
        made.from_seq,
        named(&made.bad),
        made.oldest_seq,
    ))
}

#[pyfunction]
#[pyo3(signature = (folder, shard, seq, *, segment_bytes = None))]
pub fn begin_log(
    py: Python<'_>,
    folder: PathBuf,
    shard: &str,
    seq: u64,
    segment_bytes: Option<usize>,
) -> PyResult<()> {
    let mut options = Options::default();
    options.segment_bytes = segment_bytes.unwrap_or(options.segment_bytes);
    py.detach(|| pipeline::begin_log(simulated::shared(folder), shard, seq, options))
        .map_err(fatal)
}

fn frames<'py>(py: Python<'py>, frames: pipeline::Frames) -> PyFrames<'py> {
    let frames = frames.into_iter();
    frames
        .map(|(connection, bytes)| (connection, PyBytes::new(py, &bytes)))
        .collect()
}

/// Beside the engine that writes the log.
#[pyfunction]
pub fn retain(py: Python<'_>, folder: PathBuf, needed_from: u64) -> PyResult<Vec<String>> {
    py.detach(|| retention::retain(&*simulated::shared(folder), needed_from))
        .map_err(fatal)
}

fn named(bad: &[Bad]) -> Vec<(String, String)> {
    (bad.iter())
        .map(|bad| (bad.file.clone(), bad.why.clone()))
        .collect()
}

/// Reads the log beside the engine, for a standby that memory does not reach back to.
#[pyclass(module = "openbourse.engine._core")]
pub struct Backlog(Reader);

#[pymethods]
impl Backlog {
    #[new]
    fn new(folder: PathBuf, from_seq: u64) -> Backlog {
        Backlog(Reader::starting_at(simulated::shared(folder), from_seq))
    }

    fn read<'py>(
        &mut self,
        py: Python<'py>,
        durable_seq: u64,
        bytes_most: usize,
    ) -> PyResult<(u64, Bound<'py, PyBytes>)> {
        let records = py
            .detach(|| self.0.records(durable_seq, bytes_most))
            .map_err(fatal)?;
        Ok((self.0.next_seq() - 1, PyBytes::new(py, &records)))
    }
}

#[pyclass(module = "openbourse.engine._core")]
pub struct Replay(pipeline::Replay);

#[pymethods]
impl Replay {
    #[new]
    fn new(folder: PathBuf, shard: &str, epoch: u64, from_seq: u64) -> Replay {
        Replay(pipeline::Replay::new(
            simulated::shared(folder),
            shard,
            epoch,
            from_seq,
        ))
    }

    #[getter]
    fn next_seq(&self) -> u64 {
        self.0.next_seq()
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq()
    }

    fn step<'py>(
        &mut self,
        py: Python<'py>,
        committed_seq: u64,
        commands_most: usize,
        bytes_most: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let frame = py
            .detach(|| self.0.step(committed_seq, commands_most, bytes_most))
            .map_err(fatal)?;
        Ok(frame.map(|bytes| PyBytes::new(py, &bytes)))
    }

    fn advance(
        &mut self,
        py: Python<'_>,
        last_seq: u64,
        commands_most: usize,
    ) -> PyResult<Option<(u64, [u8; 32])>> {
        py.detach(|| self.0.advance(last_seq, commands_most))
            .map_err(fatal)
    }

    fn begin(&mut self, py: Python<'_>) -> PyResult<u64> {
        py.detach(|| self.0.begin()).map_err(fatal)
    }

    fn answer<'py>(&self, py: Python<'py>, query: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let query =
            v1::Query::decode(query).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let answer = py.detach(|| self.0.answer(&query));
        Ok(PyBytes::new(py, &answer))
    }

    fn state_hash(&mut self, py: Python<'_>) -> (u64, [u8; 32]) {
        py.detach(|| self.0.state_hash())
    }
}
