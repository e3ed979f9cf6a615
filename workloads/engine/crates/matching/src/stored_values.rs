//! The kernel's values as they lie in a snapshot. A change here is another version of the snapshot.

use crate::account_limits::{AccountConfiguration, Limits};
use crate::accounts::Balance;
use crate::auction::Indication;
use crate::bands::{Minute, PriceBand};
use crate::command::{DefineAsset, Stamp};
use crate::event::{Fill, OrderOutcome, Origin, Outcome, Replacement, Reply};
use crate::fees::{FeeCharge, FeeSchedule};
use crate::kernel::Windows;
use crate::listings::SymbolDefinition;
use crate::moves::{Arriving, Away, Frozen, MoveEnd};
use crate::names::{
    AssetId, AssetName, ClientOrderId, HaltName, ShardName, SymbolId, SymbolName, Text, Trader,
};
use crate::order::{Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce};
use crate::record::{RecordCountdown, RecordMinute, RecordReply, RecordTerms, SymbolRecord};
use crate::refusal::{Refusal, Transition};
use crate::safety::{Lag, Safety, SafetyConfiguration, SafetyLevel, SafetyLimits};
use crate::stored::{Damage, Input, Stored, choices, fields};
use crate::symbol_state::{Decider, Halt, HaltTerms, SymbolState};
use crate::version::Version;

fields! {
    AccountConfiguration {
        account, trade_group, max_open_orders, max_open_notional, max_orders_per_interval, interval_ms,
        reuse_client_order_ids,
    }
    Balance { available, hold }
    DefineAsset { asset, scale }
    FeeSchedule { maker_ppm, taker_ppm, charge }
    Fill { trade_id, price_ticks, quantity_lots, quote_units, fee_units, fee_asset }
    Halt { terms, seq, epoch }
    HaltTerms { symbols, state, reason }
    Indication { price_ticks, quantity_lots, surplus_lots }
    Lag { settlement_lag_ms, unpublished_commands }
    Limits { configuration, interval, accepted }
    Minute { number, price_lots, lots }
    Order {
        order_id, client_order_id, account, symbol, side, order_type, time_in_force, price_ticks, quantity_lots,
        executed_lots, prevented_lots, executed_quote_units, quote_units, status, created_at_us, updated_at_us,
        self_trade_prevention, fee_schedule,
    }
    OrderOutcome { order, fills }
    PriceBand { lowest_ppm, highest_ppm }
    Replacement { cancel, place }
    Arriving { move_id, from_shard, next_part, parts, record_sha256, record }
    Frozen { move_id, to_shard, record, record_sha256, held }
    Origin { shard, imported_seq }
    RecordCountdown { account, of_all_symbols, guard, end_us }
    RecordMinute { number, price_lots, lots }
    RecordReply { command_id, shard, reply }
    RecordTerms {
        definition, base_scale, quote_scale, phase, phase_ends_us, trades, prevented_matches, updates, last_price_ticks,
        auction_price_ticks, minutes, fee_schedules, last_order_id,
    }
    SymbolRecord { terms, orders, closed_ids, countdowns, replies }
    Safety { configuration, lag, level, second, accepted }
    SafetyConfiguration { settlement_lag_ms, unpublished_commands, throttled_orders_per_second }
    SafetyLimits { throttle, cancel_only, halt }
    Stamp { seq, epoch, time_us }
    SymbolDefinition {
        symbol, base_asset, quote_asset, tick_units, lot_units, max_price_ticks, max_quantity_lots,
        min_notional_units, maker_fee_ppm, taker_fee_ppm, fee_charge, min_price_ticks, min_quantity_lots,
        market_max_quantity_lots, max_notional_units, self_trade_prevention, bid_band, ask_band, average_minutes,
        market_collar_ppm, static_band_ppm, dynamic_band_ppm, volatility_auction_ms, reference_price_ticks,
    }
}

