//! The kernel's own types into messages.

use openbourse_matching::account_limits::AccountConfiguration;
use openbourse_matching::auction::Indication;
use openbourse_matching::bands::PriceBand;
use openbourse_matching::command::{CancelReason, Transfer};
use openbourse_matching::event::{
    Event, EventBody, Fill, Movement, OrderOutcome, Outcome, PreventedMatch, PreventedParty, Reply,
    Trade, TradeParty,
};
use openbourse_matching::fees::FeeCharge;
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{AssetId, Names, SymbolId};
use openbourse_matching::order::{
    Order, OrderStatus, OrderType, SelfTradePrevention, Side, TimeInForce,
};
use openbourse_matching::refusal::Refusal;
use openbourse_matching::safety::{SafetyConfiguration, SafetyLevel, SafetyLimits};
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Kernel, Stamp};

use crate::{moves, v1};

const EVENT_VERSION: u32 = 1;

/// What all events of one command have in common.
pub(crate) struct Envelope<'a> {
    pub kernel: &'a Kernel,
    pub stamp: Stamp,
    pub correlation_id: &'a str,
    pub causation_id: &'a str,
    pub traceparent: &'a str,
}

pub(crate) fn reply(kernel: &Kernel, reply: &Reply) -> v1::Reply {
    v1::Reply {
        command_id: reply.command_id.map(Vec::from).unwrap_or_default(),
        shard: match &reply.origin {
            Some(origin) => origin.shard.to_string(),
            None => kernel.shard().into(),
        },
        epoch: reply.stamp.epoch,
        seq: reply.stamp.seq,
        occurred_at_us: reply.stamp.time_us,
        result: Some(outcome(kernel, &reply.outcome)),
    }
}

pub(crate) fn outcome(kernel: &impl Names, outcome: &Outcome) -> v1::reply::Result {
    use v1::replace_result::{Cancel, Place};
    use v1::reply::Result as Answered;
    match outcome {
        Outcome::Order(made) => Answered::Order(order_result(kernel, made)),
        Outcome::Replaced(replacement) => Answered::Replaced(v1::ReplaceResult {
            cancel: Some(match &replacement.cancel {
                Ok(canceled) => Cancel::Canceled(order(kernel, canceled)),
                Err(refusal) => Cancel::CancelRejection(rejection(refusal)),
            }),
            place: Some(match &replacement.place {
                Ok(made) => Place::Placed(order_result(kernel, made)),
                Err(refusal) => Place::PlaceRejection(rejection(refusal)),
            }),
        }),
        Outcome::CanceledAll {
            canceled,
            remaining,
        } => Answered::CanceledAll(v1::CancelAllResult {
            canceled: *canceled,
            remaining: *remaining,
        }),
        Outcome::Refused(refusal) => Answered::Rejection(rejection(refusal)),
        Outcome::Done => Answered::Done(v1::Done {}),
    }
}

fn order_result(kernel: &impl Names, made: &OrderOutcome) -> v1::OrderResult {
    v1::OrderResult {
        order: Some(order(kernel, &made.order)),
        fills: made.fills.iter().map(|made| fill(kernel, made)).collect(),
    }
}

fn rejection(refusal: &Refusal) -> v1::Rejection {
    v1::Rejection {
        reason: reason(refusal),
        detail: refusal.to_string(),
    }
}

impl Envelope<'_> {
    pub(crate) fn event(&self, index: u32, event: &Event, movements: &[Movement]) -> v1::Event {
        let stamp = self.stamp;
        v1::Event {
            event_id: format!("{}/{}/{index}", self.kernel.shard(), stamp.seq),
            event_version: EVENT_VERSION,
            symbol: event
                .symbol
                .map(|symbol| symbol_name(self.kernel, symbol))
                .unwrap_or_default(),
            seq: stamp.seq,
            occurred_at_us: stamp.time_us,
            correlation_id: self.correlation_id.into(),
            causation_id: self.causation_id.into(),
            traceparent: self.traceparent.into(),
            shard: self.kernel.shard().into(),
            epoch: stamp.epoch,
            index,
            movements: movements
                .iter()
                .map(|moved| movement(self.kernel, moved))
                .collect(),
            body: Some(event_body(self.kernel, &event.body)),
        }
    }
}

