//! What is asked of the kernel. A value of these types is well formed; whether it can be done is for the kernel to say.

use crate::account_limits::AccountConfiguration;
use crate::listings::SymbolDefinition;
use crate::names::{AssetName, ClientOrderId, HaltName, ShardName, SymbolName, Trader, TransferId};
use crate::order::{SelfTradePrevention, Side, TimeInForce};
use crate::record::SymbolRecord;
use crate::safety::{Lag, SafetyConfiguration};
use crate::symbol_state::SymbolState;

/// What the shell gives a command: its place in the log, the epoch it is written under, its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// One more than the command before.
    pub seq: u64,
    pub epoch: u64,
    /// Microseconds since 1970 UTC.
    pub time_us: i64,
}

/// Chosen by the sender, the same in every resend.
pub type CommandId = [u8; 16];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// None: it had none that could be read. It is refused, and cannot be remembered.
    pub id: Option<CommandId>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    PlaceOrder(PlaceOrder),
    CancelOrder(CancelOrder),
    AmendOrder(AmendOrder),
    ReplaceOrder(ReplaceOrder),
    CancelAllOrders(CancelAllOrders),
    SetCountdown(SetCountdown),
    CreditFunds(Transfer),
    DebitFunds(Transfer),
    DefineAsset(DefineAsset),
    DefineSymbol(SymbolDefinition),
    ImposeHalt(ImposeHalt),
    LiftHalt(LiftHalt),
    ChangeSymbolState(ChangeSymbolState),
    ConfigureAccount(AccountConfiguration),
    SetKillSwitch(SetKillSwitch),
    ConfigureSafety(SafetyConfiguration),
    ReportLag(Lag),
    Checkpoint(Checkpoint),
    Tick,
    ChangeVersion(u32),
    FreezeSymbol(FreezeSymbol),
    ImportSymbol(Box<ImportSymbol>),
    CompleteMove(MoveId),
    UndoFreeze(MoveId),
    AbandonImport(MoveId),
    /// Something is in the log that is none of the above. The text names the field and says what it must be.
    Invalid(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    pub account: Trader,
    pub symbol: SymbolName,
    pub side: Side,
    pub terms: Terms,
    pub client_order_id: ClientOrderId,
    /// None: the symbol's default.
    pub self_trade_prevention: Option<SelfTradePrevention>,
}

/// What kind of order, and how much at which price. Price and quantity of a limit order may be out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    Limit {
        price_ticks: i64,
        quantity_lots: i64,
        time_in_force: TimeInForce,
    },
    LimitMaker {
        price_ticks: i64,
        quantity_lots: i64,
    },
    MarketByLots {
        quantity_lots: i64,
    },
    MarketByAmount {
        quote_units: i64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    pub account: Trader,
    pub symbol: SymbolName,
    pub target: Target,
    pub restriction: CancelRestriction,
}

/// An order, by either of its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    OrderId(u64),
    ClientOrderId(ClientOrderId),
}

/// Which orders may be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelRestriction {
    Any,
    OnlyNew,
    OnlyPartiallyFilled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmendOrder {
    pub account: Trader,
    pub symbol: SymbolName,
    pub target: Target,
    /// The new total, at least 1.
    pub quantity_lots: i64,
    /// None: as before.
    pub new_client_order_id: Option<ClientOrderId>,
}

/// Both of one account and symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaceOrder {
    pub cancel: CancelOrder,
    pub place: PlaceOrder,
    /// The new order is placed even when the cancel is refused.
    pub allow_failure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelAllOrders {
    /// None: of all accounts.
    pub account: Option<Trader>,
    /// None: of all symbols.
    pub symbol: Option<SymbolName>,
    pub reason: CancelReason,
}

/// What made an order end that did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelReason {
    Request,
    Replaced,
    Disconnect,
    Countdown,
    KillSwitch,
    Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCountdown {
    pub account: Trader,
    /// None: of all symbols.
    pub symbol: Option<SymbolName>,
    /// 0: no more.
    pub countdown_ms: i64,
    /// The one of connections that guard the account's orders, beside the one that the account sets itself.
    pub guard: bool,
}

/// Of a symbol, from one shard to another: the same in all its commands and in both shards.
pub type MoveId = [u8; 16];

/// The symbol takes nothing any more, and what it is leaves with the funds behind its orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreezeSymbol {
    pub move_id: MoveId,
    pub symbol: SymbolName,
    pub to_shard: ShardName,
}

/// A part of what another shard froze. With the last one the symbol is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSymbol {
    pub move_id: MoveId,
    pub from_shard: ShardName,
    /// From 0.
    pub part: u32,
    pub parts: u32,
    /// Of the whole record, as the other shard told it.
    pub record_sha256: [u8; 32],
    pub record: SymbolRecord,
}

/// Of funds, into the shard or out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub transfer_id: TransferId,
    pub account: Trader,
    pub asset: AssetName,
    pub amount: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefineAsset {
    pub asset: AssetName,
    /// 10^scale min-units make one whole unit.
    pub scale: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImposeHalt {
    pub halt: HaltName,
    /// None: every symbol, those listed later included.
    pub symbols: Vec<SymbolName>,
    /// HALT, CANCEL_ONLY or POST_ONLY.
    pub state: SymbolState,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiftHalt {
    pub halt: HaltName,
    pub reason: String,
    /// None: with TRADING, at once.
    pub reopen: Option<Reopen>,
}

/// How a market comes back from a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopen {
    /// POST_ONLY or AUCTION.
    pub phase: SymbolState,
    pub duration_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSymbolState {
    pub symbol: SymbolName,
    /// TRADING, POST_ONLY or AUCTION.
    pub phase: SymbolState,
    pub reason: String,
    /// 0: it has no end.
    pub duration_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetKillSwitch {
    pub account: Trader,
    pub on: bool,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The checkpoint before this one, and the state hash that its writer had there. None: it knew of none.
    pub previous: Option<(u64, [u8; 32])>,
}
