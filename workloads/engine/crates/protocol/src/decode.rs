//! Messages into the kernel's own types. What cannot be said in them is refused by the name of its field, the first
//! in this order: command id, correlation, causation, body, and the body's fields in the order that the rules give.
//!
//! Under version 1 fields that it did not know are not looked at; which commands it knows is for the kernel to say.

use openbourse_matching::Version;
use openbourse_matching::account_limits::AccountConfiguration;
use openbourse_matching::bands::PriceBand;
use openbourse_matching::command::{
    AmendOrder, Body, CancelAllOrders, CancelOrder, CancelReason, CancelRestriction,
    ChangeSymbolState, Checkpoint, Command, CommandId, DefineAsset, FreezeSymbol, ImposeHalt,
    LiftHalt, MoveId, PlaceOrder, Reopen, ReplaceOrder, SetCountdown, SetKillSwitch, Target, Terms,
    Transfer,
};
use openbourse_matching::fees::FeeCharge;
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{
    AssetName, ClientOrderId, HaltName, ShardName, SymbolName, Trader, TransferId,
};
use openbourse_matching::order::{SelfTradePrevention, Side, TimeInForce};
use openbourse_matching::safety::{Lag, SafetyConfiguration, SafetyLimits};
use openbourse_matching::symbol_state::SymbolState;

use crate::v1::command::Body as Message;
use crate::{moves, v1};

/// Bytes of a correlation or causation id.
const TRACE_MOST: usize = 512;
const NOTIONALS_MOST: usize = 16;

/// What a field must be.
pub(crate) type Invalid = &'static str;

/// None: the bytes are not a command.
pub(crate) fn command(message: Option<&v1::Command>, version: Version) -> Command {
    let Some(message) = message else {
        return Command {
            id: None,
            body: Body::Invalid("command: must be an openbourse.v1.Command"),
        };
    };
    let id = CommandId::try_from(message.command_id.as_slice()).ok();
    let body = match id {
        Some(_) => body(message, version).unwrap_or_else(Body::Invalid),
        None => Body::Invalid("command_id: must be 16 bytes"),
    };
    Command { id, body }
}

