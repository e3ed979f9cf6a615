//! Replies and events as lines. What is as usual is not said: LIMIT and GTC, the first fee schedule, nothing prevented.

use std::fmt::Write as _;

use openbourse_matching::Kernel;
use openbourse_matching::auction::Indication;
use openbourse_matching::command::MoveId;
use openbourse_matching::event::{
    Event, EventBody, Fill, Movement, OrderOutcome, Outcome, PreventedMatch, PreventedParty, Reply,
    Trade, TradeParty,
};
use openbourse_matching::order::{Order, OrderType, SelfTradePrevention};
use openbourse_matching::refusal::Refusal;

pub fn reply(kernel: &Kernel, reply: &Reply) -> String {
    let seq = reply.stamp.seq;
    let placed = |placed: &OrderOutcome| {
        let fills = placed.fills.iter().map(|of| fill(kernel, of));
        format!("{}{}", order(&placed.order), fills.collect::<String>())
    };
    let outcome = match &reply.outcome {
        Outcome::Order(outcome) => placed(outcome),
        Outcome::Replaced(replacement) => format!(
            "cancel {}; place {}",
            (replacement.cancel.as_ref()).map_or_else(refused, order),
            (replacement.place.as_ref()).map_or_else(refused, placed),
        ),
        Outcome::CanceledAll {
            canceled,
            remaining,
        } => format!("canceled {canceled}, remaining {remaining}"),
        Outcome::Refused(refusal) => refused(refusal),
        Outcome::Done => "done".into(),
    };
    format!("{seq}: {outcome}")
}

pub fn refused(refusal: &Refusal) -> String {
    format!("refused {}: {refusal}", refusal.reason())
}

fn fill(kernel: &Kernel, fill: &Fill) -> String {
    let fee_asset = kernel.asset_name(fill.fee_asset);
    format!(
        ", fill {} {} x {} fee {} {fee_asset}",
        fill.trade_id, fill.price_ticks, fill.quantity_lots, fill.fee_units
    )
}

pub fn event(kernel: &Kernel, event: &Event, movements: &[Movement]) -> String {
    let mut line = body(kernel, &event.body);
    for moved in movements {
        let asset = kernel.asset_name(moved.asset);
        let (available, hold) = (moved.available_change, moved.hold_change);
        write!(line, " [{} {asset} {available:+} {hold:+}]", moved.account).unwrap();
    }
    match event.symbol {
        Some(symbol) => format!("{} {line}", kernel.symbol_name(symbol)),
        None => line,
    }
}

fn body(kernel: &Kernel, body: &EventBody) -> String {
    match body {
        EventBody::OrderAccepted(accepted) => format!("accepted {}", order(accepted)),
        EventBody::OrderRejected {
            account,
            client_order_id,
            refusal,
        } => format!("rejected {account} {client_order_id} {}", refusal.reason()),
        EventBody::OrderCanceled {
            order: canceled,
            reason,
        } => match reason {
            Some(reason) => format!("canceled {} by {reason:?}", order(canceled)),
            None => format!("canceled {}", order(canceled)),
        },
        EventBody::OrderAmended {
            order: amended,
            previous_quantity_lots,
            previous_client_order_id,
        } => format!(
            "amended {}, was {previous_client_order_id} {previous_quantity_lots}",
            order(amended)
        ),
        EventBody::OrderExpired(expired) => format!("expired {}", order(expired)),
        EventBody::TradeExecuted(executed) => trade(kernel, executed),
        EventBody::MatchPrevented(match_prevented) => prevented(match_prevented),
        EventBody::BookDelta {
            update_id,
            side,
            price_ticks,
            quantity_lots,
        } => format!("delta {update_id} {side:?} {price_ticks} x {quantity_lots}"),
        EventBody::AuctionIndicated(indicated) => indication(indicated),
        EventBody::FundsCredited(of) => {
            let (id, account) = (of.transfer_id, of.account.account());
            format!("credited {id} {account} {} {}", of.amount, of.asset)
        }
        EventBody::FundsDebited(of) => {
            let (id, account) = (of.transfer_id, of.account.account());
            format!("debited {id} {account} {} {}", of.amount, of.asset)
        }
        EventBody::FundsDebitRejected { transfer, refusal } => format!(
            "debit rejected {} {} {}",
            transfer.transfer_id,
            transfer.account.account(),
            refusal.reason()
        ),
        EventBody::AssetDefined { asset, scale } => format!("asset {asset} {scale}"),
        EventBody::SymbolDefined {
            definition,
            fee_schedule,
        } => match fee_schedule {
            0 | 1 => format!("symbol {}", definition.symbol),
            later => format!("symbol {}, fee schedule {later}", definition.symbol),
        },
        // The hash of everything would make every transcript change with each change of its encoding.
        EventBody::EngineCheckpoint { .. } => "checkpoint".into(),
        of_the_shard => shard_event(of_the_shard),
    }
}