fn event_body(kernel: &Kernel, body: &EventBody) -> v1::event::Body {
    use v1::event::Body as Message;
    match body {
        EventBody::OrderAccepted(accepted) => Message::OrderAccepted(v1::OrderAccepted {
            order: Some(order(kernel, accepted)),
        }),
        EventBody::OrderRejected {
            account,
            client_order_id,
            refusal,
        } => Message::OrderRejected(v1::OrderRejected {
            account: *account,
            client_order_id: client_order_id.to_string(),
            reason: reason(refusal),
            detail: refusal.to_string(),
        }),
        EventBody::OrderCanceled {
            order: canceled,
            reason,
        } => Message::OrderCanceled(v1::OrderCanceled {
            order: Some(order(kernel, canceled)),
            reason: reason.map_or(0, |reason| cancel_reason(reason).into()),
        }),
        EventBody::OrderAmended {
            order: amended,
            previous_quantity_lots,
            previous_client_order_id,
        } => Message::OrderAmended(v1::OrderAmended {
            order: Some(order(kernel, amended)),
            previous_quantity_lots: *previous_quantity_lots,
            previous_client_order_id: previous_client_order_id.to_string(),
        }),
        EventBody::OrderExpired(expired) => Message::OrderExpired(v1::OrderExpired {
            order: Some(order(kernel, expired)),
        }),
        EventBody::TradeExecuted(made) => Message::TradeExecuted(trade(kernel, made)),
        EventBody::BookDelta {
            update_id,
            side: of,
            price_ticks,
            quantity_lots,
        } => Message::BookDelta(v1::BookDelta {
            update_id: *update_id,
            side: side(*of).into(),
            price_ticks: *price_ticks,
            quantity_lots: *quantity_lots,
        }),
        EventBody::MatchPrevented(prevented) => Message::MatchPrevented(prevented_match(prevented)),
        EventBody::AuctionIndicated(told) => Message::AuctionIndicated(indication(told)),
        EventBody::FundsCredited(Transfer {
            transfer_id,
            account,
            asset,
            amount,
        }) => Message::FundsCredited(v1::FundsCredited {
            transfer_id: transfer_id.to_string(),
            account: account.account(),
            asset: asset.to_string(),
            amount: *amount,
        }),
        EventBody::FundsDebited(Transfer {
            transfer_id,
            account,
            asset,
            amount,
        }) => Message::FundsDebited(v1::FundsDebited {
            transfer_id: transfer_id.to_string(),
            account: account.account(),
            asset: asset.to_string(),
            amount: *amount,
        }),
        EventBody::FundsDebitRejected {
            transfer,
            refusal: why,
        } => Message::FundsDebitRejected(v1::FundsDebitRejected {
            transfer_id: transfer.transfer_id.to_string(),
            account: transfer.account.account(),
            asset: transfer.asset.to_string(),
            amount: transfer.amount,
            reason: reason(why),
            detail: why.to_string(),
        }),
        EventBody::SymbolStateChanged {
            state,
            previous_state,
            halt,
            reason,
        } => Message::SymbolStateChanged(v1::SymbolStateChanged {
            state: symbol_state(*state).into(),
            previous_state: symbol_state(*previous_state).into(),
            halt: halt.as_ref().map(ToString::to_string).unwrap_or_default(),
            reason: reason.clone(),
        }),
        EventBody::EngineCheckpoint { state_hash } => {
            Message::EngineCheckpoint(v1::EngineCheckpoint {
                state_hash: state_hash.to_vec(),
            })
        }
        EventBody::AssetDefined { asset, scale } => Message::AssetDefined(v1::AssetDefined {
            asset: asset.to_string(),
            scale: *scale,
        }),
        EventBody::SymbolDefined {
            definition,
            fee_schedule,
        } => Message::SymbolDefined(v1::SymbolDefined {
            definition: Some(symbol_definition(definition)),
            fee_schedule: *fee_schedule,
        }),
        EventBody::AccountConfigured(configured) => {
            Message::AccountConfigured(v1::AccountConfigured {
                configuration: Some(configuration(configured)),
            })
        }
        EventBody::KillSwitchSet {
            account,
            on,
            reason,
        } => Message::KillSwitchSet(v1::KillSwitchSet {
            account: *account,
            on: *on,
            reason: reason.clone(),
        }),
        EventBody::SafetyLevelChanged {
            level,
            previous_level,
            reason,
        } => Message::SafetyLevelChanged(v1::SafetyLevelChanged {
            level: safety_level(*level).into(),
            previous_level: safety_level(*previous_level).into(),
            reason: reason.clone(),
        }),
        EventBody::VersionChanged {
            version,
            previous_version,
        } => Message::VersionChanged(v1::VersionChanged {
            version: version.number(),
            previous_version: previous_version.number(),
        }),
        of_a_move => moves::event_body(kernel, of_a_move),
    }
}

