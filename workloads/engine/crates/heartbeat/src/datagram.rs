//! What one heartbeat looks like on the wire, 64 bytes, little endian:
//!
//! ```text
//! 0  magic "OBHB"   4  version   8  link id   24  sender   32  counter   40  stamp   48  HMAC-SHA256, its first half
//! ```
//!
//! The code is over all before it. Nothing here knows a socket or a time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub const BYTES: usize = 64;
const SIGNED_BYTES: usize = 48;
const MAGIC: &[u8; 4] = b"OBHB";
const VERSION: u32 = 1;

pub type LinkId = [u8; 16];
pub type Key = [u8; 32];

#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    pub fn new(key: &Key) -> Signer {
        Signer(Hmac::new_from_slice(key).expect("HMAC takes keys of any length"))
    }
}

/// `sender` tells the two ends of a link apart, so that neither takes its own heartbeat, sent back, for the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    pub link: LinkId,
    pub sender: u64,
    pub counter: u64,
    pub stamp: u64,
}

impl Heartbeat {
    pub fn signed(&self, signer: &Signer) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..24].copy_from_slice(&self.link);
        bytes[24..32].copy_from_slice(&self.sender.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.counter.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.stamp.to_le_bytes());
        let code = signer.0.clone().chain_update(&bytes[..SIGNED_BYTES]);
        bytes[SIGNED_BYTES..].copy_from_slice(&code.finalize().into_bytes()[..16]);
        bytes
    }

    /// Nothing of it may be believed before `is_signed`. None: not a heartbeat, or not of this version.
    pub fn read(bytes: &[u8]) -> Option<Heartbeat> {
        if bytes.len() != BYTES || bytes[..4] != *MAGIC || bytes[4..8] != VERSION.to_le_bytes() {
            return None;
        }
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        Some(Heartbeat {
            link: bytes[8..24].try_into().expect("16 bytes"),
            sender: u64_at(24),
            counter: u64_at(32),
            stamp: u64_at(40),
        })
    }
}

/// In constant time.
pub fn is_signed(bytes: &[u8], signer: &Signer) -> bool {
    let code = signer.0.clone().chain_update(&bytes[..SIGNED_BYTES]);
    code.verify_truncated_left(&bytes[SIGNED_BYTES..]).is_ok()
}
