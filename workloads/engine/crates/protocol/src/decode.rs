//! Messages into the kernel's own types. What cannot be said in them is refused by the name of its field, the first
//! in this order: command id, correlation, causation, body, and the body's fields in the order of the message.

use openbourse_matching::command::{
    Body, CancelOrder, Checkpoint, Command, CommandId, CreditFunds, DefineAsset, ImposeHalt,
    LiftHalt, PlaceOrder, Target,
};
use openbourse_matching::listings::SymbolDefinition;
use openbourse_matching::names::{
    AssetName, ClientOrderId, HaltName, SymbolName, Trader, TransferId,
};
use openbourse_matching::order::{Side, TimeInForce};
use openbourse_matching::symbol_state::SymbolState;

use crate::v1;
use crate::v1::command::Body as Message;

/// Bytes of a correlation or causation id.
const TRACE_MOST: usize = 512;

/// What a field must be.
type Invalid = &'static str;

/// None: the bytes are not a command.
pub(crate) fn command(message: Option<&v1::Command>) -> Command {
    let Some(message) = message else {
        return Command {
            id: None,
            body: Body::Invalid("command: must be an openbourse.v1.Command"),
        };
    };
    let id = CommandId::try_from(message.command_id.as_slice()).ok();
    let body = match id {
        Some(_) => body(message).unwrap_or_else(Body::Invalid),
        None => Body::Invalid("command_id: must be 16 bytes"),
    };
    Command { id, body }
}

fn body(message: &v1::Command) -> Result<Body, Invalid> {
    require(
        message.correlation_id.len() <= TRACE_MOST,
        "correlation_id: must be at most 512 bytes",
    )?;
    require(
        message.causation_id.len() <= TRACE_MOST,
        "causation_id: must be at most 512 bytes",
    )?;
    let body = message
        .body
        .as_ref()
        .ok_or("body: must be a command that this version knows")?;
    Ok(match body {
        Message::PlaceOrder(place) => Body::PlaceOrder(place_order(place)?),
        Message::CancelOrder(cancel) => Body::CancelOrder(cancel_order(cancel)?),
        Message::CreditFunds(credit) => Body::CreditFunds(credit_funds(credit)?),
        Message::DefineAsset(asset) => Body::DefineAsset(DefineAsset {
            asset: asset_name(&asset.asset, "asset: must be 1 to 16 of A-Z 0-9")?,
            scale: asset.scale,
        }),
        Message::DefineSymbol(define) => Body::DefineSymbol(symbol_definition(define)?),
        Message::ImposeHalt(impose) => Body::ImposeHalt(impose_halt(impose)?),
        Message::LiftHalt(lift) => Body::LiftHalt(LiftHalt {
            halt: halt_name(&lift.halt)?,
            reason: lift.reason.clone(),
        }),
        Message::Checkpoint(checkpoint) => Body::Checkpoint(Checkpoint {
            previous: previous(checkpoint)?,
        }),
    })
}

fn place_order(place: &v1::PlaceOrder) -> Result<PlaceOrder, Invalid> {
    let account = trader(place.account)?;
    let symbol = symbol_name(&place.symbol)?;
    let side = match place.side() {
        v1::Side::Buy => Side::Buy,
        v1::Side::Sell => Side::Sell,
        v1::Side::Unspecified => return Err("side: must be BUY or SELL"),
    };
    require(
        place.r#type() == v1::OrderType::Limit,
        "type: must be LIMIT",
    )?;
    let time_in_force = match place.time_in_force() {
        v1::TimeInForce::Gtc => TimeInForce::GoodTillCancelled,
        v1::TimeInForce::Ioc => TimeInForce::ImmediateOrCancel,
        v1::TimeInForce::Unspecified => return Err("time_in_force: must be GTC or IOC"),
    };
    Ok(PlaceOrder {
        account,
        symbol,
        side,
        time_in_force,
        price_ticks: place.price_ticks,
        quantity_lots: place.quantity_lots,
        client_order_id: client_order_id(&place.client_order_id)?,
    })
}

fn cancel_order(cancel: &v1::CancelOrder) -> Result<CancelOrder, Invalid> {
    use v1::cancel_order::Target as Named;
    Ok(CancelOrder {
        account: trader(cancel.account)?,
        symbol: symbol_name(&cancel.symbol)?,
        target: match &cancel.target {
            Some(Named::OrderId(order_id)) => Target::OrderId(*order_id),
            Some(Named::ClientOrderId(id)) => Target::ClientOrderId(client_order_id(id)?),
            None => return Err("target: must be an order_id or a client_order_id"),
        },
    })
}

fn credit_funds(credit: &v1::CreditFunds) -> Result<CreditFunds, Invalid> {
    let transfer_id = TransferId::transfer_id(&credit.transfer_id);
    Ok(CreditFunds {
        transfer_id: transfer_id.ok_or("transfer_id: must be 1 to 64 of A-Z a-z 0-9 _ . : / -")?,
        account: trader(credit.account)?,
        asset: asset_name(&credit.asset, "asset: must be 1 to 16 of A-Z 0-9")?,
        amount: credit.amount,
    })
}

fn symbol_definition(define: &v1::DefineSymbol) -> Result<SymbolDefinition, Invalid> {
    let definition = define
        .definition
        .as_ref()
        .ok_or("definition: must be there")?;
    Ok(SymbolDefinition {
        symbol: symbol_name(&definition.symbol)?,
        base_asset: asset_name(
            &definition.base_asset,
            "base_asset: must be 1 to 16 of A-Z 0-9",
        )?,
        quote_asset: asset_name(
            &definition.quote_asset,
            "quote_asset: must be 1 to 16 of A-Z 0-9",
        )?,
        tick_units: definition.tick_units,
        lot_units: definition.lot_units,
        max_price_ticks: definition.max_price_ticks,
        max_quantity_lots: definition.max_quantity_lots,
        min_notional_units: definition.min_notional_units,
        maker_fee_ppm: definition.maker_fee_ppm,
        taker_fee_ppm: definition.taker_fee_ppm,
    })
}

fn impose_halt(impose: &v1::ImposeHalt) -> Result<ImposeHalt, Invalid> {
    let symbols = impose
        .symbols
        .iter()
        .map(|name| SymbolName::symbol(name))
        .collect();
    Ok(ImposeHalt {
        halt: halt_name(&impose.halt)?,
        symbols: Option::ok_or(symbols, "symbols: must each be 2 to 32 of A-Z 0-9")?,
        state: match impose.state() {
            v1::SymbolState::Halt => SymbolState::Halt,
            v1::SymbolState::CancelOnly => SymbolState::CancelOnly,
            v1::SymbolState::Trading | v1::SymbolState::Unspecified => {
                return Err("state: must be HALT or CANCEL_ONLY");
            }
        },
        reason: impose.reason.clone(),
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

fn asset_name(text: &str, invalid: Invalid) -> Result<AssetName, Invalid> {
    AssetName::asset(text).ok_or(invalid)
}

fn halt_name(text: &str) -> Result<HaltName, Invalid> {
    HaltName::new(text).ok_or("halt: must be 1 to 253 of A-Z a-z 0-9 _ . : / -")
}

fn require(kept: bool, rule: Invalid) -> Result<(), Invalid> {
    if kept { Ok(()) } else { Err(rule) }
}
