//! What a command did: its reply, and the events with the money they move.

use crate::command::{CommandId, Stamp};
use crate::listings::SymbolDefinition;
use crate::names::{AssetName, ClientOrderId, HaltName, TransferId};
use crate::order::{Order, Side};
use crate::refusal::Refusal;
use crate::symbol_state::SymbolState;

/// Numbers the symbols of a shard in the order of their listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SymbolId(pub(crate) u32);

/// Numbers the assets of a shard in the order of their definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AssetId(pub(crate) u32);

/// What one command did. Made once, cleared and filled again by every step.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The one answer to the command; None only before the first step.
    pub reply: Option<Reply>,
    events: Vec<Event>,
    movements: Vec<Movement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub command_id: Option<CommandId>,
    /// Of the first time that the command was seen.
    pub stamp: Stamp,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order as the command left it, with the trades that the command made.
    Order {
        order: Order,
        fills: Vec<Fill>,
    },
    Refused(Refusal),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub trade_id: u64,
    pub price_ticks: i64,
    pub quantity_lots: i64,
    pub quote_units: i64,
    pub fee_units: i64,
    pub fee_asset: AssetId,
}

/// A change of one balance. The movements of an event sum to zero for each asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    pub account: u64,
    pub asset: AssetId,
    pub available_change: i64,
    pub hold_change: i64,
}

#[derive(Clone, Debug)]
pub struct Event {
    /// None: an event of the whole shard.
    pub symbol: Option<SymbolId>,
    pub body: EventBody,
    movements_end: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    OrderAccepted(Order),
    OrderRejected {
        account: u64,
        client_order_id: ClientOrderId,
        refusal: Refusal,
    },
    OrderCanceled(Order),
    OrderExpired(Order),
    TradeExecuted(Trade),
    BookDelta {
        update_id: u64,
        side: Side,
        price_ticks: i64,
        quantity_lots: i64,
    },
    FundsCredited {
        transfer_id: TransferId,
        account: u64,
        asset: AssetId,
        amount: i64,
    },
    SymbolStateChanged {
        state: SymbolState,
        previous_state: SymbolState,
        halt: HaltName,
        reason: String,
    },
    EngineCheckpoint {
        state_hash: [u8; 32],
    },
    AssetDefined {
        asset: AssetName,
        scale: u32,
    },
    SymbolDefined(SymbolDefinition),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    pub trade_id: u64,
    pub price_ticks: i64,
    pub quantity_lots: i64,
    pub quote_units: i64,
    pub maker: TradeParty,
    pub taker: TradeParty,
    pub taker_side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TradeParty {
    pub account: u64,
    pub order_id: u64,
    pub client_order_id: ClientOrderId,
    pub fee_units: i64,
    pub fee_asset: AssetId,
    pub leaves_lots: i64,
}

impl Effects {
    pub fn new() -> Self {
        Self::default()
    }

    /// The events in order, each with the money and holds that it moves.
    pub fn events(&self) -> impl Iterator<Item = (&Event, &[Movement])> {
        let mut begin = 0;
        self.events.iter().map(move |event| {
            let movements = &self.movements[begin..event.movements_end];
            begin = event.movements_end;
            (event, movements)
        })
    }

    pub(crate) fn clear(&mut self) {
        self.reply = None;
        self.events.clear();
        self.movements.clear();
    }

    /// Adds an event that moves nothing, or what `moved` was told since the last event.
    pub(crate) fn happened(&mut self, symbol: Option<SymbolId>, body: EventBody) {
        self.events.push(Event {
            symbol,
            body,
            movements_end: self.movements.len(),
        });
    }

    /// A movement of the event that `happened` adds next.
    pub(crate) fn moved(&mut self, movement: Movement) {
        self.movements.push(movement);
    }
}
