//! A file port that keeps its promises and not one more: what was not synced may be lost, sector by sector.
//!
//! It counts the steps that change anything and can end the world at any of them. `after_power_loss` then says what
//! a disk may show at the next boot.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use crate::record::SECTOR;
use crate::{File, Storage};

/// What of the unsynced sectors has reached the disk, when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survives {
    Nothing,
    Everything,
    /// Each sector by its own bit of a number that is made from this seed.
    Some(u64),
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that the next sync makes durable. As in a real kernel, a sync that fails forgets them.
    dirty: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    steps: u64,
    /// The world ends before this step.
    ends_at: Option<u64>,
    /// This sync fails, once, and what it should have made durable is lost.
    fails_at: Option<u64>,
}

#[derive(Clone, Default)]
pub struct LossyDisk(Arc<Mutex<Disk>>);

impl LossyDisk {
    pub fn new() -> LossyDisk {
        LossyDisk::default()
    }

    pub fn steps(&self) -> u64 {
        self.0.lock().unwrap().steps
    }

    /// From this step on everything is refused, as for a process that is no more.
    pub fn end_at(&self, step: u64) {
        self.0.lock().unwrap().ends_at = Some(step);
    }

    /// The step, if it is a sync, reports an error; memory keeps what the disk has not.
    pub fn fail_at(&self, step: u64) {
        self.0.lock().unwrap().fails_at = Some(step);
    }

    /// The disk as the next boot finds it.
    pub fn after_power_loss(&self, survives: Survives) -> LossyDisk {
        let disk = self.0.lock().unwrap();
        let mut random = match survives {
            Survives::Some(seed) => seed,
            _ => 0,
        };
        let mut keep = || match survives {
            Survives::Nothing => false,
            Survives::Everything => true,
            Survives::Some(_) => {
                // splitmix64
                random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut z = random;
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (z ^ (z >> 31)) & 1 == 1
            }
        };
        let files = disk
            .files
            .iter()
            .map(|file| {
                let mut bytes = file.synced.clone();
                for start in (0..file.now.len()).step_by(SECTOR) {
                    let new = &file.now[start..(start + SECTOR).min(file.now.len())];
                    let old = bytes
                        .get(start..(start + new.len()).min(bytes.len()))
                        .unwrap_or_default();
                    if new != old && keep() {
                        bytes.resize(bytes.len().max(start + new.len()), 0);
                        bytes[start..start + new.len()].copy_from_slice(new);
                    }
                }
                Content {
                    now: bytes.clone(),
                    synced: bytes,
                    dirty: BTreeSet::new(),
                }
            })
            .collect();
        let names = if keep() {
            disk.names.clone()
        } else {
            disk.synced_names.clone()
        };
        LossyDisk(Arc::new(Mutex::new(Disk {
            files,
            synced_names: names.clone(),
            names,
            ..Disk::default()
        })))
    }

    /// The disk as a killed process leaves it: the machine lives on, so nothing is lost.
    pub fn after_kill(&self) -> LossyDisk {
        let disk = self.0.lock().unwrap();
        LossyDisk(Arc::new(Mutex::new(Disk {
            files: disk.files.clone(),
            names: disk.names.clone(),
            synced_names: disk.synced_names.clone(),
            ..Disk::default()
        })))
    }

    /// Changes a file behind the log's back, durably.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.0.lock().unwrap();
        let index = disk.names[name];
        let file = &mut disk.files[index];
        edit(&mut file.now);
        file.synced = file.now.clone();
    }

    /// All files with their content.
    pub fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.0.lock().unwrap();
        disk.names
            .iter()
            .map(|(name, index)| (name.clone(), disk.files[*index].now.clone()))
            .collect()
    }

    fn step<T>(&self, change: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.0.lock().unwrap();
        if disk.ends_at.is_some_and(|end| disk.steps >= end) {
            return Err(io::Error::other("the power is gone"));
        }
        disk.steps += 1;
        change(&mut disk)
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Storage for LossyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.0.lock().unwrap();
        let index = *disk.names.get(name).ok_or_else(|| missing(name))?;
        Ok(disk.files[index].now.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let index = *self
            .0
            .lock()
            .unwrap()
            .names
            .get(name)
            .ok_or_else(|| missing(name))?;
        Ok(Box::new(LossyFile {
            disk: self.clone(),
            index,
        }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let index = self.step(|disk| {
            disk.files.push(Content::default());
            let index = disk.files.len() - 1;
            disk.names.insert(name.into(), index);
            Ok(index)
        })?;
        Ok(Box::new(LossyFile {
            disk: self.clone(),
            index,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|disk| {
            let index = disk.names.remove(from).ok_or_else(|| missing(from))?;
            disk.names.insert(to.into(), index);
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.step(|disk| {
            disk.synced_names = disk.names.clone();
            Ok(())
        })
    }
}

struct LossyFile {
    disk: LossyDisk,
    index: usize,
}

impl File for LossyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.step(|disk| {
            let now = &mut disk.files[self.index].now;
            let start = offset as usize;
            now.resize(now.len().max(start + bytes.len()), 0);
            now[start..start + bytes.len()].copy_from_slice(bytes);
            disk.files[self.index]
                .dirty
                .extend(start / SECTOR..(start + bytes.len()).div_ceil(SECTOR));
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.step(|disk| {
            let fails = disk.fails_at == Some(disk.steps);
            let Content { now, synced, dirty } = &mut disk.files[self.index];
            let dirty = std::mem::take(dirty);
            if fails {
                return Err(io::Error::other("the disk reports an error"));
            }
            synced.resize(now.len(), 0);
            for sector in dirty {
                let (start, end) = (sector * SECTOR, ((sector + 1) * SECTOR).min(now.len()));
                synced[start..end].copy_from_slice(&now[start..end]);
            }
            Ok(())
        })
    }
}
