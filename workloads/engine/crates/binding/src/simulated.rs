//! Disks that lie, for the simulation of a whole shard: whoever opens the folder that one is mounted at gets it.
//!
//! Nothing is mounted in an engine that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{Error, Folder, OneByOne, Options, Storage};
use pyo3::prelude::*;

static MOUNTED: Mutex<BTreeMap<PathBuf, LossyDisk>> = Mutex::new(BTreeMap::new());

fn mounted(folder: &Path) -> Option<LossyDisk> {
    let mounted = MOUNTED.lock().expect("nobody panics with it");
    mounted.get(folder).cloned()
}

/// To look at, beside the engine that writes.
pub fn shared(folder: PathBuf) -> Arc<dyn Storage> {
    match mounted(&folder) {
        Some(disk) => Arc::new(disk),
        None => Arc::new(Folder::shared(folder)),
    }
}

/// For the engine that writes. A simulated disk has one thread that writes, and asks again at once.
pub fn exclusive(folder: PathBuf, options: &mut Options) -> Result<Arc<dyn Storage>, Error> {
    let Some(disk) = mounted(&folder) else {
        return Ok(Arc::new(Folder::exclusive(folder)?));
    };
    options.ahead = false;
    options.retry = Duration::ZERO;
    Ok(Arc::new(disk))
}

#[pyclass(module = "openbourse.engine._core", frozen)]
pub struct SimulatedDisk {
    disk: LossyDisk,
    pace: Arc<OneByOne>,
}

impl SimulatedDisk {
    fn of(disk: LossyDisk) -> SimulatedDisk {
        let pace = Arc::<OneByOne>::default();
        SimulatedDisk {
            disk: disk.paced(pace.clone()),
            pace,
        }
    }
}

#[pymethods]
impl SimulatedDisk {
    #[new]
    fn new() -> SimulatedDisk {
        SimulatedDisk::of(LossyDisk::new())
    }

    fn mount(&self, folder: PathBuf) {
        let mut mounted = MOUNTED.lock().expect("nobody panics with it");
        mounted.insert(folder, self.disk.clone());
    }

    #[staticmethod]
    fn unmount(folder: PathBuf) {
        let mut mounted = MOUNTED.lock().expect("nobody panics with it");
        mounted.remove(&folder);
    }

    #[getter]
    fn jobs(&self) -> usize {
        self.pace.jobs()
    }

    fn let_one_go(&self, py: Python<'_>) {
        py.detach(|| self.pace.let_one_go());
    }

    fn end_after(&self, steps: u64) {
        self.disk.end_at(self.disk.steps() + steps);
    }

    fn fail(&self, steps: u64) {
        self.disk.fail(self.disk.steps()..self.disk.steps() + steps);
    }

    fn bound(&self, bytes_most: Option<usize>) {
        self.disk.bound(bytes_most);
    }

    fn used_bytes(&self) -> usize {
        self.disk.used_bytes()
    }

    fn misdirect(&self, bytes: usize) {
        self.disk.misdirect(bytes);
    }

    fn spoil(&self, file: &str, offset: usize) {
        self.disk.edit(file, |bytes| bytes[offset] ^= 0xFF);
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        self.disk.content()
    }

    fn after_power_loss(&self, seed: u64) -> SimulatedDisk {
        SimulatedDisk::of(self.disk.after_power_loss(Survives::Some(seed)))
    }

    fn after_kill(&self) -> SimulatedDisk {
        SimulatedDisk::of(self.disk.after_kill())
    }
}
