//! What a command did: its reply, and the events with the money they move.

use crate::account_limits::AccountConfiguration;
use crate::auction::Indication;
use crate::command::{CancelReason, CommandId, MoveId, Stamp, Transfer};
use crate::listings::SymbolDefinition;
use crate::names::{AssetId, AssetName, ClientOrderId, HaltName, ShardName, SymbolId};
use crate::order::{Order, SelfTradePrevention, Side};
use crate::refusal::Refusal;
use crate::safety::SafetyLevel;
use crate::symbol_state::SymbolState;
use crate::version::Version;

/// What one command did. Made once, cleared and filled again by every step.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The one answer to the command; None only before the first step.
    pub reply: Option<Reply>,
    events: Vec<Event>,
    movements: Vec<Movement>,
    /// Symbols whose auction may do something else now than was told last.
    pub(crate) to_indicate: Vec<SymbolId>,
    /// Kept for their allocations.
    pub(crate) spare_fills: Vec<Fill>,
    pub(crate) spare_touched: Vec<(Side, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub command_id: Option<CommandId>,
    /// Of the first time that the command was seen.
    pub stamp: Stamp,
    pub outcome: Outcome,
    /// Of an answer that another shard gave, and that came here with a symbol.
    pub origin: Option<Box<Origin>>,
}

/// Where an answer was given, and with which command of this shard it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub shard: ShardName,
    pub imported_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Order(OrderOutcome),
    /// In a box, since two results would make every reply twice as large.
    Replaced(Box<Replacement>),
    CanceledAll {
        canceled: u32,
        /// What the command asked for and did not reach.
        remaining: u64,
    },
    Refused(Refusal),
    Done,
}

/// What became of either half of a ReplaceOrder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    pub cancel: Result<Order, Refusal>,
    pub place: Result<OrderOutcome, Refusal>,
}

/// The order as the command left it, with the trades that the command made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderOutcome {
    pub order: Order,
    pub fills: Vec<Fill>,
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
    OrderCanceled {
        order: Order,
        /// None under version 1.
        reason: Option<CancelReason>,
    },
    OrderAmended {
        order: Order,
        previous_quantity_lots: i64,
        previous_client_order_id: ClientOrderId,
    },
    OrderExpired(Order),
    TradeExecuted(Trade),
    MatchPrevented(PreventedMatch),
    BookDelta {
        update_id: u64,
        side: Side,
        price_ticks: i64,
        quantity_lots: i64,
    },
    AuctionIndicated(Indication),
    FundsCredited(Transfer),
    FundsDebited(Transfer),
    FundsDebitRejected {
        transfer: Transfer,
        refusal: Refusal,
    },
    SymbolStateChanged {
        state: SymbolState,
        previous_state: SymbolState,
        /// None where something else did it.
        halt: Option<HaltName>,
        reason: String,
    },
    AccountConfigured(AccountConfiguration),
    KillSwitchSet {
        account: u64,
        on: bool,
        reason: String,
    },
    SafetyLevelChanged {
        level: SafetyLevel,
        previous_level: SafetyLevel,
        reason: String,
    },
    VersionChanged {
        version: Version,
        previous_version: Version,
    },
    EngineCheckpoint {
        state_hash: [u8; 32],
    },
    SymbolFrozen {
        move_id: MoveId,
        to_shard: ShardName,
        record_sha256: [u8; 32],
        open_orders: u64,
        last_update_id: u64,
    },
    SymbolUnfrozen {
        move_id: MoveId,
    },
    SymbolDeparted {
        move_id: MoveId,
        to_shard: ShardName,
    },
    SymbolImported {
        move_id: MoveId,
        from_shard: ShardName,
        record_sha256: [u8; 32],
        open_orders: u64,
        last_update_id: u64,
        last_trade_id: u64,
        last_prevented_match_id: u64,
        /// New orders have higher ids.
        last_order_id: u64,
    },
    /// With the funds behind it.
    OrderDeparted {
        move_id: MoveId,
        order: Order,
    },
    OrderReturned {
        move_id: MoveId,
        order: Order,
    },
    OrderArrived {
        move_id: MoveId,
        order: Order,
    },
    AssetDefined {
        asset: AssetName,
        scale: u32,
    },
    SymbolDefined {
        definition: SymbolDefinition,
        /// That new orders trade under; 0 under version 1.
        fee_schedule: u32,
    },
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
    /// At an auction's price; the taker is the younger order.
    pub auction: bool,
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

/// Two orders of one party met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreventedMatch {
    pub prevented_match_id: u64,
    /// As applied.
    pub mode: SelfTradePrevention,
    pub price_ticks: i64,
    pub maker: PreventedParty,
    pub taker: PreventedParty,
    pub taker_side: Side,
    /// Changed hands without a trade.
    pub transferred_lots: i64,
    pub transferred_quote_units: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreventedParty {
    pub account: u64,
    pub order_id: u64,
    pub client_order_id: ClientOrderId,
    pub prevented_lots: i64,
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
        let answered = self.reply.take().map(|reply| reply.outcome);
        if let Some(Outcome::Order(order)) = answered
            && order.fills.capacity() > 0
        {
            self.spare_fills = order.fills;
            self.spare_fills.clear();
        }
        self.events.clear();
        self.movements.clear();
        self.to_indicate.clear();
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
