//! The record of a symbol that goes to another shard, between the kernel's own types and messages; and the events of it.
//!
//! Reading what was written gives the same record, to the bit: its hash is over the kernel's types.

use openbourse_matching::Version;
use openbourse_matching::command::ImportSymbol;
use openbourse_matching::event::{EventBody, Fill, OrderOutcome, Outcome, Replacement, Reply};
use openbourse_matching::fees::{FeeCharge, FeeSchedule};
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{AssetId, SymbolId};
use openbourse_matching::order::{Order, OrderStatus, OrderType, Side, TimeInForce};
use openbourse_matching::record::{
    RecordClosedId, RecordCountdown, RecordMinute, RecordReply, RecordTerms, SymbolRecord,
};
use openbourse_matching::refusal::Refusal;
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Kernel, Stamp};
use prost::Message as _;

use crate::decode::{self, Invalid, require};
use crate::v1::command::Body as Command;
use crate::{encode, v1};

/// Bytes of what another shard said of a refusal.
const DETAIL_MOST: usize = 4096;

pub(crate) fn is_of_moves(body: &Command) -> bool {
    matches!(
        body,
        Command::FreezeSymbol(_)
            | Command::ImportSymbol(_)
            | Command::CompleteMove(_)
            | Command::UndoFreeze(_)
            | Command::AbandonImport(_)
    )
}

pub(crate) fn event_body(kernel: &Kernel, body: &EventBody) -> v1::event::Body {
    use v1::event::Body as Message;
    match body {
        EventBody::SymbolFrozen {
            move_id,
            to_shard,
            record_sha256,
            open_orders,
            last_update_id,
        } => Message::SymbolFrozen(v1::SymbolFrozen {
            move_id: move_id.to_vec(),
            to_shard: to_shard.to_string(),
            record_sha256: record_sha256.to_vec(),
            open_orders: *open_orders,
            last_update_id: *last_update_id,
        }),
        EventBody::SymbolUnfrozen { move_id } => Message::SymbolUnfrozen(v1::SymbolUnfrozen {
            move_id: move_id.to_vec(),
        }),
        EventBody::SymbolDeparted { move_id, to_shard } => {
            Message::SymbolDeparted(v1::SymbolDeparted {
                move_id: move_id.to_vec(),
                to_shard: to_shard.to_string(),
            })
        }
        EventBody::SymbolImported {
            move_id,
            from_shard,
            record_sha256,
            open_orders,
            last_update_id,
            last_trade_id,
            last_prevented_match_id,
            last_order_id,
        } => Message::SymbolImported(v1::SymbolImported {
            move_id: move_id.to_vec(),
            from_shard: from_shard.to_string(),
            record_sha256: record_sha256.to_vec(),
            open_orders: *open_orders,
            last_update_id: *last_update_id,
            last_trade_id: *last_trade_id,
            last_prevented_match_id: *last_prevented_match_id,
            last_order_id: *last_order_id,
        }),
        EventBody::OrderDeparted { move_id, order } => Message::OrderDeparted(v1::OrderDeparted {
            move_id: move_id.to_vec(),
            order: Some(encode::order(kernel, order)),
        }),
        EventBody::OrderReturned { move_id, order } => Message::OrderReturned(v1::OrderReturned {
            move_id: move_id.to_vec(),
            order: Some(encode::order(kernel, order)),
        }),
        EventBody::OrderArrived { move_id, order } => Message::OrderArrived(v1::OrderArrived {
            move_id: move_id.to_vec(),
            order: Some(encode::order(kernel, order)),
        }),
        of_a_market => unreachable!("{of_a_market:?} is told elsewhere"),
    }
}

