//! Who may send which command.

use openbourse_protocol::v1::Command;
use openbourse_protocol::v1::command::Body;

/// What the halts of people are called who ask the engine itself: no object of Kubernetes has such a name.
pub const DIRECT: &str = "direct:";

/// A connection's other side, as its certificate names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    Gateway,
    Ledger,
    /// Halts, where nobody else can be asked; and what a reader may.
    Person(Person),
    /// Queries and the committed stream only: the operator, people without a role, other engines.
    Reader,
    /// The engine's own commands. Never a connection.
    Itself,
}

/// Somebody at the command line whose role lets them stop a market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    /// And let it go on.
    pub may_lift: bool,
}

impl Person {
    fn role(&self) -> &'static str {
        match self.may_lift {
            true => "admin",
            false => "operator",
        }
    }

    /// Why a command that the role allows is not this person's to send: halts of others, and in another name.
    pub fn check(&self, command: &Command) -> Result<(), String> {
        let halt = match &command.body {
            Some(Body::ImposeHalt(impose)) => &impose.halt,
            Some(Body::LiftHalt(lift)) => &lift.halt,
            _ => return Ok(()),
        };
        if !halt.starts_with(DIRECT) {
            return Err(format!(
                "halt {halt:?} is not of people at the engine: those are called {DIRECT}NAME"
            ));
        }
        let who = format!("{} {}: ", self.role(), self.name);
        if !command.causation_id.starts_with(&who) {
            return Err(format!(
                "causation_id says who and why: {who:?} and the reason"
            ));
        }
        Ok(())
    }
}

impl Sender {
    /// From the name of a component of the exchange; of a person, whose certificate it is and which role it names.
    pub fn of(component: &str, person: &str, role: &str) -> Sender {
        match (component, role) {
            ("gateway", _) => Sender::Gateway,
            ("ledger", _) => Sender::Ledger,
            ("cli" | "person", "operator" | "admin") => Sender::Person(Person {
                name: person.into(),
                may_lift: role == "admin",
            }),
            _ => Sender::Reader,
        }
    }

    pub fn may_send(&self, body: &Body) -> bool {
        match body {
            Body::PlaceOrder(_)
            | Body::CancelOrder(_)
            | Body::AmendOrder(_)
            | Body::ReplaceOrder(_)
            | Body::SetCountdown(_)
            // By people, whom the gateway's port for them knows.
            | Body::SetKillSwitch(_) => *self == Sender::Gateway,
            // Of all accounts: as kill switches, and by the engine itself in a market that is delisted.
            Body::CancelAllOrders(_) => matches!(self, Sender::Gateway | Sender::Itself),
            Body::CreditFunds(_)
            | Body::DebitFunds(_)
            | Body::FreezeSymbol(_)
            | Body::ImportSymbol(_)
            | Body::CompleteMove(_)
            | Body::UndoFreeze(_)
            | Body::AbandonImport(_) => *self == Sender::Ledger,
            Body::ImposeHalt(_) => matches!(self, Sender::Itself | Sender::Person(_)),
            Body::LiftHalt(_) => match self {
                Sender::Person(person) => person.may_lift,
                sender => *sender == Sender::Itself,
            },
            Body::DefineAsset(_)
            | Body::DefineSymbol(_)
            | Body::ChangeSymbolState(_)
            | Body::ConfigureAccount(_)
            | Body::ConfigureSafety(_)
            | Body::ReportLag(_)
            | Body::Tick(_)
            | Body::ChangeVersion(_)
            | Body::Checkpoint(_) => *self == Sender::Itself,
        }
    }
}