pub(crate) fn order(kernel: &impl Names, order: &Order) -> v1::Order {
    v1::Order {
        order_id: order.order_id,
        client_order_id: order.client_order_id.to_string(),
        account: order.account,
        symbol: symbol_name(kernel, order.symbol),
        side: side(order.side).into(),
        r#type: match order.order_type {
            OrderType::Limit => v1::OrderType::Limit,
            OrderType::Market => v1::OrderType::Market,
            OrderType::LimitMaker => v1::OrderType::LimitMaker,
        }
        .into(),
        time_in_force: match order.time_in_force {
            TimeInForce::GoodTillCancelled => v1::TimeInForce::Gtc,
            TimeInForce::ImmediateOrCancel => v1::TimeInForce::Ioc,
            TimeInForce::FillOrKill => v1::TimeInForce::Fok,
        }
        .into(),
        price_ticks: order.price_ticks,
        quantity_lots: order.quantity_lots,
        executed_lots: order.executed_lots,
        executed_quote_units: order.executed_quote_units,
        status: match order.status {
            OrderStatus::New => v1::OrderStatus::New,
            OrderStatus::PartiallyFilled => v1::OrderStatus::PartiallyFilled,
            OrderStatus::Filled => v1::OrderStatus::Filled,
            OrderStatus::Canceled => v1::OrderStatus::Canceled,
            OrderStatus::Expired => v1::OrderStatus::Expired,
            OrderStatus::ExpiredInMatch => v1::OrderStatus::ExpiredInMatch,
        }
        .into(),
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
        quote_units: order.quote_units,
        prevented_lots: order.prevented_lots,
        self_trade_prevention: prevention(order.self_trade_prevention).into(),
        fee_schedule: order.fee_schedule,
    }
}

pub(crate) fn symbol_definition(definition: &SymbolDefinition) -> v1::SymbolDefinition {
    v1::SymbolDefinition {
        symbol: definition.symbol.to_string(),
        base_asset: definition.base_asset.to_string(),
        quote_asset: definition.quote_asset.to_string(),
        tick_units: definition.tick_units,
        lot_units: definition.lot_units,
        max_price_ticks: definition.max_price_ticks,
        max_quantity_lots: definition.max_quantity_lots,
        min_notional_units: definition.min_notional_units,
        maker_fee_ppm: definition.maker_fee_ppm,
        taker_fee_ppm: definition.taker_fee_ppm,
        fee_charge: match definition.fee_charge {
            None => v1::FeeCharge::Unspecified,
            Some(FeeCharge::Received) => v1::FeeCharge::Received,
            Some(FeeCharge::Quote) => v1::FeeCharge::Quote,
        }
        .into(),
        min_price_ticks: definition.min_price_ticks,
        min_quantity_lots: definition.min_quantity_lots,
        market_max_quantity_lots: definition.market_max_quantity_lots,
        max_notional_units: definition.max_notional_units,
        self_trade_prevention: prevention(definition.self_trade_prevention).into(),
        bid_band: price_band(definition.bid_band),
        ask_band: price_band(definition.ask_band),
        average_minutes: definition.average_minutes,
        market_collar_ppm: definition.market_collar_ppm,
        static_band_ppm: definition.static_band_ppm,
        dynamic_band_ppm: definition.dynamic_band_ppm,
        volatility_auction_ms: definition.volatility_auction_ms,
        reference_price_ticks: definition.reference_price_ticks,
    }
}