fn body(message: &v1::Command, version: Version) -> Result<Body, Invalid> {
    require(
        message.correlation_id.len() <= TRACE_MOST,
        "correlation_id: must be at most 512 bytes",
    )?;
    require(
        message.causation_id.len() <= TRACE_MOST,
        "causation_id: must be at most 512 bytes",
    )?;
    let body = (message.body.as_ref())
        .filter(|body| version.knows_the_trading_core() || version_1::knows(body))
        .filter(|body| version.moves_symbols() || !moves::is_of_moves(body))
        .ok_or("body: must be a command that this version knows")?;
    Ok(match body {
        Message::PlaceOrder(place) if !version.knows_the_trading_core() => {
            Body::PlaceOrder(version_1::place_order(place)?)
        }
        Message::PlaceOrder(place) => Body::PlaceOrder(place_order(place)?),
        Message::CancelOrder(cancel) => Body::CancelOrder(cancel_order(cancel, version)?),
        Message::AmendOrder(amend) => Body::AmendOrder(amend_order(amend)?),
        Message::ReplaceOrder(replace) => Body::ReplaceOrder(replace_order(replace)?),
        Message::CancelAllOrders(cancel) => Body::CancelAllOrders(cancel_all_orders(cancel)?),
        Message::SetCountdown(set) => Body::SetCountdown(SetCountdown {
            account: trader(set.account)?,
            symbol: symbol_or_all(&set.symbol)?,
            countdown_ms: set.countdown_ms,
            guard: set.guard && version.moves_symbols(),
        }),
        Message::CreditFunds(credit) => Body::CreditFunds(transfer(
            &credit.transfer_id,
            credit.account,
            &credit.asset,
            credit.amount,
        )?),
        Message::DebitFunds(debit) => Body::DebitFunds(transfer(
            &debit.transfer_id,
            debit.account,
            &debit.asset,
            debit.amount,
        )?),
        Message::DefineAsset(asset) => Body::DefineAsset(DefineAsset {
            asset: asset_name(&asset.asset, "asset: must be 1 to 16 of A-Z 0-9")?,
            scale: asset.scale,
        }),
        Message::DefineSymbol(define) => Body::DefineSymbol(symbol_definition(define, version)?),
        Message::ImposeHalt(impose) => Body::ImposeHalt(impose_halt(impose, version)?),
        Message::LiftHalt(lift) => Body::LiftHalt(lift_halt(lift, version)?),
        Message::ChangeSymbolState(change) => Body::ChangeSymbolState(change_symbol_state(change)?),
        Message::ConfigureAccount(configure) => {
            Body::ConfigureAccount(configure_account(configure)?)
        }
        Message::SetKillSwitch(set) => Body::SetKillSwitch(SetKillSwitch {
            account: trader(set.account)?,
            on: set.on,
            reason: set.reason.clone(),
        }),
        Message::ConfigureSafety(safety) => Body::ConfigureSafety(SafetyConfiguration {
            settlement_lag_ms: safety_limits(safety.settlement_lag_ms.as_ref()),
            unpublished_commands: safety_limits(safety.unpublished_commands.as_ref()),
            throttled_orders_per_second: safety.throttled_orders_per_second,
        }),
        Message::ReportLag(lag) => Body::ReportLag(Lag {
            settlement_lag_ms: lag.settlement_lag_ms,
            unpublished_commands: lag.unpublished_commands,
        }),
        Message::Checkpoint(checkpoint) => Body::Checkpoint(Checkpoint {
            previous: previous(checkpoint)?,
        }),
        Message::Tick(_) => Body::Tick,
        Message::ChangeVersion(change) => Body::ChangeVersion(change.version),
        Message::FreezeSymbol(freeze) => Body::FreezeSymbol(FreezeSymbol {
            move_id: move_id(&freeze.move_id)?,
            symbol: symbol_name(&freeze.symbol)?,
            to_shard: shard_name(&freeze.to_shard, "to_shard: must be 1 to 63 of a-z 0-9 -")?,
        }),
        Message::ImportSymbol(import) => Body::ImportSymbol(Box::new(moves::import(import)?)),
        Message::CompleteMove(of) => Body::CompleteMove(move_id(&of.move_id)?),
        Message::UndoFreeze(of) => Body::UndoFreeze(move_id(&of.move_id)?),
        Message::AbandonImport(of) => Body::AbandonImport(move_id(&of.move_id)?),
    })
}

/// What version 1 took, and how it said what it did not take.
mod version_1 {
    use super::*;

    pub(super) fn knows(body: &Message) -> bool {
        matches!(
            body,
            Message::PlaceOrder(_)
                | Message::CancelOrder(_)
                | Message::CreditFunds(_)
                | Message::DefineAsset(_)
                | Message::DefineSymbol(_)
                | Message::ImposeHalt(_)
                | Message::LiftHalt(_)
                | Message::Checkpoint(_)
                | Message::ChangeVersion(_)
        )
    }

    pub(super) fn place_order(place: &v1::PlaceOrder) -> Result<PlaceOrder, Invalid> {
        let account = trader(place.account)?;
        let symbol = symbol_name(&place.symbol)?;
        let side = side(place)?;
        require(
            place.r#type() == v1::OrderType::Limit,
            "type: must be LIMIT",
        )?;
        let time_in_force = match place.time_in_force() {
            v1::TimeInForce::Gtc => TimeInForce::GoodTillCancelled,
            v1::TimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
            v1::TimeInForce::Fok | v1::TimeInForce::Unspecified => {
                return Err("time_in_force: must be GTC or IOC");
            }
        };
        Ok(PlaceOrder {
            account,
            symbol,
            side,
            terms: Terms::Limit {
                price_ticks: place.price_ticks,
                quantity_lots: place.quantity_lots,
                time_in_force,
            },
            client_order_id: client_order_id(&place.client_order_id)?,
            self_trade_prevention: None,
        })
    }
}

fn place_order(place: &v1::PlaceOrder) -> Result<PlaceOrder, Invalid> {
    let account = trader(place.account)?;
    let symbol = symbol_name(&place.symbol)?;
    let side = side(place)?;
    let terms = terms(place)?;
    let client_order_id = client_order_id(&place.client_order_id)?;
    match terms {
        Terms::Limit { .. } | Terms::LimitMaker { .. } => {
            require(place.quote_units == 0, "quote_units: must be 0")?;
        }
        Terms::MarketByLots { .. } | Terms::MarketByAmount { .. } => {
            require(place.quote_units >= 0, "quote_units: must be at least 0")?;
            require(
                (place.quote_units > 0) != (place.quantity_lots > 0),
                "quote_units: must be above 0, or quantity_lots, and not both",
            )?;
        }
    }
    Ok(PlaceOrder {
        account,
        symbol,
        side,
        terms,
        client_order_id,
        self_trade_prevention: self_trade_prevention(place.self_trade_prevention)?,
    })
}

