//! What is asked of the kernel. A value of these types is well formed; whether it can be done is for the kernel to say.

use crate::listings::SymbolDefinition;
use crate::names::{AssetName, ClientOrderId, HaltName, SymbolName, Trader, TransferId};
use crate::order::{Side, TimeInForce};
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
    CreditFunds(CreditFunds),
    DefineAsset(DefineAsset),
    DefineSymbol(SymbolDefinition),
    ImposeHalt(ImposeHalt),
    LiftHalt(LiftHalt),
    Checkpoint(Checkpoint),
    /// Something is in the log that is none of the above. The text names the field and says what it must be.
    Invalid(&'static str),
}

/// A limit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceOrder {
    pub account: Trader,
    pub symbol: SymbolName,
    pub side: Side,
    pub time_in_force: TimeInForce,
    pub price_ticks: i64,
    pub quantity_lots: i64,
    pub client_order_id: ClientOrderId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelOrder {
    pub account: Trader,
    pub symbol: SymbolName,
    pub target: Target,
}

/// An order, by either of its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    OrderId(u64),
    ClientOrderId(ClientOrderId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditFunds {
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
    /// HALT or CANCEL_ONLY.
    pub state: SymbolState,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiftHalt {
    pub halt: HaltName,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The checkpoint before this one, and the state hash that its writer had there. None: it knew of none.
    pub previous: Option<(u64, [u8; 32])>,
}
