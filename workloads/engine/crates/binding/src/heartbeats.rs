//! Heartbeats, as Python sees them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use openbourse_heartbeat as heartbeat;
use openbourse_heartbeat::{Key, LinkId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

const INTERVAL_MS_MAX: u64 = 10_000;

#[pyclass(module = "openbourse.engine._core", frozen)]
pub struct Heartbeats(heartbeat::Heartbeats);

#[pymethods]
impl Heartbeats {
    #[new]
    #[pyo3(signature = (host, port, interval_ms = 50))]
    fn new(py: Python<'_>, host: &str, port: u16, interval_ms: u64) -> PyResult<Heartbeats> {
        if !(1..=INTERVAL_MS_MAX).contains(&interval_ms) {
            return Err(PyValueError::new_err(format!(
                "interval_ms: {interval_ms} is not from 1 to {INTERVAL_MS_MAX}"
            )));
        }
        let address = address("host", host, port)?;
        let interval = Duration::from_millis(interval_ms);
        py.detach(|| heartbeat::Heartbeats::start(address, interval))
            .map(Heartbeats)
            .map_err(|error| {
                io::Error::other(format!("heartbeats on UDP {address}: {error}")).into()
            })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.0.address().port()
    }

    fn watch(&self, link_id: &[u8], key: &[u8], peer_host: &str, peer_port: u16) -> PyResult<()> {
        let link: LinkId = link(link_id)?;
        let key: Key = key
            .try_into()
            .map_err(|_| PyValueError::new_err(format!("key: {} bytes, not 32", key.len())))?;
        let peer = address("peer_host", peer_host, peer_port)?;
        if !self.0.watch(link, &key, peer) {
            return Err(PyValueError::new_err(
                "link_id: this link is watched already",
            ));
        }
        Ok(())
    }

    fn forget(&self, link_id: &[u8]) -> PyResult<()> {
        self.0.forget(&link(link_id)?);
        Ok(())
    }

    fn progress(&self) {
        self.0.progress();
    }

    fn heard<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, u64, u64)> {
        let now = Instant::now();
        let heard = self.0.heard().into_iter();
        heard
            .map(|(link, heard)| {
                let ago_ms = now.saturating_duration_since(heard.at).as_millis() as u64;
                (PyBytes::new(py, &link), ago_ms, heard.stamp)
            })
            .collect()
    }

    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counts = self.0.counts();
        let named = [
            ("sent", counts.sent),
            ("heard", counts.heard),
            ("malformed", counts.malformed),
            ("unknown", counts.unknown),
            ("forged", counts.forged),
            ("reflected", counts.reflected),
            ("replayed", counts.replayed),
            ("send_errors", counts.send_errors),
            ("receive_errors", counts.receive_errors),
        ];
        let dict = PyDict::new(py);
        for (name, count) in named {
            dict.set_item(name, count)?;
        }
        Ok(dict)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}

fn link(id: &[u8]) -> PyResult<LinkId> {
    id.try_into()
        .map_err(|_| PyValueError::new_err(format!("link_id: {} bytes, not 16", id.len())))
}

/// A name would have to be resolved, which takes as long as it likes.
fn address(field: &str, host: &str, port: u16) -> PyResult<SocketAddr> {
    host.parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, port))
        .map_err(|_| PyValueError::new_err(format!("{field}: {host:?} is no IP address")))
}