fn shard_event(body: &EventBody) -> String {
    match body {
        EventBody::SymbolStateChanged {
            state,
            previous_state,
            halt,
            reason,
        } => {
            let by = (halt.as_ref()).map_or(String::new(), |halt| format!(" by {halt}"));
            format!(
                "state {previous_state:?} -> {state:?}{by}{}",
                because(reason)
            )
        }
        EventBody::AccountConfigured(of) => {
            let notional = (of.max_open_notional.iter())
                .map(|(asset, most)| format!("{asset}:{most}"))
                .collect::<Vec<_>>();
            format!(
                "account {} group {}, {} orders, notional [{}], rate {}/{}, reuse {}",
                of.account.account(),
                of.trade_group,
                of.max_open_orders,
                notional.join(","),
                of.max_orders_per_interval,
                of.interval_ms,
                of.reuse_client_order_ids
            )
        }
        EventBody::KillSwitchSet {
            account,
            on,
            reason,
        } => {
            let on = if *on { "on" } else { "off" };
            format!("kill {account} {on}{}", because(reason))
        }
        EventBody::SafetyLevelChanged {
            level,
            previous_level,
            reason,
        } => format!("safety {previous_level:?} -> {level:?}: {reason}"),
        EventBody::VersionChanged {
            version,
            previous_version,
        } => format!("version {previous_version:?} -> {version:?}"),
        of_a_move => move_event(of_a_move),
    }
}

fn move_event(body: &EventBody) -> String {
    let number = |move_id: &MoveId| u128::from_be_bytes(*move_id);
    match body {
        EventBody::SymbolFrozen {
            move_id,
            to_shard,
            open_orders,
            last_update_id,
            ..
        } => format!(
            "frozen by {} to {to_shard}, {open_orders} orders, delta {last_update_id}",
            number(move_id)
        ),
        EventBody::SymbolUnfrozen { move_id } => format!("unfrozen by {}", number(move_id)),
        EventBody::SymbolDeparted { move_id, to_shard } => {
            format!("departed by {} to {to_shard}", number(move_id))
        }
        EventBody::SymbolImported {
            move_id,
            from_shard,
            open_orders,
            last_update_id,
            last_trade_id,
            last_order_id,
            ..
        } => format!(
            "imported by {} from {from_shard}, {open_orders} orders, delta {last_update_id}, trade {last_trade_id}, ids to #{last_order_id}",
            number(move_id)
        ),
        EventBody::OrderDeparted { move_id, order: of } => {
            format!("departed by {} {}", number(move_id), order(of))
        }
        EventBody::OrderReturned { move_id, order: of } => {
            format!("returned by {} {}", number(move_id), order(of))
        }
        EventBody::OrderArrived { move_id, order: of } => {
            format!("arrived by {} {}", number(move_id), order(of))
        }
        of_a_symbol => panic!("{of_a_symbol:?} has no line"),
    }
}

/// A reason may be empty.
fn because(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

fn trade(kernel: &Kernel, trade: &Trade) -> String {
    let party = |party: &TradeParty| {
        let fee_asset = kernel.asset_name(party.fee_asset);
        let TradeParty {
            account,
            order_id,
            fee_units,
            leaves_lots,
            ..
        } = party;
        format!("{account} #{order_id} fee {fee_units} {fee_asset} leaves {leaves_lots}")
    };
    format!(
        "{}trade {} {:?} {} x {} = {}, maker {}, taker {}",
        if trade.auction { "auction " } else { "" },
        trade.trade_id,
        trade.taker_side,
        trade.price_ticks,
        trade.quantity_lots,
        trade.quote_units,
        party(&trade.maker),
        party(&trade.taker)
    )
}

fn prevented(prevented: &PreventedMatch) -> String {
    let party = |party: &PreventedParty| {
        let PreventedParty {
            account,
            order_id,
            prevented_lots,
            leaves_lots,
            ..
        } = party;
        format!("{account} #{order_id} loses {prevented_lots} leaves {leaves_lots}")
    };
    let transferred = match prevented.mode {
        SelfTradePrevention::Transfer => format!(
            ", transferred {} = {}",
            prevented.transferred_lots, prevented.transferred_quote_units
        ),
        _ => String::new(),
    };
    format!(
        "prevented {} {:?} {:?} at {}, maker {}, taker {}{transferred}",
        prevented.prevented_match_id,
        prevented.mode,
        prevented.taker_side,
        prevented.price_ticks,
        party(&prevented.maker),
        party(&prevented.taker)
    )
}

pub fn indication(of: &Indication) -> String {
    format!(
        "indicated {} x {} surplus {}",
        of.price_ticks, of.quantity_lots, of.surplus_lots
    )
}

pub fn order(order: &Order) -> String {
    let mut line = format!(
        "#{} {} {:?} ",
        order.order_id, order.client_order_id, order.side
    );
    match order.order_type {
        OrderType::Market => line += "market",
        OrderType::Limit | OrderType::LimitMaker => {
            write!(line, "{}", order.price_ticks).unwrap();
        }
    }
    write!(line, " x {}/{}", order.executed_lots, order.quantity_lots).unwrap();
    if order.prevented_lots > 0 {
        write!(line, " prevented {}", order.prevented_lots).unwrap();
    }
    if order.quote_units > 0 {
        write!(
            line,
            " for {} of {}",
            order.executed_quote_units, order.quote_units
        )
        .unwrap();
    }
    if order.fee_schedule > 1 {
        write!(line, " schedule {}", order.fee_schedule).unwrap();
    }
    write!(line, " {:?}", order.status).unwrap();
    line
}
