//! The hash of a shard's state, as the rules say: SHA-256 over a canonical encoding, in which accounts and resting
//! orders are sums of digests.

use crate::accounts::Account;
use crate::bands::PriceBand;
use crate::command::{CommandId, Stamp};
use crate::encoding::{
    Chain, Encoding, charge_number, level_number, prevention_number, side_number, state_number,
    status_number, time_in_force_number, type_number,
};
use crate::event::{Fill, Origin, Outcome, Replacement, Reply};
use crate::kernel::Kernel;
use crate::listings::{Listings, Symbol, SymbolDefinition};
use crate::moves::{Away, MoveEnd};
use crate::names::{Names, SymbolId, SymbolName};
use crate::order::{Order, Side};
use crate::planted::{Bug, planted};
use crate::refusal::Refusal;
use crate::safety::SafetyLimits;

impl Kernel {
    /// That of the version in force. Version 2's costs what changed since it was asked last, the first time everything.
    pub fn state_hash(&mut self) -> [u8; 32] {
        if self.version().hashes_everything() {
            return self.state_hash_of_version_1();
        }
        self.bring_digests_up_to_date();
        self.recent.chain_mut().hash_pending();
        self.hash_with(self.recent.chain())
    }

    /// As that of version 2 would be if no command had had an id: a refused command leaves it as it was.
    pub fn state_hash_but_command_ids(&mut self) -> [u8; 32] {
        self.bring_digests_up_to_date();
        self.hash_with(&Chain::default())
    }

    fn bring_digests_up_to_date(&mut self) {
        self.closed.chain_mut().hash_pending();
        self.closed_ids.chain_mut().hash_pending();
        let mut item = Encoding::default();
        (self.accounts).bring_digests_up_to_date(|account| {
            digest_of_account(account, &self.listings, &mut item)
        });
        for symbol in self.listings.symbols_mut() {
            let name = symbol.definition.symbol;
            for side in [Side::Buy, Side::Sell] {
                (symbol.book).bring_digests_up_to_date(side, |ahead, order| {
                    digest_of_order(ahead, order, name, &mut item)
                });
            }
        }
        debug_assert_eq!(
            self.sums(),
            self.walked_sums(),
            "something changed and its digest did not"
        );
    }

    /// Of the accounts, and of each side of each book.
    fn sums(&self) -> Vec<u128> {
        let accounts = self.accounts.sum_of_digests();
        let books = (self.listings.symbols()).flat_map(|symbol| {
            [Side::Buy, Side::Sell].map(|side| symbol.book.sum_of_digests(side))
        });
        std::iter::once(accounts).chain(books).collect()
    }

    /// The same, from everything that is there.
    fn walked_sums(&self) -> Vec<u128> {
        let mut item = Encoding::default();
        let mut sums = vec![0_u128];
        for (_, account) in self.accounts.iter() {
            let digest = digest_of_account(account, &self.listings, &mut item);
            sums[0] = sums[0].wrapping_add(digest);
        }
        for symbol in self.listings.symbols() {
            let name = symbol.definition.symbol;
            for side in [Side::Buy, Side::Sell] {
                let (mut sum, mut last) = (0_u128, None::<&Order>);
                for order in symbol.book.orders(side) {
                    let ahead = last.filter(|last| last.price_ticks == order.price_ticks);
                    sum = sum.wrapping_add(digest_of_order(ahead, order, name, &mut item));
                    last = Some(order);
                }
                sums.push(sum);
            }
        }
        sums
    }

    fn hash_with(&self, command_ids: &Chain) -> [u8; 32] {
        let mut encoding = Encoding::default();
        let moves_symbols = self.version().moves_symbols();
        encoding.text(if moves_symbols {
            "openbourse.state.v3"
        } else {
            "openbourse.state.v2"
        });
        encoding.text(self.shard());
        self.encode_assets(&mut encoding);
        self.encode_symbols(&mut encoding);
        encoding.sum(self.accounts.len(), self.accounts.sum_of_digests());
        self.encode_halts(&mut encoding);
        self.encode_countdowns(&mut encoding);
        self.encode_safety(&mut encoding);
        encoding.count(self.recent.most());
        encoding.chain(command_ids);
        encoding.count(self.closed.most());
        encoding.chain(self.closed.chain());
        encoding.count(self.closed_ids.most());
        encoding.chain(self.closed_ids.chain());
        encoding.u64(self.closed_ids.forgotten_early());
        if moves_symbols {
            self.encode_moves(&mut encoding);
        }
        encoding.digest()
    }

