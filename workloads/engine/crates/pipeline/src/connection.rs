//! One connection: what it may do next, and what its bytes ask for.

use openbourse_protocol::v1::{self, ProblemCode};
use prost::Message;

use crate::frames::{ClientFrame, Cutter, client_frame::Frame, problem};
use crate::sender::Sender;

pub struct Connection {
    pub sender: Sender,
    pub greeted: bool,
    pub cutter: Cutter,
    /// Requests taken from it that no batch has taken yet.
    pub waiting_requests: usize,
    pub waiting_bytes: usize,
    pub paused: bool,
}

/// What the socket's side has to do about bytes that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// To be sent at once: a Welcome, or the Problem that ends the connection.
    pub send: Vec<u8>,
    /// The committed stream is wanted from this seq.
    pub subscribe: Option<u64>,
    /// The peer has made all events up to its seq its own.
    pub passed: Option<v1::Passed>,
    pub close: bool,
    /// Read no more until the connection is among the resumed.
    pub pause: bool,
}

/// A command as the log keeps it, or a query.
pub enum Request {
    Command(Vec<u8>),
    Query(v1::Query),
}

pub enum Said {
    Hello(v1::Hello),
    Ask(Request),
    Subscribe(u64),
    Passed(v1::Passed),
}

pub struct Refusal {
    pub code: ProblemCode,
    pub detail: String,
}

impl Refusal {
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Refusal {
        Refusal {
            code,
            detail: detail.into(),
        }
    }

    pub fn frame(self) -> Vec<u8> {
        problem(self.code, self.detail)
    }
}

impl Received {
    /// Only what is committed can be passed.
    pub fn pass(&mut self, passed: v1::Passed, committed_seq: u64) -> Result<(), Refusal> {
        let seq = passed.seq;
        if seq > committed_seq {
            let detail = format!(
                "seq {seq} was passed, but this log ends at {committed_seq}: the consumer has followed another log"
            );
            return Err(Refusal::new(ProblemCode::Malformed, detail));
        }
        self.passed = Some(passed);
        Ok(())
    }
}

impl Connection {
    pub fn new(sender: Sender) -> Connection {
        Connection {
            greeted: sender == Sender::Itself,
            sender,
            cutter: Cutter::default(),
            waiting_requests: 0,
            waiting_bytes: 0,
            paused: false,
        }
    }
}

/// What one frame says, if this sender may say it now.
pub fn understand(sender: &Sender, greeted: bool, body: &[u8]) -> Result<Said, Refusal> {
    let malformed = |detail: &str| Refusal::new(ProblemCode::Malformed, detail);
    let frame = ClientFrame::decode(body)
        .map_err(|error| malformed(&format!("not a ClientFrame: {error}")))?
        .frame
        .ok_or_else(|| malformed("an empty frame"))?;
    match (frame, greeted) {
        (Frame::Hello(hello), false) => Ok(Said::Hello(hello)),
        (Frame::Hello(_), true) => Err(malformed("a second Hello")),
        (_, false) => Err(malformed("the first frame must be Hello")),
        (Frame::Command(bytes), true) => {
            permit(sender, &bytes)?;
            Ok(Said::Ask(Request::Command(bytes)))
        }
        (Frame::Query(query), true) => Ok(Said::Ask(Request::Query(query))),
        (Frame::Subscribe(subscribe), true) => Ok(Said::Subscribe(subscribe.from_seq)),
        (Frame::Passed(passed), true) => Ok(Said::Passed(passed)),
    }
}

fn permit(sender: &Sender, command: &[u8]) -> Result<(), Refusal> {
    let malformed = |detail: String| Refusal::new(ProblemCode::Malformed, detail);
    let command = v1::Command::decode(command)
        .map_err(|error| malformed(format!("not a Command: {error}")))?;
    if command.command_id.len() != 16 {
        return Err(malformed(format!(
            "a command id has 16 bytes, not {}",
            command.command_id.len()
        )));
    }
    let Some(body) = &command.body else {
        return Err(malformed(
            "a command without a body that this engine knows".into(),
        ));
    };
    let not_allowed = |detail: String| Refusal::new(ProblemCode::NotAllowed, detail);
    if !sender.may_send(body) {
        return Err(not_allowed(format!(
            "the peer's certificate, as {sender:?}, does not allow {}",
            name(body)
        )));
    }
    match sender {
        Sender::Person(person) => person.check(&command).map_err(not_allowed),
        _ => Ok(()),
    }
}

fn name(body: &v1::command::Body) -> &'static str {
    use v1::command::Body;
    match body {
        Body::PlaceOrder(_) => "PlaceOrder",
        Body::CancelOrder(_) => "CancelOrder",
        Body::CreditFunds(_) => "CreditFunds",
        Body::DefineAsset(_) => "DefineAsset",
        Body::DefineSymbol(_) => "DefineSymbol",
        Body::ImposeHalt(_) => "ImposeHalt",
        Body::LiftHalt(_) => "LiftHalt",
        Body::Checkpoint(_) => "Checkpoint",
        Body::DebitFunds(_) => "DebitFunds",
        Body::AmendOrder(_) => "AmendOrder",
        Body::ReplaceOrder(_) => "ReplaceOrder",
        Body::CancelAllOrders(_) => "CancelAllOrders",
        Body::SetCountdown(_) => "SetCountdown",
        Body::ChangeSymbolState(_) => "ChangeSymbolState",
        Body::ConfigureAccount(_) => "ConfigureAccount",
        Body::SetKillSwitch(_) => "SetKillSwitch",
        Body::ConfigureSafety(_) => "ConfigureSafety",
        Body::ReportLag(_) => "ReportLag",
        Body::Tick(_) => "Tick",
        Body::ChangeVersion(_) => "ChangeVersion",
        Body::FreezeSymbol(_) => "FreezeSymbol",
        Body::ImportSymbol(_) => "ImportSymbol",
        Body::CompleteMove(_) => "CompleteMove",
        Body::UndoFreeze(_) => "UndoFreeze",
        Body::AbandonImport(_) => "AbandonImport",
    }
}