/// `names` is the definition of its symbol.
pub(crate) fn encode_record(names: &SymbolDefinition, record: &SymbolRecord) -> v1::SymbolRecord {
    v1::SymbolRecord {
        terms: record.terms.as_deref().map(encode_terms),
        orders: (record.orders.iter())
            .map(|order| encode::order(names, order))
            .collect(),
        closed_client_order_ids: (record.closed_ids.iter())
            .map(|of| v1::ClosedClientOrderId {
                account: of.account,
                client_order_id: of.id.to_string(),
                closed_at_us: of.closed_at_us,
            })
            .collect(),
        countdowns: (record.countdowns.iter())
            .map(|of| v1::RunningCountdown {
                account: of.account,
                of_all_symbols: of.of_all_symbols,
                guard: of.guard,
                end_us: of.end_us,
            })
            .collect(),
        replies: (record.replies.iter())
            .map(|of| v1::Reply {
                command_id: of.command_id.to_vec(),
                shard: of.shard.to_string(),
                epoch: of.reply.stamp.epoch,
                seq: of.reply.stamp.seq,
                occurred_at_us: of.reply.stamp.time_us,
                result: Some(encode::outcome(names, &of.reply.outcome)),
            })
            .collect(),
        base_asset: names.base_asset.to_string(),
        quote_asset: names.quote_asset.to_string(),
    }
}

fn encode_terms(terms: &RecordTerms) -> v1::SymbolTerms {
    let halves = |sum: u128| ((sum >> 64) as u64, sum as u64);
    v1::SymbolTerms {
        definition: Some(encode::symbol_definition(&terms.definition)),
        base_scale: terms.base_scale,
        quote_scale: terms.quote_scale,
        phase: encode::symbol_state(terms.phase).into(),
        phase_ends_at_us: terms.phase_ends_us.unwrap_or(0),
        trades: terms.trades,
        prevented_matches: terms.prevented_matches,
        updates: terms.updates,
        last_price_ticks: terms.last_price_ticks.unwrap_or(0),
        auction_price_ticks: terms.auction_price_ticks.unwrap_or(0),
        minutes: (terms.minutes.iter())
            .map(|minute| {
                let (price_lots_high, price_lots_low) = halves(minute.price_lots);
                let (lots_high, lots_low) = halves(minute.lots);
                v1::TradedMinute {
                    minute: minute.number,
                    price_lots_high,
                    price_lots_low,
                    lots_high,
                    lots_low,
                }
            })
            .collect(),
        fee_schedules: (terms.fee_schedules.iter())
            .map(|schedule| v1::FeeSchedule {
                maker_fee_ppm: schedule.maker_ppm,
                taker_fee_ppm: schedule.taker_ppm,
                fee_charge: match schedule.charge {
                    FeeCharge::Received => v1::FeeCharge::Received,
                    FeeCharge::Quote => v1::FeeCharge::Quote,
                }
                .into(),
            })
            .collect(),
        last_order_id: terms.last_order_id,
    }
}

pub(crate) fn import(import: &v1::ImportSymbol) -> Result<ImportSymbol, Invalid> {
    let move_id = decode::move_id(&import.move_id)?;
    let rule = "from_shard: must be 1 to 63 of a-z 0-9 -";
    let from_shard = decode::shard_name(&import.from_shard, rule)?;
    let record_sha256 = import.record_sha256.as_slice().try_into();
    let record_sha256 = record_sha256.map_err(|_| "record_sha256: must be 32 bytes")?;
    let record = v1::SymbolRecord::decode(import.record.as_slice())
        .map_err(|_| "record: must be an openbourse.v1.SymbolRecord")?;
    Ok(ImportSymbol {
        move_id,
        from_shard,
        part: import.part,
        parts: import.parts,
        record_sha256,
        record: decode_record(&record)?,
    })
}

fn decode_record(record: &v1::SymbolRecord) -> Result<SymbolRecord, Invalid> {
    let terms = record.terms.as_ref().map(decode_terms).transpose()?;
    Ok(SymbolRecord {
        terms: terms.map(Box::new),
        orders: (record.orders.iter())
            .map(decode_order)
            .collect::<Result<_, _>>()?,
        closed_ids: (record.closed_client_order_ids.iter())
            .map(|of| {
                Ok(RecordClosedId {
                    account: of.account,
                    id: decode::client_order_id(&of.client_order_id)?,
                    closed_at_us: of.closed_at_us,
                })
            })
            .collect::<Result<_, Invalid>>()?,
        countdowns: (record.countdowns.iter())
            .map(|of| RecordCountdown {
                account: of.account,
                of_all_symbols: of.of_all_symbols,
                guard: of.guard,
                end_us: of.end_us,
            })
            .collect(),
        replies: (record.replies.iter())
            .map(|reply| decode_reply(reply, record))
            .collect::<Result<_, _>>()?,
    })
}

