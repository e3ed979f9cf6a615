//! The file port: all that the log asks of a file system, and the real one behind it.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Error, Pace};

/// One folder of files. Names are plain, without a path.
pub trait Storage: Send + Sync {
    fn list(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// In bytes.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// An existing file, for writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;
    /// A new file, or an old one emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn File>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_folder(&self) -> io::Result<()>;
    /// Who is asked before the log's writer tries anything.
    fn pace(&self) -> Option<Arc<dyn Pace>> {
        None
    }
}

/// A file open for writing. What was written may be lost until `sync` came back without an error.
pub trait File: Send + Sync {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Data and length, as fdatasync does.
    fn sync(&self) -> io::Result<()>;
}

/// A real folder. `exclusive` takes it for this process alone, until dropped.
pub struct Folder {
    path: PathBuf,
    _lock: Option<fs::File>,
}

impl Folder {
    /// Beside a running engine: to read the log, which is not changed through it, and to put snapshots there.
    pub fn shared(path: impl Into<PathBuf>) -> Folder {
        Folder {
            path: path.into(),
            _lock: None,
        }
    }

    /// Makes the folder if need be. The lock goes with the process, however that ends.
    pub fn exclusive(path: impl Into<PathBuf>) -> Result<Folder, Error> {
        let path = path.into();
        let shown = path.display().to_string();
        fs::create_dir_all(&path).map_err(Error::io(format!("make the folder {shown}")))?;
        let lock = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path.join("lock"))
            .map_err(Error::io(format!("open {shown}/lock")))?;
        match lock.try_lock() {
            Ok(()) => Ok(Folder {
                path,
                _lock: Some(lock),
            }),
            Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { folder: shown }),
            Err(fs::TryLockError::Error(source)) => Err(Error::Io {
                doing: format!("lock {shown}"),
                source,
            }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is no text is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(
            fs::OpenOptions::new()
                .write(true)
                .open(self.path.join(name))?,
        )))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(fs::File::create(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

struct RealFile(fs::File);

impl File for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