fn side(place: &v1::PlaceOrder) -> Result<Side, Invalid> {
    match place.side() {
        v1::Side::Buy => Ok(Side::Buy),
        v1::Side::Sell => Ok(Side::Sell),
        v1::Side::Unspecified => Err("side: must be BUY or SELL"),
    }
}

/// Up to the quantity; the amount comes after the client order id.
fn terms(place: &v1::PlaceOrder) -> Result<Terms, Invalid> {
    let (price_ticks, quantity_lots) = (place.price_ticks, place.quantity_lots);
    Ok(match place.r#type() {
        v1::OrderType::Limit => Terms::Limit {
            price_ticks,
            quantity_lots,
            time_in_force: match place.time_in_force() {
                v1::TimeInForce::Gtc => TimeInForce::GoodTillCancelled,
                v1::TimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
                v1::TimeInForce::Fok => TimeInForce::FillOrKill,
                v1::TimeInForce::Unspecified => {
                    return Err("time_in_force: must be GTC, IOC or FOK");
                }
            },
        },
        v1::OrderType::LimitMaker => {
            require(
                place.time_in_force() == v1::TimeInForce::Gtc,
                "time_in_force: must be GTC",
            )?;
            Terms::LimitMaker {
                price_ticks,
                quantity_lots,
            }
        }
        v1::OrderType::Market => {
            require(
                place.time_in_force() == v1::TimeInForce::Ioc,
                "time_in_force: must be IOC",
            )?;
            require(price_ticks == 0, "price_ticks: must be 0")?;
            require(quantity_lots >= 0, "quantity_lots: must be at least 0")?;
            if place.quote_units != 0 {
                Terms::MarketByAmount {
                    quote_units: place.quote_units,
                }
            } else {
                Terms::MarketByLots { quantity_lots }
            }
        }
        v1::OrderType::Unspecified => {
            return Err("type: must be LIMIT, MARKET or LIMIT_MAKER");
        }
    })
}

pub(crate) fn self_trade_prevention(number: i32) -> Result<Option<SelfTradePrevention>, Invalid> {
    use v1::SelfTradePrevention as Mode;
    let mode = Mode::try_from(number)
        .map_err(|_| "self_trade_prevention: must be one that this version knows")?;
    Ok(match mode {
        Mode::Unspecified => None,
        Mode::None => Some(SelfTradePrevention::None),
        Mode::ExpireTaker => Some(SelfTradePrevention::ExpireTaker),
        Mode::ExpireMaker => Some(SelfTradePrevention::ExpireMaker),
        Mode::ExpireBoth => Some(SelfTradePrevention::ExpireBoth),
        Mode::Decrement => Some(SelfTradePrevention::Decrement),
        Mode::Transfer => Some(SelfTradePrevention::Transfer),
    })
}

fn cancel_order(cancel: &v1::CancelOrder, version: Version) -> Result<CancelOrder, Invalid> {
    use v1::cancel_order::Target as Named;
    Ok(CancelOrder {
        account: trader(cancel.account)?,
        symbol: symbol_name(&cancel.symbol)?,
        target: match &cancel.target {
            Some(Named::OrderId(order_id)) => Target::OrderId(*order_id),
            Some(Named::ClientOrderId(id)) => Target::ClientOrderId(client_order_id(id)?),
            None => return Err("target: must be an order_id or a client_order_id"),
        },
        restriction: match v1::CancelRestriction::try_from(cancel.restriction) {
            _ if !version.knows_the_trading_core() => CancelRestriction::Any,
            Ok(v1::CancelRestriction::Unspecified) => CancelRestriction::Any,
            Ok(v1::CancelRestriction::OnlyNew) => CancelRestriction::OnlyNew,
            Ok(v1::CancelRestriction::OnlyPartiallyFilled) => {
                CancelRestriction::OnlyPartiallyFilled
            }
            Err(_) => {
                return Err("restriction: must be ONLY_NEW or ONLY_PARTIALLY_FILLED, or not given");
            }
        },
    })
}

