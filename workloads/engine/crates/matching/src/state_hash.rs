//! The hash of a shard's state: SHA-256 over one canonical encoding, so that two machines, or two programs, that came
//! to the same state can say so in 32 bytes.
//!
//! Integers are big-endian and of fixed width, a text is its length as u32 and its bytes, a list is its length as u64
//! and its items. In this order:
//!
//! 1. text "openbourse.state.v1", text shard
//! 2. list of assets by name: text name, u32 scale
//! 3. list of symbols by name: the definition's ten fields in the order of the message (text, i64, u32), u8 state,
//!    u64 trades, u64 updates, then list of bids and list of asks, each of orders in the order in which they would trade
//! 4. list of balances by account and asset name: u64 account, text asset, i64 available, i64 hold
//! 5. list of halts by name: text name, u8 state, list of symbol names by name, text reason, u64 seq, u64 epoch
//! 6. u64 size of the window, u64 count and 32 bytes of the chain of command ids
//! 7. u64 size of the window, u64 count and 32 bytes of the chain of closed orders
//!
//! An order is: u64 order id, text client order id, u64 account, text symbol, u8 side, u8 time in force, i64 price,
//! i64 quantity, i64 executed, i64 executed quote, u8 status, i64 created, i64 updated. Enumerations have the numbers
//! that they have in `openbourse.v1`.
//!
//! A chain starts at 32 zero bytes and goes on to SHA-256(chain, entry) with each entry that enters its window, so the
//! windows cost nothing here. An entry of closed orders is an order. An entry of command ids is: 16 bytes id, u64 seq,
//! u64 epoch, i64 time, then u8 1, order and list of fills (u64 trade id, i64 price, i64 quantity, i64 quote units,
//! i64 fee, text fee asset); or u8 2, u32 reason, text detail; or u8 3.
//!
//! Seq is not in it: a resend moves the seq and leaves the state as it was. Nor is the last checkpoint, which holds
//! this hash. The cost is proportional to the balances and the resting orders, and is paid at checkpoints only.

use sha2::{Digest, Sha256};

use crate::kernel::Kernel;
use crate::order::{Order, OrderStatus, Side, TimeInForce};
use crate::symbol_state::SymbolState;

impl Kernel {
    pub fn state_hash(&self) -> [u8; 32] {
        let mut encoding = Encoding::default();
        encoding.text("openbourse.state.v1");
        encoding.text(self.shard());
        self.encode_listings(&mut encoding);
        self.encode_balances(&mut encoding);
        self.encode_halts(&mut encoding);
        encoding.count(self.recent.most());
        encoding.chain(self.recent.chain());
        encoding.count(self.closed.most());
        encoding.chain(self.closed.chain());
        encoding.digest()
    }

    fn encode_listings(&self, encoding: &mut Encoding) {
        encoding.count(self.listings.assets().count());
        for asset in self.listings.assets() {
            encoding.text(asset.asset.as_str());
            encoding.u32(asset.scale);
        }
        encoding.count(self.listings.symbols().count());
        for symbol in self.listings.symbols() {
            let definition = &symbol.definition;
            let name = definition.symbol.as_str();
            encoding.text(name);
            encoding.text(definition.base_asset.as_str());
            encoding.text(definition.quote_asset.as_str());
            encoding.i64(definition.tick_units);
            encoding.i64(definition.lot_units);
            encoding.i64(definition.max_price_ticks);
            encoding.i64(definition.max_quantity_lots);
            encoding.i64(definition.min_notional_units);
            encoding.u32(definition.maker_fee_ppm);
            encoding.u32(definition.taker_fee_ppm);
            encoding.u8(state_number(symbol.state));
            encoding.u64(symbol.trades);
            encoding.u64(symbol.updates);
            for side in [Side::Buy, Side::Sell] {
                encoding.count(symbol.book.len(side));
                for order in symbol.book.orders(side) {
                    encoding.order(order, name);
                }
            }
        }
    }

    fn encode_balances(&self, encoding: &mut Encoding) {
        let accounts = self.accounts.iter();
        encoding.count(accounts.map(|(_, account)| account.balances().len()).sum());
        for (number, _) in self.accounts.iter() {
            for (asset, balance) in self.balances_of(number) {
                encoding.u64(number);
                encoding.text(asset.as_str());
                encoding.i64(balance.available);
                encoding.i64(balance.hold);
            }
        }
    }

    fn encode_halts(&self, encoding: &mut Encoding) {
        encoding.count(self.halts.iter().len());
        for (name, halt) in self.halts.iter() {
            encoding.text(name.as_str());
            encoding.u8(state_number(halt.terms.state));
            encoding.count(halt.terms.symbols.len());
            for symbol in &halt.terms.symbols {
                encoding.text(symbol.as_str());
            }
            encoding.text(&halt.terms.reason);
            encoding.u64(halt.seq);
            encoding.u64(halt.epoch);
        }
    }
}

/// A hash over everything that ever entered a window.
#[derive(Clone, Default)]
pub(crate) struct Chain {
    count: u64,
    head: [u8; 32],
    /// Kept for its allocation.
    encoding: Encoding,
}

impl Chain {
    pub(crate) fn add(&mut self, entry: impl FnOnce(&mut Encoding)) {
        self.encoding.bytes(&self.head);
        entry(&mut self.encoding);
        self.head = self.encoding.digest();
        self.count += 1;
    }
}

/// The canonical encoding, hashed as it grows.
#[derive(Clone, Default)]
pub(crate) struct Encoding {
    hasher: Sha256,
    pending: Vec<u8>,
}

impl Encoding {
    const PENDING_MOST: usize = 1 << 16;

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > Self::PENDING_MOST {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
        self.pending.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.bytes(&value.to_be_bytes());
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).expect("texts in the state are short"));
        self.bytes(text.as_bytes());
    }

    pub(crate) fn order(&mut self, order: &Order, symbol: &str) {
        self.u64(order.order_id);
        self.text(order.client_order_id.as_str());
        self.u64(order.account);
        self.text(symbol);
        self.u8(match order.side {
            Side::Buy => 1,
            Side::Sell => 2,
        });
        self.u8(match order.time_in_force {
            TimeInForce::GoodTillCancelled => 1,
            TimeInForce::ImmediateOrCancel => 2,
        });
        self.i64(order.price_ticks);
        self.i64(order.quantity_lots);
        self.i64(order.executed_lots);
        self.i64(order.executed_quote_units);
        self.u8(match order.status {
            OrderStatus::New => 1,
            OrderStatus::PartiallyFilled => 2,
            OrderStatus::Filled => 3,
            OrderStatus::Canceled => 4,
            OrderStatus::Expired => 5,
        });
        self.i64(order.created_at_us);
        self.i64(order.updated_at_us);
    }

    fn chain(&mut self, chain: &Chain) {
        self.u64(chain.count);
        self.bytes(&chain.head);
    }

    /// Of all that was written, and begins anew.
    fn digest(&mut self) -> [u8; 32] {
        self.hasher.update(&self.pending);
        self.pending.clear();
        self.hasher.finalize_reset().into()
    }
}

fn state_number(state: SymbolState) -> u8 {
    match state {
        SymbolState::Trading => 1,
        SymbolState::Halt => 2,
        SymbolState::CancelOnly => 3,
    }
}
