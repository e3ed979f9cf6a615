//! A file port that keeps its promises and not one more: what was not synced may be lost, sector by sector.
//!
//! It counts the steps that change anything and can end the world at any of them. `after_power_loss` then says what
//! a disk may show at the next boot.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::record::SECTOR;
use crate::{File, OneByOne, Pace, Storage};

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

/// A change of the folder that the next sync of the folder makes durable.
#[derive(Debug, Clone)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, index) => drop(names.insert(name.clone(), *index)),
            NameChange::Rename(from, to) => {
                if let Some(index) = names.remove(from) {
                    names.insert(to.clone(), index);
                }
            }
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    steps: u64,
    /// The world ends before this step.
    ends_at: Option<u64>,
    /// These steps fail: a write half-way, and a sync forgets what it should have made durable.
    fails: Range<u64>,
    /// What all files together may have.
    bytes_most: Option<usize>,
    /// How long each sync of a file takes.
    sync: Duration,
    /// The next write lands so many bytes behind its place, and nobody is told.
    misdirect: Option<usize>,
}

impl Disk {
    fn used_bytes(&self) -> usize {
        let files = self.names.values().collect::<BTreeSet<_>>();
        files
            .iter()
            .map(|index| self.files[**index].now.len())
            .sum()
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced.push(change);
    }
}

#[derive(Clone, Default)]
pub struct LossyDisk {
    disk: Arc<Mutex<Disk>>,
    pace: Option<Arc<OneByOne>>,
}

impl LossyDisk {
    pub fn new() -> LossyDisk {
        LossyDisk::default()
    }

    fn with(disk: Disk, pace: Option<Arc<OneByOne>>) -> LossyDisk {
        let disk = Arc::new(Mutex::new(disk));
        LossyDisk { disk, pace }
    }

    /// The log's writer waits before each try, until it is let go.
    pub fn paced(self, pace: Arc<OneByOne>) -> LossyDisk {
        LossyDisk {
            pace: Some(pace),
            ..self
        }
    }

    pub fn steps(&self) -> u64 {
        self.disk.lock().unwrap().steps
    }

    /// From this step on everything is refused, as for a process that is no more.
    pub fn end_at(&self, step: u64) {
        self.disk.lock().unwrap().ends_at = Some(step);
    }

    /// These steps report an error; memory keeps what the disk has not.
    pub fn fail(&self, steps: Range<u64>) {
        self.disk.lock().unwrap().fails = steps;
    }

    /// A write that makes a file longer gets no further than this many bytes on the whole disk. None: no bound.
    pub fn bound(&self, bytes_most: Option<usize>) {
        self.disk.lock().unwrap().bytes_most = bytes_most;
    }

    /// Each sync of a file takes so long from now on.
    pub fn slow_down(&self, sync: Duration) {
        self.disk.lock().unwrap().sync = sync;
    }

    /// The next write lands so many bytes behind its place, and is said to be where it should.
    pub fn misdirect(&self, bytes: usize) {
        self.disk.lock().unwrap().misdirect = Some(bytes);
    }

    /// Of all files.
    pub fn used_bytes(&self) -> usize {
        self.disk.lock().unwrap().used_bytes()
    }

    /// The disk as the next boot finds it.
    pub fn after_power_loss(&self, survives: Survives) -> LossyDisk {
        let disk = self.disk.lock().unwrap();
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
        // A file system that promises no order may have any of the changes of names.
        let mut names = disk.synced_names.clone();
        for change in &disk.unsynced {
            if keep() {
                change.apply(&mut names);
            }
        }
        LossyDisk::with(
            Disk {
                files,
                synced_names: names.clone(),
                names,
                ..Disk::default()
            },
            None,
        )
    }

