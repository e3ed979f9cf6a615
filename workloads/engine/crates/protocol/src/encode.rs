//! The kernel's own types into messages.

use openbourse_matching::event::{
    AssetId, Event, EventBody, Fill, Movement, Outcome, Reply, SymbolId, Trade, TradeParty,
};
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::order::{Order, OrderStatus, Side, TimeInForce};
use openbourse_matching::refusal::Refusal;
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Kernel, Stamp};

use crate::v1;

const EVENT_VERSION: u32 = 1;

/// What all events of one command have in common.
pub(crate) struct Envelope<'a> {
    pub kernel: &'a Kernel,
    pub stamp: Stamp,
    pub correlation_id: &'a str,
    pub causation_id: &'a str,
}

pub(crate) fn reply(kernel: &Kernel, reply: &Reply) -> v1::Reply {
    use v1::reply::Result as Answered;
    v1::Reply {
        command_id: reply.command_id.map(Vec::from).unwrap_or_default(),
        shard: kernel.shard().into(),
        epoch: reply.stamp.epoch,
        seq: reply.stamp.seq,
        occurred_at_us: reply.stamp.time_us,
        result: Some(match &reply.outcome {
            Outcome::Order { order: made, fills } => Answered::Order(v1::OrderResult {
                order: Some(order(kernel, made)),
                fills: fills.iter().map(|made| fill(kernel, made)).collect(),
            }),
            Outcome::Refused(refusal) => Answered::Rejection(v1::Rejection {
                reason: reason(refusal),
                detail: refusal.to_string(),
            }),
            Outcome::Done => Answered::Done(v1::Done {}),
        }),
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
        EventBody::OrderCanceled(canceled) => Message::OrderCanceled(v1::OrderCanceled {
            order: Some(order(kernel, canceled)),
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
        EventBody::FundsCredited {
            transfer_id,
            account,
            asset,
            amount,
        } => Message::FundsCredited(v1::FundsCredited {
            transfer_id: transfer_id.to_string(),
            account: *account,
            asset: asset_name(kernel, *asset),
            amount: *amount,
        }),
        EventBody::SymbolStateChanged {
            state,
            previous_state,
            halt,
            reason,
        } => Message::SymbolStateChanged(v1::SymbolStateChanged {
            state: symbol_state(*state).into(),
            previous_state: symbol_state(*previous_state).into(),
            halt: halt.to_string(),
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
        EventBody::SymbolDefined(definition) => Message::SymbolDefined(v1::SymbolDefined {
            definition: Some(symbol_definition(definition)),
        }),
    }
}

pub(crate) fn order(kernel: &Kernel, order: &Order) -> v1::Order {
    v1::Order {
        order_id: order.order_id,
        client_order_id: order.client_order_id.to_string(),
        account: order.account,
        symbol: symbol_name(kernel, order.symbol),
        side: side(order.side).into(),
        r#type: v1::OrderType::Limit.into(),
        time_in_force: match order.time_in_force {
            TimeInForce::GoodTillCancelled => v1::TimeInForce::Gtc,
            TimeInForce::ImmediateOrCancel => v1::TimeInForce::Ioc,
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
        }
        .into(),
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
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
    }
}

pub(crate) fn symbol_state(state: SymbolState) -> v1::SymbolState {
    match state {
        SymbolState::Trading => v1::SymbolState::Trading,
        SymbolState::CancelOnly => v1::SymbolState::CancelOnly,
        SymbolState::Halt => v1::SymbolState::Halt,
    }
}

/// The number of an `openbourse.v1.RejectReason`.
pub(crate) fn reason(refusal: &Refusal) -> i32 {
    i32::try_from(refusal.reason()).expect("reasons are few")
}

fn fill(kernel: &Kernel, fill: &Fill) -> v1::Fill {
    v1::Fill {
        trade_id: fill.trade_id,
        price_ticks: fill.price_ticks,
        quantity_lots: fill.quantity_lots,
        quote_units: fill.quote_units,
        fee_units: fill.fee_units,
        fee_asset: asset_name(kernel, fill.fee_asset),
    }
}

fn trade(kernel: &Kernel, trade: &Trade) -> v1::TradeExecuted {
    v1::TradeExecuted {
        trade_id: trade.trade_id,
        price_ticks: trade.price_ticks,
        quantity_lots: trade.quantity_lots,
        quote_units: trade.quote_units,
        maker: Some(party(kernel, &trade.maker)),
        taker: Some(party(kernel, &trade.taker)),
        taker_side: side(trade.taker_side).into(),
    }
}

fn party(kernel: &Kernel, party: &TradeParty) -> v1::TradeParty {
    v1::TradeParty {
        account: party.account,
        order_id: party.order_id,
        client_order_id: party.client_order_id.to_string(),
        fee_units: party.fee_units,
        fee_asset: asset_name(kernel, party.fee_asset),
        leaves_lots: party.leaves_lots,
    }
}

fn movement(kernel: &Kernel, movement: &Movement) -> v1::Movement {
    v1::Movement {
        account: movement.account,
        asset: asset_name(kernel, movement.asset),
        available_change: movement.available_change,
        hold_change: movement.hold_change,
    }
}

fn side(side: Side) -> v1::Side {
    match side {
        Side::Buy => v1::Side::Buy,
        Side::Sell => v1::Side::Sell,
    }
}

fn symbol_name(kernel: &Kernel, symbol: SymbolId) -> String {
    kernel.symbol_name(symbol).as_str().into()
}

fn asset_name(kernel: &Kernel, asset: AssetId) -> String {
    kernel.asset_name(asset).as_str().into()
}