fn decode_terms(terms: &v1::SymbolTerms) -> Result<RecordTerms, Invalid> {
    let definition = (terms.definition.as_ref()).ok_or("definition: must be there")?;
    let whole = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
    let price = |ticks: i64| (ticks != 0).then_some(ticks);
    Ok(RecordTerms {
        definition: decode::terms_of(definition, Version::LATEST)?,
        base_scale: terms.base_scale,
        quote_scale: terms.quote_scale,
        phase: match terms.phase() {
            v1::SymbolState::Trading => SymbolState::Trading,
            v1::SymbolState::PostOnly => SymbolState::PostOnly,
            v1::SymbolState::Auction => SymbolState::Auction,
            _ => return Err("record: phase must be TRADING, POST_ONLY or AUCTION"),
        },
        phase_ends_us: price(terms.phase_ends_at_us),
        trades: terms.trades,
        prevented_matches: terms.prevented_matches,
        updates: terms.updates,
        last_price_ticks: price(terms.last_price_ticks),
        auction_price_ticks: price(terms.auction_price_ticks),
        minutes: (terms.minutes.iter())
            .map(|minute| RecordMinute {
                number: minute.minute,
                price_lots: whole(minute.price_lots_high, minute.price_lots_low),
                lots: whole(minute.lots_high, minute.lots_low),
            })
            .collect(),
        fee_schedules: (terms.fee_schedules.iter())
            .map(|schedule| {
                Ok(FeeSchedule {
                    maker_ppm: schedule.maker_fee_ppm,
                    taker_ppm: schedule.taker_fee_ppm,
                    charge: match schedule.fee_charge() {
                        v1::FeeCharge::Received => FeeCharge::Received,
                        v1::FeeCharge::Quote => FeeCharge::Quote,
                        v1::FeeCharge::Unspecified => {
                            return Err("record: fee_charge must be RECEIVED or QUOTE");
                        }
                    },
                })
            })
            .collect::<Result<_, Invalid>>()?,
        last_order_id: terms.last_order_id,
    })
}

const NO_ORDER: Invalid = "record: an order has an enumeration that is none";

fn decode_order(order: &v1::Order) -> Result<Order, Invalid> {
    Ok(Order {
        order_id: order.order_id,
        client_order_id: decode::client_order_id(&order.client_order_id)?,
        account: decode::trader(order.account)?.account(),
        symbol: SymbolId::OF_A_RECORD,
        side: match order.side() {
            v1::Side::Buy => Side::Buy,
            v1::Side::Sell => Side::Sell,
            v1::Side::Unspecified => return Err(NO_ORDER),
        },
        order_type: match order.r#type() {
            v1::OrderType::Limit => OrderType::Limit,
            v1::OrderType::Market => OrderType::Market,
            v1::OrderType::LimitMaker => OrderType::LimitMaker,
            v1::OrderType::Unspecified => return Err(NO_ORDER),
        },
        time_in_force: match order.time_in_force() {
            v1::TimeInForce::Gtc => TimeInForce::GoodTillCancelled,
            v1::TimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
            v1::TimeInForce::Fok => TimeInForce::FillOrKill,
            v1::TimeInForce::Unspecified => return Err(NO_ORDER),
        },
        price_ticks: order.price_ticks,
        quantity_lots: order.quantity_lots,
        executed_lots: order.executed_lots,
        prevented_lots: order.prevented_lots,
        executed_quote_units: order.executed_quote_units,
        quote_units: order.quote_units,
        status: match order.status() {
            v1::OrderStatus::New => OrderStatus::New,
            v1::OrderStatus::PartiallyFilled => OrderStatus::PartiallyFilled,
            v1::OrderStatus::Filled => OrderStatus::Filled,
            v1::OrderStatus::Canceled => OrderStatus::Canceled,
            v1::OrderStatus::Expired => OrderStatus::Expired,
            v1::OrderStatus::ExpiredInMatch => OrderStatus::ExpiredInMatch,
            v1::OrderStatus::Unspecified => return Err(NO_ORDER),
        },
        created_at_us: order.created_at_us,
        updated_at_us: order.updated_at_us,
        self_trade_prevention: decode::self_trade_prevention(order.self_trade_prevention)?,
        fee_schedule: order.fee_schedule,
    })
}