/// A band of zeros is as none.
fn price_band(band: PriceBand) -> Option<v1::PriceBand> {
    (band != PriceBand::default()).then_some(v1::PriceBand {
        lowest_ppm: band.lowest_ppm,
        highest_ppm: band.highest_ppm,
    })
}

pub(crate) fn prevention(mode: Option<SelfTradePrevention>) -> v1::SelfTradePrevention {
    use v1::SelfTradePrevention as Message;
    match mode {
        None => Message::Unspecified,
        Some(SelfTradePrevention::None) => Message::None,
        Some(SelfTradePrevention::ExpireTaker) => Message::ExpireTaker,
        Some(SelfTradePrevention::ExpireMaker) => Message::ExpireMaker,
        Some(SelfTradePrevention::ExpireBoth) => Message::ExpireBoth,
        Some(SelfTradePrevention::Decrement) => Message::Decrement,
        Some(SelfTradePrevention::Transfer) => Message::Transfer,
    }
}

fn cancel_reason(reason: CancelReason) -> v1::CancelReason {
    match reason {
        CancelReason::Request => v1::CancelReason::Request,
        CancelReason::Replaced => v1::CancelReason::Replaced,
        CancelReason::Disconnect => v1::CancelReason::Disconnect,
        CancelReason::Countdown => v1::CancelReason::Countdown,
        CancelReason::KillSwitch => v1::CancelReason::KillSwitch,
        CancelReason::Operator => v1::CancelReason::Operator,
    }
}

/// As it would be given to the shard: limits that are all 0 are left out.
pub(crate) fn safety_configuration(configured: &SafetyConfiguration) -> v1::ConfigureSafety {
    let limits = |limits: SafetyLimits| {
        (limits != SafetyLimits::default()).then_some(v1::SafetyLimits {
            throttle: limits.throttle,
            cancel_only: limits.cancel_only,
            halt: limits.halt,
        })
    };
    v1::ConfigureSafety {
        settlement_lag_ms: limits(configured.settlement_lag_ms),
        unpublished_commands: limits(configured.unpublished_commands),
        throttled_orders_per_second: configured.throttled_orders_per_second,
    }
}

pub(crate) fn safety_level(level: SafetyLevel) -> v1::SafetyLevel {
    match level {
        SafetyLevel::Normal => v1::SafetyLevel::Normal,
        SafetyLevel::Throttled => v1::SafetyLevel::Throttled,
        SafetyLevel::CancelOnly => v1::SafetyLevel::CancelOnly,
        SafetyLevel::Halt => v1::SafetyLevel::Halt,
    }
}

fn configuration(of: &AccountConfiguration) -> v1::ConfigureAccount {
    let notional = |(asset, amount): &(_, i64)| v1::AssetAmount {
        asset: openbourse_matching::names::AssetName::to_string(asset),
        amount: *amount,
    };
    v1::ConfigureAccount {
        account: of.account.account(),
        trade_group: of.trade_group,
        max_open_orders: of.max_open_orders,
        max_open_notional: of.max_open_notional.iter().map(notional).collect(),
        max_orders_per_interval: of.max_orders_per_interval,
        interval_ms: of.interval_ms,
        reuse_client_order_ids: of.reuse_client_order_ids,
    }
}