fn amend_order(amend: &v1::AmendOrder) -> Result<AmendOrder, Invalid> {
    use v1::amend_order::Target as Named;
    let account = trader(amend.account)?;
    let symbol = symbol_name(&amend.symbol)?;
    let target = match &amend.target {
        Some(Named::OrderId(order_id)) => Target::OrderId(*order_id),
        Some(Named::ClientOrderId(id)) => Target::ClientOrderId(client_order_id(id)?),
        None => return Err("target: must be an order_id or a client_order_id"),
    };
    require(
        amend.quantity_lots >= 1,
        "quantity_lots: must be at least 1",
    )?;
    let new_client_order_id = match amend.new_client_order_id.as_str() {
        "" => None,
        id => Some(
            ClientOrderId::client_order_id(id)
                .ok_or("new_client_order_id: must be empty or 1 to 36 of A-Z a-z 0-9 _ . : / -")?,
        ),
    };
    Ok(AmendOrder {
        account,
        symbol,
        target,
        quantity_lots: amend.quantity_lots,
        new_client_order_id,
    })
}

fn replace_order(replace: &v1::ReplaceOrder) -> Result<ReplaceOrder, Invalid> {
    let cancel = replace.cancel.as_ref().ok_or("cancel: must be there")?;
    let cancel = cancel_order(cancel, Version::LATEST)?;
    let place = place_order(replace.place.as_ref().ok_or("place: must be there")?)?;
    require(
        place.account == cancel.account,
        "place: must be of the account of cancel",
    )?;
    require(
        place.symbol == cancel.symbol,
        "place: must be of the symbol of cancel",
    )?;
    Ok(ReplaceOrder {
        cancel,
        place,
        allow_failure: match replace.mode() {
            v1::ReplaceMode::StopOnFailure => false,
            v1::ReplaceMode::AllowFailure => true,
            v1::ReplaceMode::Unspecified => {
                return Err("mode: must be STOP_ON_FAILURE or ALLOW_FAILURE");
            }
        },
    })
}

fn cancel_all_orders(cancel: &v1::CancelAllOrders) -> Result<CancelAllOrders, Invalid> {
    let account = match cancel.account {
        0 => None,
        account => Some(Trader::new(account).ok_or("account: must be 0 or at least 1000")?),
    };
    Ok(CancelAllOrders {
        account,
        symbol: symbol_or_all(&cancel.symbol)?,
        reason: match cancel.reason() {
            v1::CancelReason::Request => CancelReason::Request,
            v1::CancelReason::Disconnect => CancelReason::Disconnect,
            v1::CancelReason::Operator => CancelReason::Operator,
            v1::CancelReason::Unspecified
            | v1::CancelReason::Replaced
            | v1::CancelReason::Countdown
            | v1::CancelReason::KillSwitch => {
                return Err("reason: must be REQUEST, DISCONNECT or OPERATOR");
            }
        },
    })
}

fn transfer(
    transfer_id: &str,
    account: u64,
    asset: &str,
    amount: i64,
) -> Result<Transfer, Invalid> {
    let transfer_id = TransferId::transfer_id(transfer_id);
    Ok(Transfer {
        transfer_id: transfer_id.ok_or("transfer_id: must be 1 to 64 of A-Z a-z 0-9 _ . : / -")?,
        account: trader(account)?,
        asset: asset_name(asset, "asset: must be 1 to 16 of A-Z 0-9")?,
        amount,
    })
}

fn symbol_definition(
    define: &v1::DefineSymbol,
    version: Version,
) -> Result<SymbolDefinition, Invalid> {
    let definition = (define.definition.as_ref()).ok_or("definition: must be there")?;
    terms_of(definition, version)
}