    fn encode_moves(&self, encoding: &mut Encoding) {
        encoding.u64(self.order_ids_ahead);
        let away =
            (self.listings.symbols()).filter_map(|symbol| Some((symbol, symbol.away.as_ref()?)));
        let away: Vec<_> = away.collect();
        encoding.count(away.len());
        for (symbol, away) in away {
            encoding.text(symbol.definition.symbol);
            match away {
                Away::Frozen(frozen) => {
                    encoding.u8(1);
                    encoding.bytes(&frozen.move_id);
                    encoding.text(frozen.to_shard);
                    encoding.bytes(&frozen.record_sha256);
                }
                Away::Departed { move_id, to_shard } => {
                    encoding.u8(2);
                    encoding.bytes(move_id);
                    encoding.text(to_shard);
                }
            }
        }
        encoding.u8(self.arriving.is_some().into());
        if let Some(arriving) = &self.arriving {
            encoding.bytes(&arriving.move_id);
            encoding.text(arriving.from_shard);
            encoding.u32(arriving.next_part);
            encoding.u32(arriving.parts);
            encoding.bytes(&arriving.record_sha256);
            encoding.bytes(&arriving.record.digest());
        }
        encoding.count(self.moves_over.len());
        for (move_id, end) in &self.moves_over {
            encoding.bytes(move_id);
            encoding.u8(match end {
                MoveEnd::Departed => 1,
                MoveEnd::Undone => 2,
                MoveEnd::Imported => 3,
                MoveEnd::Abandoned => 4,
            });
        }
    }

    pub(crate) fn encode_assets(&self, encoding: &mut Encoding) {
        encoding.count(self.listings.assets().count());
        for asset in self.listings.assets() {
            encoding.text(asset.asset);
            encoding.u32(asset.scale);
        }
    }

    fn encode_symbols(&self, encoding: &mut Encoding) {
        encoding.count(self.listings.symbols().count());
        for symbol in self.listings.symbols() {
            encode_symbol(symbol, encoding);
        }
    }

    pub(crate) fn encode_halts(&self, encoding: &mut Encoding) {
        encoding.count(self.halts.iter().len());
        for (name, halt) in self.halts.iter() {
            encoding.text(name.as_str());
            encoding.u8(state_number(halt.terms.state));
            encoding.count(halt.terms.symbols.len());
            for symbol in &halt.terms.symbols {
                encoding.text(symbol);
            }
            encoding.text(&halt.terms.reason);
            encoding.u64(halt.seq);
            encoding.u64(halt.epoch);
        }
    }

    fn encode_countdowns(&self, encoding: &mut Encoding) {
        encoding.count(self.countdowns.len());
        for (key, end_us) in self.countdowns.iter() {
            encoding.u64(key.account);
            encoding.text(key.symbol.as_ref().map_or("", |symbol| symbol.as_str()));
            encoding.i64(end_us);
            if self.version().moves_symbols() {
                encoding.u8(key.guard.into());
            }
        }
    }

    fn encode_safety(&self, encoding: &mut Encoding) {
        let safety = &self.safety;
        let configured = &safety.configuration;
        for limits in [
            configured.settlement_lag_ms,
            configured.unpublished_commands,
        ] {
            let SafetyLimits {
                throttle,
                cancel_only,
                halt,
            } = limits;
            encoding.u64(throttle);
            encoding.u64(cancel_only);
            encoding.u64(halt);
        }
        encoding.u32(configured.throttled_orders_per_second);
        encoding.u64(safety.lag.settlement_lag_ms);
        encoding.u64(safety.lag.unpublished_commands);
        encoding.u8(level_number(safety.level));
        encoding.i64(safety.second);
        encoding.u32(safety.accepted);
    }
}