choices! {
    Away { 1 => Frozen(frozen), 2 => Departed { move_id, to_shard } }
    Decider { 1 => Halt { halt, reason }, 2 => Safety(level), 3 => Phase(phase), 4 => Uncross }
    FeeCharge { 1 => Received, 2 => Quote }
    MoveEnd { 1 => Departed, 2 => Undone, 3 => Imported, 4 => Abandoned }
    OrderStatus {
        1 => New, 2 => PartiallyFilled, 3 => Filled, 4 => Canceled, 5 => Expired, 6 => ExpiredInMatch,
    }
    OrderType { 1 => Limit, 2 => Market, 3 => LimitMaker }
    Outcome {
        1 => Order(order), 2 => Replaced(replacement), 3 => CanceledAll { canceled, remaining },
        4 => Refused(refusal), 5 => Done,
    }
    Refusal {
        1 => Invalid(what), 2 => UnknownSymbol(symbol), 3 => UnknownAsset(asset), 4 => UnknownOrder,
        5 => PriceOutOfRange { least, most }, 6 => QuantityOutOfRange { least, most },
        7 => NotionalTooSmall { least }, 8 => InsufficientFunds { asset, needed, available },
        9 => DuplicateClientOrderId(id), 10 => NotInState { state, decider }, 11 => Overflow(what),
        12 => Immutable(what), 13 => UnknownHalt(halt), 14 => PriceOutOfBand { band, reference_ticks },
        15 => NotionalTooLarge { most }, 16 => WouldTake { best_ticks }, 17 => TooManyOpenOrders { most },
        18 => OpenNotionalExceeded { asset, most }, 19 => OrderRateExceeded { most, interval_ms },
        20 => AccountKilled, 21 => Throttled { most }, 22 => RecentClientOrderId(id),
        23 => QuantityNotLower { below, above }, 24 => InvalidTransition(transition),
        25 => UnknownVersion(version), 26 => CancelRestricted { executed }, 27 => NotAttempted,
        28 => SymbolMoving(shard), 29 => SymbolMoved(shard), 30 => MoveRefused(what), 31 => Told { reason, detail },
    }
    SafetyLevel { 1 => Normal, 2 => Throttled, 3 => CancelOnly, 4 => Halt }
    SelfTradePrevention {
        1 => None, 2 => ExpireTaker, 3 => ExpireMaker, 4 => ExpireBoth, 5 => Decrement, 6 => Transfer,
    }
    Side { 1 => Buy, 2 => Sell }
    SymbolState { 1 => Trading, 2 => Halt, 3 => CancelOnly, 4 => PostOnly, 5 => Auction }
    TimeInForce { 1 => GoodTillCancelled, 2 => ImmediateOrCancel, 3 => FillOrKill }
    Transition { 1 => Unknown { from, to }, 2 => AuctionEndsIn(state), 3 => Uncrossing }
}

fn write_name<const N: usize>(name: &Text<N>, out: &mut Vec<u8>) {
    let name = name.as_str().as_bytes();
    out.push(u8::try_from(name.len()).expect("names are short"));
    out.extend_from_slice(name);
}

/// What `check` makes of a short text.
fn read_name<T>(from: &mut Input, check: fn(&str) -> Option<T>) -> Result<T, Damage> {
    let length = u8::read(from)?;
    let bytes = from.take(length.into())?;
    let name = std::str::from_utf8(bytes).ok().and_then(check);
    name.ok_or("a name has a character that no name has")
}

impl Stored for SymbolName {
    fn write(&self, out: &mut Vec<u8>) {
        write_name(self, out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        read_name(from, Self::symbol)
    }
}

impl Stored for AssetName {
    fn write(&self, out: &mut Vec<u8>) {
        write_name(self, out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        read_name(from, Self::asset)
    }
}

impl Stored for ClientOrderId {
    fn write(&self, out: &mut Vec<u8>) {
        write_name(self, out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        read_name(from, Self::client_order_id)
    }
}

/// Without where it comes from, which only encoding 3 has behind it.
impl Stored for Reply {
    fn write(&self, out: &mut Vec<u8>) {
        self.command_id.write(out);
        self.stamp.write(out);
        self.outcome.write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Ok(Self {
            command_id: Stored::read(from)?,
            stamp: Stored::read(from)?,
            outcome: Stored::read(from)?,
            origin: None,
        })
    }
}

impl Stored for [i64; 2] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Ok([Stored::read(from)?, Stored::read(from)?])
    }
}

impl Stored for Box<str> {
    fn write(&self, out: &mut Vec<u8>) {
        String::from(&**self).write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        from.text().map(Self::from)
    }
}

impl Stored for ShardName {
    fn write(&self, out: &mut Vec<u8>) {
        write_name(self, out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        read_name(from, Self::shard)
    }
}

impl Stored for HaltName {
    fn write(&self, out: &mut Vec<u8>) {
        let name = self.as_str().as_bytes();
        out.push(u8::try_from(name.len()).expect("at most 253"));
        out.extend_from_slice(name);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        read_name(from, Self::new)
    }
}

impl Stored for Trader {
    fn write(&self, out: &mut Vec<u8>) {
        self.account().write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Self::new(u64::read(from)?).ok_or("a trader has a number of the shard's own")
    }
}

impl Stored for AssetId {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let number = u32::read(from)?;
        let listed = (number as usize) < from.assets;
        listed
            .then_some(Self(number))
            .ok_or("no asset has that number")
    }
}

impl Stored for SymbolId {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let number = u32::read(from)?;
        let listed = (number as usize) < from.symbols;
        listed
            .then_some(Self(number))
            .ok_or("no symbol has that number")
    }
}

impl Stored for Version {
    fn write(&self, out: &mut Vec<u8>) {
        self.number().write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Self::of_number(u32::read(from)?).ok_or("this kernel has no such version")
    }
}

impl Stored for Windows {
    fn write(&self, out: &mut Vec<u8>) {
        for most in [
            self.commands,
            self.closed_orders,
            self.closed_client_order_ids,
        ] {
            (most as u64).write(out);
        }
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let mut most = || match usize::try_from(u64::read(from)?) {
            Ok(most) if most < 1 << 31 => Ok(most),
            _ => Err("a window holds fewer than 2^31"),
        };
        Ok(Self {
            commands: most()?,
            closed_orders: most()?,
            closed_client_order_ids: most()?,
        })
    }
}
