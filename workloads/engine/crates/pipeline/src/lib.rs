//! What lies between sockets and the disk: frames in, sequenced and durable, frames out. It composes journal and
//! kernel, and decides who may send what. It has no sockets, no clock and no threads but the log's writer.
//!
//! The commit line runs through [`Pipeline::commit`]: nothing that depends on a command leaves before whoever decides
//! about it has said that its record is committed, be it a reply, an answer or an event.
#![forbid(unsafe_code)]

mod appends;
mod clients;
mod connection;
mod events;
mod fatal;
mod frames;
mod limits;
mod pipeline;
mod replay;
mod sender;
mod snapshots;
mod stepping;

pub use clients::ITSELF;
pub use connection::Received;
pub use events::Stream;
pub use fatal::Fatal;
pub use limits::Limits;
pub use pipeline::{Begun, Frames, Pipeline, Traced};
pub use replay::Replay;
pub use sender::{DIRECT, Person, Sender};
pub use snapshots::{Made, begin_log, make as make_snapshot};
