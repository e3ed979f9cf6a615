//! One canonical encoding of the state, and the hashes over it.
//!
//! Integers are big-endian and of fixed width, a text is its length as u32 and its bytes, a list is its length as u64
//! and its items. Enumerations have the numbers that they have in `openbourse.v1`.

use sha2::{Digest, Sha256};

use crate::fees::FeeCharge;
use crate::order::{OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce};
use crate::safety::SafetyLevel;
use crate::stored::{Damage, Input, Stored};
use crate::symbol_state::SymbolState;

/// Pending bytes at which a chain's head moves on.
const FOLD_BYTES: usize = 4096;

/// A hash over everything that ever entered a window.
#[derive(Clone)]
pub(crate) struct Chain {
    count: u64,
    head: [u8; 32],
    /// Of the head and what it does not cover yet: hashed as it comes, so that no entry pays for those before it.
    hasher: Sha256,
    /// What the hasher has had behind the head, so that it can be written down.
    pending: Vec<u8>,
    /// Kept for its allocation.
    entry: Encoding,
}

impl Chain {
    /// As version 1 does: the head covers every entry at once.
    pub fn add(&mut self, entry: impl FnOnce(&mut Encoding)) {
        self.entry.bytes(&self.head);
        entry(&mut self.entry);
        self.head = self.entry.digest();
        self.count += 1;
        self.begin();
    }

    pub fn append(&mut self, entry: impl FnOnce(&mut Encoding)) {
        entry(&mut self.entry);
        self.hasher.update(&self.entry.bytes);
        self.pending.extend_from_slice(&self.entry.bytes);
        self.entry.bytes.clear();
        self.count += 1;
        if self.pending.len() >= FOLD_BYTES {
            self.head = self.digest();
            self.begin();
        }
    }

    fn begin(&mut self) {
        self.pending.clear();
        self.hasher = Sha256::new_with_prefix(self.head);
    }

    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }
}

impl Stored for Chain {
    fn write(&self, out: &mut Vec<u8>) {
        self.count.write(out);
        self.head.write(out);
        self.pending.write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let mut chain = Self {
            count: Stored::read(from)?,
            head: Stored::read(from)?,
            ..Self::default()
        };
        chain.begin();
        chain.pending = Stored::read(from)?;
        if chain.pending.len() >= FOLD_BYTES {
            return Err("a chain has more pending than it ever has");
        }
        chain.hasher.update(&chain.pending);
        Ok(chain)
    }
}

impl Default for Chain {
    fn default() -> Self {
        let head = [0; 32];
        Self {
            count: 0,
            head,
            hasher: Sha256::new_with_prefix(head),
            pending: Vec::new(),
            entry: Encoding::default(),
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

    pub fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).expect("texts in the state are short"));
        self.bytes(text.as_bytes());
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
