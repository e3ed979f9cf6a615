//! One record: its bytes, whether they are whole, and whether a crash alone explains that they are not.
//!
//! Little-endian, starting at a multiple of 8, padded with zeros to one:
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 4 | magic |
//! | 4 | 4 | payload length |
//! | 8 | 8 | epoch |
//! | 16 | 8 | seq |
//! | 24 | 8 | time, microseconds since 1970 |
//! | 32 | 8 | first seq of the batch that was written and synced together |
//! | 40 | 32 | chain: SHA-256 over the chain before, bytes 8 to 40 and the payload |
//! | 72 | 4 | CRC32C of the payload |
//! | 76 | 4 | CRC32C of bytes 0 to 76 |
//! | 80 | | payload, zeros up to a multiple of 8 |
//! | | 8 | end marker |
//!
//! The header has a CRC of its own, so a damaged length is never believed. Magic and end marker have no zero byte,
//! and everything is a multiple of 8, so every part of a record that lies in one disk sector has more than one byte
//! that is not zero (a payload of 512 zeros in a row apart): one changed byte never looks like a sector that was not written.

use sha2::{Digest, Sha256};

pub type Chain = [u8; 32];

pub const MAGIC: [u8; 4] = [0xF5, b'O', b'B', 0xFA];
pub const MARKER: [u8; 8] = *b"OB-END\xFA\n";
pub const HEADER_BYTES: usize = 80;
/// What a record adds to its payload, at most.
pub const OVERHEAD_MOST: usize = HEADER_BYTES + 7 + MARKER.len();
/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub epoch: u64,
    pub seq: u64,
    pub time_us: i64,
    pub batch_first_seq: u64,
    pub chain: Chain,
    pub payload: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub payload_bytes: usize,
    pub payload_crc: u32,
    pub epoch: u64,
    pub seq: u64,
    pub time_us: i64,
    pub batch_first_seq: u64,
    pub chain: Chain,
}

/// What lies at a place in a segment.
#[derive(Debug)]
pub enum Found<'a> {
    Whole(Record<'a>),
    /// Header and payload are whole, only the end marker is unfinished: the writer was cut off in its last bytes.
    Unmarked(Record<'a>),
    /// Zeros to the end of the file.
    Nothing,
    /// Not whole, and a crash while its batch was written explains it.
    Torn(&'static str),
    /// Not whole, and no crash explains it.
    Damaged(&'static str),
}

/// The bytes that a payload takes as a record.
pub fn record_bytes(payload_bytes: usize) -> usize {
    HEADER_BYTES + payload_bytes.next_multiple_of(8) + MARKER.len()
}

/// Appends one record to `out`, whose length is a multiple of 8. Returns its chain.
pub fn encode(
    out: &mut Vec<u8>,
    previous: &Chain,
    (epoch, seq, time_us, batch_first_seq): (u64, u64, i64, u64),
    payload: &[u8],
) -> Chain {
    let start = out.len();
    let length = u32::try_from(payload.len()).expect("a payload fits into a segment");
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&epoch.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&time_us.to_le_bytes());
    out.extend_from_slice(&batch_first_seq.to_le_bytes());
    let chain = next_chain(previous, &out[start + 8..start + 40], payload);
    out.extend_from_slice(&chain);
    out.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
    let header_crc = crc32c::crc32c(&out[start..start + 76]);
    out.extend_from_slice(&header_crc.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(start + HEADER_BYTES + payload.len().next_multiple_of(8), 0);
    out.extend_from_slice(&MARKER);
    chain
}

fn next_chain(previous: &Chain, facts: &[u8], payload: &[u8]) -> Chain {
    Sha256::new()
        .chain_update(previous)
        .chain_update(facts)
        .chain_update(payload)
        .finalize()
        .into()
}

impl Record<'_> {
    /// Whether this record's chain follows from the one before it.
    pub fn follows(&self, previous: &Chain) -> bool {
        let mut facts = [0; 32];
        facts[..8].copy_from_slice(&self.epoch.to_le_bytes());
        facts[8..16].copy_from_slice(&self.seq.to_le_bytes());
        facts[16..24].copy_from_slice(&self.time_us.to_le_bytes());
        facts[24..].copy_from_slice(&self.batch_first_seq.to_le_bytes());
        next_chain(previous, &facts, self.payload) == self.chain
    }
}

/// The header at `at`, if its own CRC holds.
pub fn header(bytes: &[u8], at: usize) -> Option<Header> {
    let header: &[u8; HEADER_BYTES] = bytes.get(at..at + HEADER_BYTES)?.try_into().ok()?;
    if header[..4] != MAGIC || crc32c::crc32c(&header[..76]) != u32_at(header, 76) {
        return None;
    }
    Some(Header {
        payload_bytes: u32_at(header, 4) as usize,
        payload_crc: u32_at(header, 72),
        epoch: u64_at(header, 8),
        seq: u64_at(header, 16),
        time_us: u64_at(header, 24) as i64,
        batch_first_seq: u64_at(header, 32),
        chain: header[40..72].try_into().expect("32 bytes"),
    })
}

/// What lies at `at` in a segment; `used` is the length of the segment without the zeros at its end.
pub fn find(bytes: &[u8], used: usize, at: usize) -> Found<'_> {
    if used <= at {
        return Found::Nothing;
    }
    let Some(header) = header(bytes, at) else {
        return if lacks_a_sector(bytes, at, at + HEADER_BYTES) {
            Found::Torn("a sector of its header was never written")
        } else if used < at + HEADER_BYTES {
            Found::Torn("its header ends early")
        } else {
            Found::Damaged("its header does not match its CRC")
        };
    };
    let payload_start = at + HEADER_BYTES;
    let marker_start = payload_start + header.payload_bytes.next_multiple_of(8);
    let end = marker_start + MARKER.len();
    let payload = bytes.get(payload_start..payload_start + header.payload_bytes);
    if let Some(payload) = payload.filter(|payload| crc32c::crc32c(payload) == header.payload_crc) {
        let record = Record {
            epoch: header.epoch,
            seq: header.seq,
            time_us: header.time_us,
            batch_first_seq: header.batch_first_seq,
            chain: header.chain,
            payload,
        };
        if bytes.get(marker_start..end) == Some(&MARKER) {
            let padding = &bytes[payload_start + header.payload_bytes..marker_start];
            return match padding.iter().all(|byte| *byte == 0) {
                true => Found::Whole(record),
                false => Found::Damaged("its padding is not zero"),
            };
        }
        if used < end || lacks_a_sector(bytes, at, end) {
            let written = bytes.get(marker_start..used.min(end)).unwrap_or_default();
            let zeros = written.iter().rev().take_while(|byte| **byte == 0).count();
            if MARKER.starts_with(&written[..written.len() - zeros]) {
                return Found::Unmarked(record);
            }
        }
        return Found::Damaged("its end marker is wrong");
    }
    if lacks_a_sector(bytes, at, end) {
        Found::Torn("a sector of it was never written")
    } else if used < end {
        Found::Torn("its bytes end early")
    } else {
        Found::Damaged("its payload does not match its CRC")
    }
}

/// Whether what lies of `start..end` in some sector is all zeros, or beyond the end of the file.
fn lacks_a_sector(bytes: &[u8], start: usize, end: usize) -> bool {
    let mut at = start;
    while at < end {
        let next = (at + 1).next_multiple_of(SECTOR).min(end);
        if bytes
            .get(at..next.min(bytes.len()))
            .unwrap_or_default()
            .iter()
            .all(|byte| *byte == 0)
        {
            return true;
        }
        at = next;
    }
    false
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
