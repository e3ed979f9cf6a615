//! The write-ahead log: records, segments, recovery, the writer thread. It knows nothing of what a command means,
//! and touches the disk only through [`Storage`].
//!
//! What it promises: a record is acknowledged (`durable_seq` passes it) only after an fdatasync that covers it came
//! back; recovery keeps every acknowledged record or refuses to start; two processes never write one log; a disk that
//! says no is asked again, and until it says yes nothing is acknowledged and nothing is lost.
#![forbid(unsafe_code)]

mod batch;
mod bell;
mod cut;
mod error;
mod log;
#[cfg(feature = "lossy")]
pub mod lossy;
mod pace;
mod reader;
mod record;
mod recovery;
pub mod retention;
mod root;
mod scan;
mod segment;
pub mod snapshot;
mod spare;
mod storage;
mod writer;

pub use batch::{Batch, Head, NotNext};
pub use bell::Bell;
pub use cut::cut;
pub use error::{Error, Place};
pub use log::{Log, Options};
pub use pace::{OneByOne, Pace, Tried};
pub use reader::Reader;
pub use record::{Chain, MARKER, OVERHEAD_MOST, Record, SECTOR, record_bytes};
pub use recovery::{Known, Recovered, begin, recover};
pub use root::{Root, root};
pub use scan::{Scan, chain_at, first_seq, scan, shard_of};
pub use segment::{HEADER_BYTES as SEGMENT_HEADER_BYTES, segment_name};
pub use storage::{File, Folder, Storage};
pub use writer::{Progress, Trouble, Writer};