fn encode_symbol(symbol: &Symbol, encoding: &mut Encoding) {
    encode_definition(&symbol.definition, encoding);
    encoding.u8(state_number(symbol.phase));
    encoding.i64_or_0(symbol.phase_ends_us);
    encoding.u8(state_number(symbol.state));
    encoding.u64(symbol.trades);
    encoding.u64(symbol.prevented_matches);
    encoding.u64(symbol.updates);
    encoding.i64_or_0(symbol.last_price_ticks);
    encoding.i64_or_0(symbol.auction_price_ticks);
    encoding.count(symbol.minutes.iter().len());
    for minute in symbol.minutes.iter() {
        encoding.i64(minute.number);
        encoding.u128(minute.price_lots);
        encoding.u128(minute.lots);
    }
    encoding.count(symbol.fee_schedules.len());
    for schedule in &symbol.fee_schedules {
        encoding.u32(schedule.maker_ppm);
        encoding.u32(schedule.taker_ppm);
        encoding.u8(charge_number(Some(schedule.charge)));
    }
    encoding.i64(symbol.indicated.price_ticks);
    encoding.i64(symbol.indicated.quantity_lots);
    encoding.i64(symbol.indicated.surplus_lots);
    encoding.i64_or_0(symbol.uncrossing_at);
    for side in [Side::Buy, Side::Sell] {
        encoding.sum(symbol.book.len(side), symbol.book.sum_of_digests(side));
    }
}

/// The fields that version 1 knows, which are the first ones of both.
pub(crate) fn encode_plain_definition(definition: &SymbolDefinition, encoding: &mut Encoding) {
    encoding.text(definition.symbol);
    encoding.text(definition.base_asset);
    encoding.text(definition.quote_asset);
    encoding.i64(definition.tick_units);
    encoding.i64(definition.lot_units);
    encoding.i64(definition.max_price_ticks);
    encoding.i64(definition.max_quantity_lots);
    encoding.i64(definition.min_notional_units);
    encoding.u32(definition.maker_fee_ppm);
    encoding.u32(definition.taker_fee_ppm);
}

pub(crate) fn encode_definition(definition: &SymbolDefinition, encoding: &mut Encoding) {
    encode_plain_definition(definition, encoding);
    encoding.u8(charge_number(definition.fee_charge));
    encoding.i64(definition.min_price_ticks);
    encoding.i64(definition.min_quantity_lots);
    encoding.i64(definition.market_max_quantity_lots);
    encoding.i64(definition.max_notional_units);
    encoding.u8(prevention_number(definition.self_trade_prevention));
    for band in [definition.bid_band, definition.ask_band] {
        let PriceBand {
            lowest_ppm,
            highest_ppm,
        } = band;
        encoding.u32(lowest_ppm);
        encoding.u32(highest_ppm);
    }
    encoding.u32(definition.average_minutes);
    encoding.u32(definition.market_collar_ppm);
    encoding.u32(definition.static_band_ppm);
    encoding.u32(definition.dynamic_band_ppm);
    encoding.i64(definition.volatility_auction_ms);
    encoding.i64(definition.reference_price_ticks);
}

fn digest_of_account(account: &Account, listings: &Listings, item: &mut Encoding) -> u128 {
    item.u64(account.number);
    let balances = account.balances_by_name(listings);
    item.count(balances.len());
    for (asset, balance) in balances {
        item.text(asset);
        item.i64(balance.available);
        item.i64(balance.hold);
    }
    let limits = account.limits();
    let configured = limits.map(|limits| &limits.configuration);
    item.u64(configured.map_or(0, |of| of.trade_group));
    item.u32(configured.map_or(0, |of| of.max_open_orders));
    let notionals = configured.map_or(&[][..], |of| &of.max_open_notional);
    item.count(notionals.len());
    for (asset, most) in notionals {
        item.text(asset);
        item.i64(*most);
    }
    item.u32(configured.map_or(0, |of| of.max_orders_per_interval));
    item.i64(configured.map_or(0, |of| of.interval_ms));
    item.u8(configured
        .is_some_and(|of| of.reuse_client_order_ids)
        .into());
    item.i64(limits.map_or(0, |limits| limits.interval));
    item.u32(limits.map_or(0, |limits| limits.accepted));
    item.u8(account.killed.into());
    item.half_digest()
}

