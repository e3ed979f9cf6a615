//! The root of a finished segment: what stands for all of it, so that a signature over it is one over every record.

use sha2::{Digest, Sha256};

use crate::scan::read_finished;
use crate::{Chain, Error, Storage};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub shard: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub first_epoch: u64,
    pub last_epoch: u64,
    pub records: u64,
    /// Of the record before the first one, and of the last one.
    pub chain_before: Chain,
    pub chain: Chain,
    /// Of the header and all records, without the zeros behind them.
    pub bytes: u64,
    pub sha256: [u8; 32],
}

/// Reads and checks a whole segment. It must be finished: one that is written still has no root.
pub fn root(storage: &dyn Storage, segment: &str) -> Result<Root, Error> {
    let mut epochs = None;
    let mut records = 0;
    let finished = read_finished(storage, segment, |record| {
        let (first, _) = epochs.unwrap_or((record.epoch, 0));
        epochs = Some((first, record.epoch));
        records += 1;
    })?;
    let (first_epoch, last_epoch) = epochs.unwrap_or_default();
    Ok(Root {
        shard: finished.shard,
        first_seq: finished.first_seq,
        last_seq: finished.last_seq,
        first_epoch,
        last_epoch,
        records,
        chain_before: finished.chain_before,
        chain: finished.chain,
        bytes: finished.bytes.len() as u64,
        sha256: Sha256::digest(&finished.bytes).into(),
    })
}