    /// The disk as a killed process leaves it: the machine lives on, so nothing is lost.
    pub fn after_kill(&self) -> LossyDisk {
        let disk = self.disk.lock().unwrap();
        LossyDisk::with(
            Disk {
                files: disk.files.clone(),
                names: disk.names.clone(),
                synced_names: disk.synced_names.clone(),
                unsynced: disk.unsynced.clone(),
                ..Disk::default()
            },
            None,
        )
    }

    /// Changes a file behind the log's back, durably.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk.lock().unwrap();
        let index = disk.names[name];
        let file = &mut disk.files[index];
        edit(&mut file.now);
        file.synced = file.now.clone();
    }

    /// All files with their content.
    pub fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk.lock().unwrap();
        disk.names
            .iter()
            .map(|(name, index)| (name.clone(), disk.files[*index].now.clone()))
            .collect()
    }

    /// `change` is told whether this step fails; whatever it did then, the caller gets an error.
    fn step<T>(&self, change: impl FnOnce(&mut Disk, bool) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.lock().unwrap();
        if disk.ends_at.is_some_and(|end| disk.steps >= end) {
            return Err(io::Error::other("the power is gone"));
        }
        let fails = disk.fails.contains(&disk.steps);
        disk.steps += 1;
        let done = change(&mut disk, fails);
        if fails {
            return Err(io::Error::other("the disk reports an error"));
        }
        done
    }
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Storage for LossyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.lock().unwrap().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock().unwrap();
        let index = *disk.names.get(name).ok_or_else(|| missing(name))?;
        Ok(disk.files[index].now.clone())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let index = *self
            .disk
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
        let index = self.step(|disk, fails| {
            if let Some(index) = disk.names.get(name).copied() {
                if !fails {
                    disk.files[index].now.clear();
                }
                return Ok(index);
            }
            disk.files.push(Content::default());
            let index = disk.files.len() - 1;
            if !fails {
                disk.change_names(NameChange::Create(name.into(), index));
            }
            Ok(index)
        })?;
        Ok(Box::new(LossyFile {
            disk: self.clone(),
            index,
        }))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let disk = self.disk.lock().unwrap();
        let index = *disk.names.get(name).ok_or_else(|| missing(name))?;
        Ok(disk.files[index].now.len() as u64)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step(|disk, fails| {
            if !disk.names.contains_key(from) {
                return Err(missing(from));
            }
            if !fails {
                disk.change_names(NameChange::Rename(from.into(), to.into()));
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|disk, fails| {
            if !disk.names.contains_key(name) {
                return Err(missing(name));
            }
            if !fails {
                disk.change_names(NameChange::Remove(name.into()));
            }
            Ok(())
        })
    }

    fn pace(&self) -> Option<Arc<dyn Pace>> {
        self.pace.clone().map(|pace| pace as Arc<dyn Pace>)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.step(|disk, fails| {
            if !fails {
                disk.synced_names = disk.names.clone();
                disk.unsynced.clear();
            }
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
        self.disk.step(|disk, fails| {
            let start = offset as usize + disk.misdirect.take().unwrap_or(0);
            let free = disk
                .bytes_most
                .map_or(usize::MAX, |most| most.saturating_sub(disk.used_bytes()));
            let now = &mut disk.files[self.index].now;
            let within = (now.len().saturating_add(free)).saturating_sub(start);
            // A write that fails half-way ends where a sector does.
            let half = ((start + bytes.len() / 2) / SECTOR * SECTOR).saturating_sub(start);
            let taken = if fails { half } else { bytes.len() }.min(within);
            now.resize(now.len().max(start + taken), 0);
            now[start..start + taken].copy_from_slice(&bytes[..taken]);
            disk.files[self.index]
                .dirty
                .extend(start / SECTOR..(start + taken).div_ceil(SECTOR));
            if taken < bytes.len() && !fails {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let delay = self.disk.disk.lock().unwrap().sync;
        thread::sleep(delay);
        self.disk.step(|disk, fails| {
            let Content { now, synced, dirty } = &mut disk.files[self.index];
            let dirty = std::mem::take(dirty);
            if fails {
                return Ok(());
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