pub(crate) fn terms_of(
    definition: &v1::SymbolDefinition,
    version: Version,
) -> Result<SymbolDefinition, Invalid> {
    let plain = SymbolDefinition::plain(
        (
            symbol_name(&definition.symbol)?,
            asset_name(
                &definition.base_asset,
                "base_asset: must be 1 to 16 of A-Z 0-9",
            )?,
            asset_name(
                &definition.quote_asset,
                "quote_asset: must be 1 to 16 of A-Z 0-9",
            )?,
        ),
        definition.tick_units,
        definition.lot_units,
        definition.max_price_ticks,
        definition.max_quantity_lots,
        definition.min_notional_units,
        definition.maker_fee_ppm,
        definition.taker_fee_ppm,
    );
    if !version.knows_the_trading_core() {
        return Ok(plain);
    }
    Ok(SymbolDefinition {
        fee_charge: match v1::FeeCharge::try_from(definition.fee_charge) {
            Ok(v1::FeeCharge::Unspecified) => None,
            Ok(v1::FeeCharge::Received) => Some(FeeCharge::Received),
            Ok(v1::FeeCharge::Quote) => Some(FeeCharge::Quote),
            Err(_) => return Err("fee_charge: must be RECEIVED or QUOTE, or not given"),
        },
        self_trade_prevention: self_trade_prevention(definition.self_trade_prevention)?,
        min_price_ticks: definition.min_price_ticks,
        min_quantity_lots: definition.min_quantity_lots,
        market_max_quantity_lots: definition.market_max_quantity_lots,
        max_notional_units: definition.max_notional_units,
        bid_band: price_band(definition.bid_band.as_ref()),
        ask_band: price_band(definition.ask_band.as_ref()),
        average_minutes: definition.average_minutes,
        market_collar_ppm: definition.market_collar_ppm,
        static_band_ppm: definition.static_band_ppm,
        dynamic_band_ppm: definition.dynamic_band_ppm,
        volatility_auction_ms: definition.volatility_auction_ms,
        reference_price_ticks: definition.reference_price_ticks,
        ..plain
    })
}

fn price_band(band: Option<&v1::PriceBand>) -> PriceBand {
    band.map_or(PriceBand::default(), |band| PriceBand {
        lowest_ppm: band.lowest_ppm,
        highest_ppm: band.highest_ppm,
    })
}

fn impose_halt(impose: &v1::ImposeHalt, version: Version) -> Result<ImposeHalt, Invalid> {
    let halt = halt_name(&impose.halt)?;
    let symbols = impose
        .symbols
        .iter()
        .map(|name| SymbolName::symbol(name))
        .collect();
    let symbols = Option::ok_or(symbols, "symbols: must each be 2 to 32 of A-Z 0-9")?;
    let state = match impose.state() {
        v1::SymbolState::Halt => SymbolState::Halt,
        v1::SymbolState::CancelOnly => SymbolState::CancelOnly,
        v1::SymbolState::PostOnly if version.knows_the_trading_core() => SymbolState::PostOnly,
        _ if version.knows_the_trading_core() => {
            return Err("state: must be HALT, CANCEL_ONLY or POST_ONLY");
        }
        _ => return Err("state: must be HALT or CANCEL_ONLY"),
    };
    Ok(ImposeHalt {
        halt,
        symbols,
        state,
        reason: impose.reason.clone(),
    })
}

fn lift_halt(lift: &v1::LiftHalt, version: Version) -> Result<LiftHalt, Invalid> {
    let halt = halt_name(&lift.halt)?;
    let reason = lift.reason.clone();
    if !version.knows_the_trading_core() {
        return Ok(LiftHalt {
            halt,
            reason,
            reopen: None,
        });
    }
    require(
        reason.len() <= openbourse_matching::REASON_MOST,
        "reason: must be at most 1024 bytes",
    )?;
    let phase = match v1::SymbolState::try_from(lift.reopen) {
        Ok(v1::SymbolState::Unspecified | v1::SymbolState::Trading) => None,
        Ok(v1::SymbolState::PostOnly) => Some(SymbolState::PostOnly),
        Ok(v1::SymbolState::Auction) => Some(SymbolState::Auction),
        _ => return Err("reopen: must be TRADING, POST_ONLY or AUCTION, or not given"),
    };
    require(
        phase.is_some() || lift.reopen_ms == 0,
        "reopen_ms: must be 0 without POST_ONLY or AUCTION",
    )?;
    Ok(LiftHalt {
        halt,
        reason,
        reopen: phase.map(|phase| Reopen {
            phase,
            duration_ms: lift.reopen_ms,
        }),
    })
}

