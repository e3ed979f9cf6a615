//! A segment: a file of a fixed size, filled with zeros before it is used, named by its first seq.
//!
//! Its header is durable before the file gets its name, so a named segment with a bad header is damage, never a crash.

use crate::record::{Chain, u64_at};
use crate::{Error, Place};

/// Records begin here.
pub const HEADER_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"\xF5OBWAL\xFA\n";
const VERSION: u32 = 1;
const SHARD_MOST: usize = 64;
const CRC_AT: usize = 124;

#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub shard: String,
    pub first_seq: u64,
    /// The chain of the record before the first one.
    pub chain: Chain,
}

pub fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.wal")
}

/// The segments among `names`, in order.
pub fn segments(names: Vec<String>) -> Vec<(u64, String)> {
    let first_seq = |name: &str| {
        name.strip_suffix(".wal")
            .filter(|digits| digits.len() == 20)?
            .parse()
            .ok()
    };
    let mut found: Vec<(u64, String)> = names
        .into_iter()
        .filter_map(|name| first_seq(&name).map(|seq| (seq, name)))
        .collect();
    found.sort();
    found
}

/// One sector: magic, version, first seq, chain, length of the shard's name, the name, CRC32C.
pub fn encode_header(header: &Header) -> Vec<u8> {
    let shard = header.shard.as_bytes();
    assert!(
        shard.len() <= SHARD_MOST,
        "the shard's name has at most {SHARD_MOST} bytes"
    );
    let mut out = Vec::with_capacity(CRC_AT + 4);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(shard.len() as u32).to_le_bytes());
    out.extend_from_slice(&header.first_seq.to_le_bytes());
    out.extend_from_slice(&header.chain);
    out.extend_from_slice(shard);
    out.resize(CRC_AT, 0);
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

pub fn decode_header(file: &str, bytes: &[u8], first_seq: u64) -> Result<Header, Error> {
    let damaged = |why: &str| {
        Err(Error::Corrupt(Place {
            file: file.into(),
            offset: 0,
            seq: first_seq,
            why: why.into(),
        }))
    };
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    if bytes.len() < HEADER_BYTES
        || bytes[..8] != MAGIC
        || u32_at(CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT])
    {
        return damaged("the header of the segment is not whole");
    }
    if u32_at(8) != VERSION {
        return damaged(&format!(
            "version {} of the log; this engine reads version {VERSION}",
            u32_at(8)
        ));
    }
    let header = Header {
        shard: String::from_utf8_lossy(&bytes[56..56 + (u32_at(12) as usize).min(SHARD_MOST)])
            .into_owned(),
        first_seq: u64_at(bytes, 16),
        chain: bytes[24..56].try_into().expect("32 bytes"),
    };
    if header.first_seq != first_seq {
        return damaged(&format!(
            "the header says that the segment begins at seq {}",
            header.first_seq
        ));
    }
    Ok(header)
}
