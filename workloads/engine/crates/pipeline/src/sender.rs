//! Who may send which command.

use openbourse_protocol::v1::command::Body;

/// A connection's other side, as its certificate names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Gateway,
    Ledger,
    /// Queries and the committed stream only: the operator, people, other engines.
    Reader,
    /// The engine's own commands. Never a connection.
    Itself,
}

impl Sender {
    /// From the name of a component of the exchange.
    pub fn of(component: &str) -> Sender {
        match component {
            "gateway" => Sender::Gateway,
            "ledger" => Sender::Ledger,
            _ => Sender::Reader,
        }
    }

    pub fn may_send(self, body: &Body) -> bool {
        match body {
            Body::PlaceOrder(_)
            | Body::CancelOrder(_)
            | Body::AmendOrder(_)
            | Body::ReplaceOrder(_)
            | Body::SetCountdown(_) => self == Sender::Gateway,
            // Of all accounts it is for operators, through the engine itself.
            Body::CancelAllOrders(cancel) => match cancel.account {
                0 => self == Sender::Itself,
                _ => self == Sender::Gateway,
            },
            Body::CreditFunds(_) | Body::DebitFunds(_) => self == Sender::Ledger,
            Body::DefineAsset(_)
            | Body::DefineSymbol(_)
            | Body::ImposeHalt(_)
            | Body::LiftHalt(_)
            | Body::ChangeSymbolState(_)
            | Body::ConfigureAccount(_)
            | Body::SetKillSwitch(_)
            | Body::ConfigureSafety(_)
            | Body::ReportLag(_)
            | Body::Tick(_)
            | Body::ChangeVersion(_)
            | Body::Checkpoint(_) => self == Sender::Itself,
        }
    }
}
