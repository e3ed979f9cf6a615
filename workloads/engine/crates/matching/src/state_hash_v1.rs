//! The hash of a shard's state as version 1 has it: SHA-256 over one canonical encoding, so that two machines, or two programs, that came
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

use crate::command::CommandId;
use crate::encoding::{Encoding, side_number, state_number, status_number, time_in_force_number};
use crate::event::{Outcome, Reply};
use crate::kernel::Kernel;
use crate::listings::Listings;
use crate::names::SymbolName;
use crate::order::{Order, Side};
use crate::state_hash::encode_plain_definition;

impl Kernel {
    pub(crate) fn state_hash_of_version_1(&self) -> [u8; 32] {
        let mut encoding = Encoding::default();
        encoding.text("openbourse.state.v1");
        encoding.text(self.shard());
        self.encode_assets(&mut encoding);
        self.encode_symbols_of_version_1(&mut encoding);
        self.encode_balances(&mut encoding);
        self.encode_halts(&mut encoding);
        encoding.count(self.recent.most());
        encoding.head(self.recent.chain());
        encoding.count(self.closed.most());
        encoding.head(self.closed.chain());
        encoding.digest()
    }

    fn encode_symbols_of_version_1(&self, encoding: &mut Encoding) {
        encoding.count(self.listings.symbols().count());
        for symbol in self.listings.symbols() {
            let name = symbol.definition.symbol;
            encode_plain_definition(&symbol.definition, encoding);
            encoding.u8(state_number(symbol.state));
            encoding.u64(symbol.trades);
            encoding.u64(symbol.updates);
            for side in [Side::Buy, Side::Sell] {
                encoding.count(symbol.book.len(side));
                for order in symbol.book.orders(side) {
                    encoding.order_of_version_1(order, name);
                }
            }
        }
    }

    fn encode_balances(&self, encoding: &mut Encoding) {
        let accounts = self.accounts.iter();
        encoding.count(
            accounts
                .map(|(_, account)| account.balances().count())
                .sum(),
        );
        for (number, _) in self.accounts.iter() {
            for (asset, balance) in self.balances_of(number) {
                encoding.u64(number);
                encoding.text(asset);
                encoding.i64(balance.available);
                encoding.i64(balance.hold);
            }
        }
    }
}

impl Encoding {
    pub(crate) fn order_of_version_1(&mut self, order: &Order, symbol: SymbolName) {
        self.u64(order.order_id);
        self.text(order.client_order_id);
        self.u64(order.account);
        self.text(symbol);
        self.u8(side_number(order.side));
        self.u8(time_in_force_number(order.time_in_force));
        self.i64(order.price_ticks);
        self.i64(order.quantity_lots);
        self.i64(order.executed_lots);
        self.i64(order.executed_quote_units);
        self.u8(status_number(order.status));
        self.i64(order.created_at_us);
        self.i64(order.updated_at_us);
    }
}

/// An entry of the chain of command ids.
pub(crate) fn encode_reply(
    id: &CommandId,
    reply: &Reply,
    listings: &Listings,
    encoding: &mut Encoding,
) {
    encoding.bytes(id);
    encoding.stamp(reply.stamp);
    match &reply.outcome {
        Outcome::Order(made) => {
            let symbol = listings.symbol(made.order.symbol).definition.symbol;
            encoding.u8(1);
            encoding.order_of_version_1(&made.order, symbol);
            encoding.fills(&made.fills, listings);
        }
        Outcome::Refused(refusal) => {
            encoding.u8(2);
            encoding.refusal(refusal);
        }
        Outcome::Replaced(_) | Outcome::CanceledAll { .. } | Outcome::Done => encoding.u8(3),
    }
}
