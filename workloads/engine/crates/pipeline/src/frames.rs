//! Frames of the wire: cut from a stream of bytes, and built around messages that are encoded already.

use openbourse_protocol::v1;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

const LENGTH_BYTES: usize = 4;
/// The most that a client takes: `openbourse.contracts.frames.MAX_FRAME_BYTES`.
pub const SERVER_FRAME_BYTES: usize = 64 << 20;
pub const REPLY: u32 = 2;
pub const ANSWER: u32 = 3;
pub const EVENTS: u32 = 4;

/// `v1::ClientFrame` with commands left as the bytes that the client sent: those are what the log keeps.
#[derive(Clone, PartialEq, Message)]
pub struct ClientFrame {
    #[prost(oneof = "client_frame::Frame", tags = "1, 2, 3, 4, 5")]
    pub frame: Option<client_frame::Frame>,
}

pub mod client_frame {
    use openbourse_protocol::v1;

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Frame {
        #[prost(message, tag = "1")]
        Hello(v1::Hello),
        #[prost(bytes, tag = "2")]
        Command(Vec<u8>),
        #[prost(message, tag = "3")]
        Query(v1::Query),
        #[prost(message, tag = "4")]
        Subscribe(v1::Subscribe),
        #[prost(message, tag = "5")]
        Passed(v1::Passed),
    }
}

/// Cuts a stream, in pieces of any size, into the bodies of its frames.
#[derive(Default)]
pub struct Cutter {
    rest: Vec<u8>,
}

pub struct TooLarge {
    pub bytes: usize,
}

impl Cutter {
    /// Calls `take` with each body that `data` completes, until it returns false. What it holds back afterwards is
    /// less than one frame of `most` bytes.
    pub fn feed(
        &mut self,
        data: &[u8],
        most: usize,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), TooLarge> {
        let joined;
        let bytes: &[u8] = if self.rest.is_empty() {
            data
        } else {
            self.rest.extend_from_slice(data);
            joined = std::mem::take(&mut self.rest);
            &joined
        };
        let mut at = 0;
        while let Some(length) = bytes.get(at..at + LENGTH_BYTES) {
            let length = u32::from_be_bytes(length.try_into().expect("4 bytes")) as usize;
            if length > most {
                return Err(TooLarge { bytes: length });
            }
            let Some(body) = bytes.get(at + LENGTH_BYTES..at + LENGTH_BYTES + length) else {
                break;
            };
            at += LENGTH_BYTES + length;
            if !take(body) {
                return Ok(());
            }
        }
        self.rest = bytes[at..].to_vec();
        Ok(())
    }
}

/// Appends a frame with a `v1::ServerFrame` whose field `field` is the encoded message `body`.
pub fn append(out: &mut Vec<u8>, field: u32, body: &[u8]) {
    append_head(out, field, body.len());
    out.extend_from_slice(body);
}

/// As `append`, when the `body_bytes` follow piece by piece.
pub fn append_head(out: &mut Vec<u8>, field: u32, body_bytes: usize) {
    let frame_bytes = key_len(field) + encoded_len_varint(body_bytes as u64) + body_bytes;
    out.extend_from_slice(
        &u32::try_from(frame_bytes)
            .expect("a frame of less than 4 GiB")
            .to_be_bytes(),
    );
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(body_bytes as u64, out);
}

pub fn welcome(shard: &str, epoch: u64, committed_seq: u64) -> Vec<u8> {
    server(v1::server_frame::Frame::Welcome(v1::Welcome {
        shard: shard.into(),
        epoch,
        committed_seq,
    }))
}

pub fn standby(shard: &str, epoch: u64) -> Vec<u8> {
    server(v1::server_frame::Frame::Standby(v1::Standby {
        shard: shard.into(),
        epoch,
    }))
}

pub fn problem(code: v1::ProblemCode, detail: String) -> Vec<u8> {
    server(v1::server_frame::Frame::Problem(v1::Problem {
        code: code.into(),
        detail,
    }))
}

fn server(frame: v1::server_frame::Frame) -> Vec<u8> {
    let body = v1::ServerFrame { frame: Some(frame) }.encode_to_vec();
    let mut out = (body.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(&body);
    out
}