fn change_symbol_state(change: &v1::ChangeSymbolState) -> Result<ChangeSymbolState, Invalid> {
    Ok(ChangeSymbolState {
        symbol: symbol_name(&change.symbol)?,
        phase: match change.state() {
            v1::SymbolState::Trading => SymbolState::Trading,
            v1::SymbolState::PostOnly => SymbolState::PostOnly,
            v1::SymbolState::Auction => SymbolState::Auction,
            v1::SymbolState::Unspecified | v1::SymbolState::Halt | v1::SymbolState::CancelOnly => {
                return Err("state: must be TRADING, POST_ONLY or AUCTION");
            }
        },
        reason: change.reason.clone(),
        duration_ms: change.duration_ms,
    })
}

fn configure_account(configure: &v1::ConfigureAccount) -> Result<AccountConfiguration, Invalid> {
    let account = trader(configure.account)?;
    require(
        configure.max_open_notional.len() <= NOTIONALS_MOST,
        "max_open_notional: must be at most 16",
    )?;
    let notional = |limit: &v1::AssetAmount| {
        let asset = asset_name(
            &limit.asset,
            "max_open_notional: asset must be 1 to 16 of A-Z 0-9",
        )?;
        require(
            limit.amount >= 0,
            "max_open_notional: amount must be at least 0",
        )?;
        Ok((asset, limit.amount))
    };
    let notionals = configure.max_open_notional.iter().map(notional);
    Ok(AccountConfiguration {
        account,
        trade_group: configure.trade_group,
        max_open_orders: configure.max_open_orders,
        max_open_notional: notionals.collect::<Result<_, Invalid>>()?,
        max_orders_per_interval: configure.max_orders_per_interval,
        interval_ms: configure.interval_ms,
        reuse_client_order_ids: configure.reuse_client_order_ids,
    })
}

fn safety_limits(limits: Option<&v1::SafetyLimits>) -> SafetyLimits {
    limits.map_or(SafetyLimits::default(), |limits| SafetyLimits {
        throttle: limits.throttle,
        cancel_only: limits.cancel_only,
        halt: limits.halt,
    })
}

fn previous(checkpoint: &v1::Checkpoint) -> Result<Option<(u64, [u8; 32])>, Invalid> {
    if checkpoint.previous_seq == 0 {
        return Ok(None);
    }
    let state_hash = <[u8; 32]>::try_from(checkpoint.previous_state_hash.as_slice());
    match state_hash {
        Ok(state_hash) => Ok(Some((checkpoint.previous_seq, state_hash))),
        Err(_) => Err("previous_state_hash: must be 32 bytes"),
    }
}

pub(crate) fn trader(account: u64) -> Result<Trader, Invalid> {
    Trader::new(account).ok_or("account: must be at least 1000")
}

pub(crate) fn symbol_name(text: &str) -> Result<SymbolName, Invalid> {
    SymbolName::symbol(text).ok_or("symbol: must be 2 to 32 of A-Z 0-9")
}

pub(crate) fn client_order_id(text: &str) -> Result<ClientOrderId, Invalid> {
    let id = ClientOrderId::client_order_id(text);
    id.ok_or("client_order_id: must be 1 to 36 of A-Z a-z 0-9 _ . : / -")
}

pub(crate) fn move_id(bytes: &[u8]) -> Result<MoveId, Invalid> {
    MoveId::try_from(bytes).map_err(|_| "move_id: must be 16 bytes")
}

pub(crate) fn shard_name(text: &str, invalid: Invalid) -> Result<ShardName, Invalid> {
    ShardName::shard(text).ok_or(invalid)
}

fn symbol_or_all(text: &str) -> Result<Option<SymbolName>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let symbol = SymbolName::symbol(text);
    (symbol.map(Some)).ok_or("symbol: must be empty or 2 to 32 of A-Z 0-9")
}

fn asset_name(text: &str, invalid: Invalid) -> Result<AssetName, Invalid> {
    AssetName::asset(text).ok_or(invalid)
}

fn halt_name(text: &str) -> Result<HaltName, Invalid> {
    HaltName::new(text).ok_or("halt: must be 1 to 253 of A-Z a-z 0-9 _ . : / -")
}

pub(crate) fn require(kept: bool, rule: Invalid) -> Result<(), Invalid> {
    if kept { Ok(()) } else { Err(rule) }
}