/// With the order before it in its level's queue, so that the order of a queue is in the sum.
fn digest_of_order(
    ahead: Option<&Order>,
    order: &Order,
    symbol: SymbolName,
    item: &mut Encoding,
) -> u128 {
    let ahead = ahead.filter(|_| !planted(Bug::StateHashIgnoresTheQueue));
    item.u64(ahead.map_or(0, |ahead| ahead.order_id));
    item.order(order, symbol);
    item.half_digest()
}

/// An entry of the chain of command ids.
pub(crate) fn encode_reply(
    id: &CommandId,
    reply: &Reply,
    names: &impl Names,
    encoding: &mut Encoding,
) {
    encoding.bytes(id);
    encoding.stamp(reply.stamp);
    if planted(Bug::StateHashIgnoresReplies) {
        return;
    }
    match &reply.outcome {
        Outcome::Order(made) => {
            encoding.u8(1);
            encoding.order_of(&made.order, names);
            encoding.fills(&made.fills, names);
        }
        Outcome::Refused(refusal) => {
            encoding.u8(2);
            encoding.refusal(refusal);
        }
        Outcome::Replaced(replacement) => {
            let Replacement { cancel, place } = &**replacement;
            encoding.u8(3);
            encoding.either(cancel, |encoding, order| encoding.order_of(order, names));
            encoding.either(place, |encoding, made| {
                encoding.order_of(&made.order, names);
                encoding.fills(&made.fills, names);
            });
        }
        Outcome::CanceledAll {
            canceled,
            remaining,
        } => {
            encoding.u8(4);
            encoding.u32(*canceled);
            encoding.u64(*remaining);
        }
        Outcome::Done => encoding.u8(5),
    }
}

/// What version 3 has behind it: of which symbol the command was, and where the answer comes from.
pub(crate) fn encode_where_from(
    reply: &Reply,
    symbol: Option<SymbolId>,
    names: &impl Names,
    encoding: &mut Encoding,
) {
    let name = symbol.map(|symbol| names.symbol_of(symbol));
    encoding.text(name.as_ref().map_or("", |name| name.as_str()));
    let origin = reply.origin.as_deref();
    encoding.text(origin.map_or("", |Origin { shard, .. }| shard.as_str()));
    encoding.u64(origin.map_or(0, |origin| origin.imported_seq));
}

impl Encoding {
    pub(crate) fn order(&mut self, order: &Order, symbol: SymbolName) {
        self.u64(order.order_id);
        self.text(order.client_order_id);
        self.u64(order.account);
        self.text(symbol);
        self.u8(side_number(order.side));
        self.u8(type_number(order.order_type));
        self.u8(time_in_force_number(order.time_in_force));
        self.i64(order.price_ticks);
        self.i64(order.quantity_lots);
        self.i64(order.executed_lots);
        self.i64(order.executed_quote_units);
        self.u8(status_number(order.status));
        self.i64(order.created_at_us);
        self.i64(order.updated_at_us);
        self.i64(order.quote_units);
        self.i64(order.prevented_lots);
        self.u8(prevention_number(order.self_trade_prevention));
        self.u32(order.fee_schedule);
    }

    fn order_of(&mut self, order: &Order, names: &impl Names) {
        self.order(order, names.symbol_of(order.symbol));
    }

    pub(crate) fn stamp(&mut self, stamp: Stamp) {
        self.u64(stamp.seq);
        self.u64(stamp.epoch);
        self.i64(stamp.time_us);
    }

    pub(crate) fn fills(&mut self, fills: &[Fill], names: &impl Names) {
        self.count(fills.len());
        for fill in fills {
            self.u64(fill.trade_id);
            self.i64(fill.price_ticks);
            self.i64(fill.quantity_lots);
            self.i64(fill.quote_units);
            self.i64(fill.fee_units);
            self.text(names.asset_of(fill.fee_asset));
        }
    }

    pub(crate) fn refusal(&mut self, refusal: &Refusal) {
        self.u32(refusal.reason());
        self.shown(refusal);
    }

    fn either<T>(&mut self, result: &Result<T, Refusal>, encode: impl FnOnce(&mut Self, &T)) {
        match result {
            Ok(done) => {
                self.u8(1);
                encode(self, done);
            }
            Err(refusal) => {
                self.u8(2);
                self.refusal(refusal);
            }
        }
    }
}
