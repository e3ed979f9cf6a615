//! One canonical encoding of the state, and the hashes over it.
//!
//! Integers are big-endian and of fixed width, a text is its length as u32 and its bytes, a list is its length as u64
//! and its items. Enumerations have the numbers that they have in `openbourse.v1`.

use std::fmt::Display;
use std::io::Write as _;

use sha2::{Digest, Sha256};

use crate::fees::FeeCharge;
use crate::order::{OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce};
use crate::safety::SafetyLevel;
use crate::stored::{Damage, Input, Stored, write_length};
use crate::symbol_state::SymbolState;

/// Pending bytes at which a chain's head moves on: so many that few commands pay for it, and few enough for a snapshot.
const FOLD_BYTES: usize = 1 << 20;

/// A hash over everything that ever entered a window. An entry costs its bytes; hashing them waits until the hash is
/// asked for, or there are too many.
#[derive(Clone)]
pub(crate) struct Chain {
    count: u64,
    head: [u8; 32],
    /// What the head does not cover yet.
    pending: Encoding,
    /// Of the head and the first `hashed` pending bytes.
    hasher: Sha256,
    hashed: usize,
}

impl Chain {
    /// As version 1 does: the head covers every entry at once.
    pub fn add(&mut self, entry: impl FnOnce(&mut Encoding)) {
        self.pending.bytes(&self.head);
        entry(&mut self.pending);
        self.count += 1;
        let head = self.pending.digest();
        self.begin(head);
    }

    pub fn append(&mut self, entry: impl FnOnce(&mut Encoding)) {
        entry(&mut self.pending);
        self.count += 1;
        if self.pending.bytes.len() >= FOLD_BYTES {
            self.hash_pending();
            let head = self.digest();
            self.begin(head);
        }
    }

    /// So that the digest costs little.
    pub fn hash_pending(&mut self) {
        self.hasher.update(&self.pending.bytes[self.hashed..]);
        self.hashed = self.pending.bytes.len();
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.pending.bytes[self.hashed..]);
        hasher.finalize().into()
    }

    fn begin(&mut self, head: [u8; 32]) {
        self.head = head;
        self.pending.bytes.clear();
        self.hasher = Sha256::new_with_prefix(head);
        self.hashed = 0;
    }
}

impl Stored for Chain {
    fn write(&self, out: &mut Vec<u8>) {
        self.count.write(out);
        self.head.write(out);
        write_length(self.pending.bytes.len(), out);
        out.extend_from_slice(&self.pending.bytes);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let count = Stored::read(from)?;
        let mut chain = Self {
            count,
            ..Self::default()
        };
        chain.begin(Stored::read(from)?);
        let pending = from.length()?;
        if pending >= FOLD_BYTES {
            return Err("a chain has more pending than it ever has");
        }
        chain.pending.bytes(from.take(pending)?);
        Ok(chain)
    }
}

impl Default for Chain {
    fn default() -> Self {
        let head = [0; 32];
        Self {
            count: 0,
            head,
            pending: Encoding::default(),
            hasher: Sha256::new_with_prefix(head),
            hashed: 0,
        }
    }
}

/// Bytes to be hashed.
#[derive(Clone, Default)]
pub(crate) struct Encoding {
    bytes: Vec<u8>,
}

impl Encoding {
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub fn text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.u32(u32::try_from(text.len()).expect("texts in the state are short"));
        self.bytes(text);
    }

    /// As text.
    pub fn shown(&mut self, value: impl Display) {
        let length_at = self.bytes.len();
        self.u32(0);
        write!(self.bytes, "{value}").expect("there is no end to memory");
        let length = self.bytes.len() - length_at - size_of::<u32>();
        let length = u32::try_from(length).expect("texts in the state are short");
        self.bytes[length_at..][..size_of::<u32>()].copy_from_slice(&length.to_be_bytes());
    }

    pub fn u128(&mut self, value: u128) {
        self.bytes(&value.to_be_bytes());
    }

    /// 0 for none.
    pub fn i64_or_0(&mut self, value: Option<i64>) {
        self.i64(value.unwrap_or(0));
    }

    /// As version 1 does.
    pub fn head(&mut self, chain: &Chain) {
        self.u64(chain.count);
        self.bytes(&chain.head);
    }

    pub fn chain(&mut self, chain: &Chain) {
        self.u64(chain.count);
        self.bytes(&chain.digest());
    }

    /// Of the digests of so many items.
    pub fn sum(&mut self, count: usize, sum: u128) {
        self.count(count);
        self.u128(sum);
    }

    /// Of all that was written, and begins anew.
    pub fn digest(&mut self) -> [u8; 32] {
        let digest = Sha256::digest(&self.bytes);
        self.bytes.clear();
        digest.into()
    }

    /// The first half of it, as it is summed.
    pub fn half_digest(&mut self) -> u128 {
        let digest = self.digest();
        let (first, _) = digest.split_first_chunk().expect("32 bytes");
        u128::from_be_bytes(*first)
    }
}