const NO_REPLY: Invalid = "record: a reply has no result that a symbol's command can have";

fn decode_reply(reply: &v1::Reply, of: &v1::SymbolRecord) -> Result<RecordReply, Invalid> {
    use v1::replace_result::{Cancel, Place};
    use v1::reply::Result as Answered;
    let outcome = match reply.result.as_ref().ok_or(NO_REPLY)? {
        Answered::Order(made) => Outcome::Order(decode_made(made, of)?),
        Answered::Rejection(rejection) => Outcome::Refused(told(rejection)?),
        Answered::Done(_) => Outcome::Done,
        Answered::CanceledAll(all) => Outcome::CanceledAll {
            canceled: all.canceled,
            remaining: all.remaining,
        },
        Answered::Replaced(both) => Outcome::Replaced(Box::new(Replacement {
            cancel: match both.cancel.as_ref().ok_or(NO_REPLY)? {
                Cancel::Canceled(order) => Ok(decode_order(order)?),
                Cancel::CancelRejection(rejection) => Err(told(rejection)?),
            },
            place: match both.place.as_ref().ok_or(NO_REPLY)? {
                Place::Placed(made) => Ok(decode_made(made, of)?),
                Place::PlaceRejection(rejection) => Err(told(rejection)?),
            },
        })),
    };
    let command_id = reply.command_id.as_slice().try_into();
    Ok(RecordReply {
        command_id: command_id.map_err(|_| "command_id: must be 16 bytes")?,
        shard: decode::shard_name(&reply.shard, "shard: must be 1 to 63 of a-z 0-9 -")?,
        reply: Reply {
            command_id: None,
            stamp: Stamp {
                seq: reply.seq,
                epoch: reply.epoch,
                time_us: reply.occurred_at_us,
            },
            outcome,
            origin: None,
        },
    })
}

fn decode_made(made: &v1::OrderResult, of: &v1::SymbolRecord) -> Result<OrderOutcome, Invalid> {
    let fill = |fill: &v1::Fill| {
        Ok(Fill {
            trade_id: fill.trade_id,
            price_ticks: fill.price_ticks,
            quantity_lots: fill.quantity_lots,
            quote_units: fill.quote_units,
            fee_units: fill.fee_units,
            fee_asset: match fill.fee_asset.as_str() {
                asset if asset == of.base_asset => AssetId::BASE_OF_A_RECORD,
                asset if asset == of.quote_asset => AssetId::QUOTE_OF_A_RECORD,
                _ => return Err("record: a fee is in neither base_asset nor quote_asset"),
            },
        })
    };
    Ok(OrderOutcome {
        order: decode_order(made.order.as_ref().ok_or(NO_REPLY)?)?,
        fills: (made.fills.iter())
            .map(fill)
            .collect::<Result<_, Invalid>>()?,
    })
}

fn told(rejection: &v1::Rejection) -> Result<Refusal, Invalid> {
    require(
        rejection.detail.len() <= DETAIL_MOST,
        "record: a detail must be at most 4096 bytes",
    )?;
    Ok(Refusal::Told {
        reason: u32::try_from(rejection.reason).map_err(|_| NO_REPLY)?,
        detail: rejection.detail.as_str().into(),
    })
}