pub(crate) fn indication(told: &Indication) -> v1::AuctionIndicated {
    v1::AuctionIndicated {
        price_ticks: told.price_ticks,
        quantity_lots: told.quantity_lots,
        surplus_lots: told.surplus_lots,
    }
}

fn prevented_match(prevented: &PreventedMatch) -> v1::MatchPrevented {
    v1::MatchPrevented {
        prevented_match_id: prevented.prevented_match_id,
        self_trade_prevention: prevention(Some(prevented.mode)).into(),
        price_ticks: prevented.price_ticks,
        maker: Some(prevented_party(&prevented.maker)),
        taker: Some(prevented_party(&prevented.taker)),
        taker_side: side(prevented.taker_side).into(),
        transferred_lots: prevented.transferred_lots,
        transferred_quote_units: prevented.transferred_quote_units,
    }
}

fn prevented_party(party: &PreventedParty) -> v1::PreventedParty {
    v1::PreventedParty {
        account: party.account,
        order_id: party.order_id,
        client_order_id: party.client_order_id.to_string(),
        prevented_lots: party.prevented_lots,
        leaves_lots: party.leaves_lots,
    }
}

pub(crate) fn symbol_state(state: SymbolState) -> v1::SymbolState {
    match state {
        SymbolState::Trading => v1::SymbolState::Trading,
        SymbolState::CancelOnly => v1::SymbolState::CancelOnly,
        SymbolState::Halt => v1::SymbolState::Halt,
        SymbolState::PostOnly => v1::SymbolState::PostOnly,
        SymbolState::Auction => v1::SymbolState::Auction,
    }
}

/// The number of an `openbourse.v1.RejectReason`.
pub(crate) fn reason(refusal: &Refusal) -> i32 {
    i32::try_from(refusal.reason()).expect("reasons are few")
}

fn fill(kernel: &impl Names, fill: &Fill) -> v1::Fill {
    v1::Fill {
        trade_id: fill.trade_id,
        price_ticks: fill.price_ticks,
        quantity_lots: fill.quantity_lots,
        quote_units: fill.quote_units,
        fee_units: fill.fee_units,
        fee_asset: asset_name(kernel, fill.fee_asset),
    }
}

fn trade(kernel: &impl Names, trade: &Trade) -> v1::TradeExecuted {
    v1::TradeExecuted {
        trade_id: trade.trade_id,
        price_ticks: trade.price_ticks,
        quantity_lots: trade.quantity_lots,
        quote_units: trade.quote_units,
        maker: Some(party(kernel, &trade.maker)),
        taker: Some(party(kernel, &trade.taker)),
        taker_side: side(trade.taker_side).into(),
        auction: trade.auction,
    }
}

fn party(kernel: &impl Names, party: &TradeParty) -> v1::TradeParty {
    v1::TradeParty {
        account: party.account,
        order_id: party.order_id,
        client_order_id: party.client_order_id.to_string(),
        fee_units: party.fee_units,
        fee_asset: asset_name(kernel, party.fee_asset),
        leaves_lots: party.leaves_lots,
    }
}

fn movement(kernel: &impl Names, movement: &Movement) -> v1::Movement {
    v1::Movement {
        account: movement.account,
        asset: asset_name(kernel, movement.asset),
        available_change: movement.available_change,
        hold_change: movement.hold_change,
    }
}

pub(crate) fn side(side: Side) -> v1::Side {
    match side {
        Side::Buy => v1::Side::Buy,
        Side::Sell => v1::Side::Sell,
    }
}

fn symbol_name(names: &impl Names, symbol: SymbolId) -> String {
    names.symbol_of(symbol).as_str().into()
}

fn asset_name(names: &impl Names, asset: AssetId) -> String {
    names.asset_of(asset).as_str().into()
}