pub(crate) fn side_number(side: Side) -> u8 {
    match side {
        Side::Buy => 1,
        Side::Sell => 2,
    }
}

pub(crate) fn type_number(order_type: OrderType) -> u8 {
    match order_type {
        OrderType::Limit => 1,
        OrderType::Market => 2,
        OrderType::LimitMaker => 3,
    }
}

pub(crate) fn time_in_force_number(time_in_force: TimeInForce) -> u8 {
    match time_in_force {
        TimeInForce::GoodTillCancelled => 1,
        TimeInForce::ImmediateOrCancel => 2,
        TimeInForce::FillOrKill => 3,
    }
}

pub(crate) fn status_number(status: OrderStatus) -> u8 {
    match status {
        OrderStatus::New => 1,
        OrderStatus::PartiallyFilled => 2,
        OrderStatus::Filled => 3,
        OrderStatus::Canceled => 4,
        OrderStatus::Expired => 5,
        OrderStatus::ExpiredInMatch => 6,
    }
}

pub(crate) fn prevention_number(mode: Option<SelfTradePrevention>) -> u8 {
    match mode {
        None => 0,
        Some(SelfTradePrevention::None) => 1,
        Some(SelfTradePrevention::ExpireTaker) => 2,
        Some(SelfTradePrevention::ExpireMaker) => 3,
        Some(SelfTradePrevention::ExpireBoth) => 4,
        Some(SelfTradePrevention::Decrement) => 5,
        Some(SelfTradePrevention::Transfer) => 6,
    }
}

pub(crate) fn state_number(state: SymbolState) -> u8 {
    match state {
        SymbolState::Trading => 1,
        SymbolState::Halt => 2,
        SymbolState::CancelOnly => 3,
        SymbolState::PostOnly => 4,
        SymbolState::Auction => 5,
    }
}

pub(crate) fn charge_number(charge: Option<FeeCharge>) -> u8 {
    match charge {
        None => 0,
        Some(FeeCharge::Received) => 1,
        Some(FeeCharge::Quote) => 2,
    }
}

pub(crate) fn level_number(level: SafetyLevel) -> u8 {
    match level {
        SafetyLevel::Normal => 1,
        SafetyLevel::Throttled => 2,
        SafetyLevel::CancelOnly => 3,
        SafetyLevel::Halt => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_same_whenever_its_hash_was_asked_for_and_after_a_snapshot() {
        let entry = |number: u32| vec![number as u8; 1000 + number as usize % 7];
        let (mut never, mut often) = (Chain::default(), Chain::default());
        let (mut head, mut pending) = ([0; 32], Vec::new());
        for number in 0..2_500 {
            let bytes = entry(number);
            never.append(|to| to.bytes(&bytes));
            often.append(|to| to.bytes(&bytes));
            pending.extend_from_slice(&bytes);
            if pending.len() >= 1_048_576 {
                head = Sha256::digest([&head[..], &pending].concat()).into();
                pending.clear();
            }
            if number % 100 == 99 {
                often.hash_pending();
                let mut stored = Vec::new();
                often.write(&mut stored);
                often = Chain::read(&mut Input::new(&stored)).unwrap();
            }
            if number % 10 == 0 {
                often.hash_pending();
            }
        }
        let expected: [u8; 32] = Sha256::digest([&head[..], &pending].concat()).into();
        assert_eq!([never.digest(), often.digest()], [expected; 2]);
        assert_eq!((never.count, often.count), (2_500, 2_500));
        assert_ne!(head, [0; 32], "its head is to move on");
    }
}
