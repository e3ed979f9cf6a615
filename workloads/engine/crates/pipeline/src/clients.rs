//! Who is connected, and what they ask for that no batch has taken yet. It decides who is let in and who has to wait.

use std::collections::{BTreeMap, VecDeque};

use openbourse_journal::record_bytes;
use openbourse_protocol::v1::{self, ProblemCode};
use prost::Message;

use crate::connection::{Connection, Received, Refusal, Request, Said, understand};
use crate::frames::{TooLarge, standby, welcome};
use crate::{Frames, Limits, Sender};

/// The connection of the engine's own commands. Its frames need no Hello.
pub const ITSELF: u64 = 0;

/// What a Hello is answered by.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// That which is served under. None: it does not lead, or does not serve yet, so Hellos wait.
    pub epoch: Option<u64>,
    /// The newest of the log.
    pub last_epoch: u64,
    pub committed_seq: u64,
}

pub struct Clients {
    shard: String,
    limits: Limits,
    connections: BTreeMap<u64, Connection>,
    waiting: VecDeque<(u64, Request)>,
    waiting_commands: usize,
    resumed: Vec<u64>,
    /// Hellos that wait to be served.
    parked: BTreeMap<u64, v1::Hello>,
}

impl Clients {
    pub fn new(shard: &str, limits: Limits) -> Clients {
        Clients {
            shard: shard.into(),
            limits,
            connections: BTreeMap::from([(ITSELF, Connection::new(Sender::Itself))]),
            waiting: VecDeque::new(),
            waiting_commands: 0,
            resumed: Vec::new(),
            parked: BTreeMap::new(),
        }
    }

    pub fn connect(&mut self, connection: u64, sender: Sender) {
        let new = self
            .connections
            .insert(connection, Connection::new(sender))
            .is_none();
        assert!(new, "connection {connection} is used twice");
    }

    /// What it asked for goes on; nobody gets the replies.
    pub fn disconnect(&mut self, connection: u64) {
        assert_ne!(connection, ITSELF, "the engine's own connection has no end");
        self.connections.remove(&connection);
        self.parked.remove(&connection);
    }

    pub fn knows(&self, connection: u64) -> bool {
        self.connections.contains_key(&connection)
    }

    /// Takes bytes from a connection. After a Problem the connection is gone.
    pub fn receive(&mut self, connection: u64, data: &[u8], standing: Standing) -> Received {
        let mut received = Received::default();
        let Some(mut state) = self.connections.remove(&connection) else {
            received.close = true;
            return received;
        };
        let mut cutter = std::mem::take(&mut state.cutter);
        let mut refusal = None;
        let most = match state.sender {
            Sender::Ledger => self.limits.ledger_frame_bytes,
            Sender::Gateway | Sender::Person(_) | Sender::Reader | Sender::Itself => {
                self.limits.frame_bytes
            }
        };
        let cut = cutter.feed(data, most, |body| {
            match self.take(connection, &mut state, body, standing, &mut received) {
                Ok(()) => true,
                Err(why) => {
                    refusal = Some(why);
                    false
                }
            }
        });
        if let Err(TooLarge { bytes }) = cut {
            let detail =
                format!("a frame of {bytes} bytes was announced, at most {most} are taken");
            refusal = Some(Refusal::new(ProblemCode::TooLarge, detail));
        }
        if let Some(refusal) = refusal {
            received.send.extend(refusal.frame());
            received.close = true;
            self.parked.remove(&connection);
            if connection == ITSELF {
                self.connections.insert(ITSELF, state);
            }
            return received;
        }
        state.cutter = cutter;
        if !state.paused
            && (state.waiting_requests >= self.limits.waiting_requests
                || state.waiting_bytes >= self.limits.waiting_bytes)
        {
            state.paused = true;
            received.pause = true;
        }
        self.connections.insert(connection, state);
        received
    }

    fn take(
        &mut self,
        connection: u64,
        state: &mut Connection,
        body: &[u8],
        standing: Standing,
        received: &mut Received,
    ) -> Result<(), Refusal> {
        match understand(&state.sender, state.greeted, body)? {
            Said::Hello(hello) => match standing.epoch {
                Some(epoch) => {
                    received
                        .send
                        .extend(self.greet(state, &hello, epoch, standing)?);
                }
                None if self.parked.insert(connection, hello).is_some() => {
                    return Err(Refusal::new(ProblemCode::Malformed, "a second Hello"));
                }
                None => {
                    let stands_by = standby(&self.shard, standing.last_epoch);
                    received.send.extend(stands_by);
                }
            },
            Said::Ask(request) => {
                state.waiting_requests += 1;
                state.waiting_bytes += weight(&request);
                self.waiting_commands += usize::from(matches!(request, Request::Command(_)));
                self.waiting.push_back((connection, request));
            }
            Said::Subscribe(from_seq) => received.subscribe = Some(from_seq),
            Said::Passed(passed) => received.pass(passed, standing.committed_seq)?,
        }
        Ok(())
    }

    /// A leader of this epoch answers a Hello, if it may serve one that says this.
    fn greet(
        &self,
        state: &mut Connection,
        hello: &v1::Hello,
        epoch: u64,
        standing: Standing,
    ) -> Result<Vec<u8>, Refusal> {
        if hello.shard != self.shard {
            let detail = format!("this is shard {:?}, not {:?}", self.shard, hello.shard);
            return Err(Refusal::new(ProblemCode::WrongShard, detail));
        }
        if hello.highest_epoch > epoch {
            let detail = format!(
                "this leader has epoch {epoch}; you know of {}",
                hello.highest_epoch
            );
            return Err(Refusal::new(ProblemCode::NotLeader, detail));
        }
        state.greeted = true;
        Ok(welcome(&self.shard, epoch, standing.committed_seq))
    }

    /// The shard is served under `epoch`: what those are told who waited for it.
    pub fn welcome(&mut self, epoch: u64, standing: Standing) -> Frames {
        let mut frames = Frames::new();
        for (connection, hello) in std::mem::take(&mut self.parked) {
            let mut state = (self.connections.remove(&connection))
                .expect("a connection takes its Hello with it");
            let said = self.greet(&mut state, &hello, epoch, standing);
            frames.push((connection, said.unwrap_or_else(Refusal::frame)));
            self.connections.insert(connection, state);
        }
        frames
    }

    /// Nothing waits.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn waiting_commands(&self) -> usize {
        self.waiting_commands
    }

    /// How many of the waiting requests the next batch takes, and what their records take in a segment.
    pub fn next_batch(&self) -> (usize, usize) {
        let (mut bytes, mut log_bytes, mut count) = (0, 0, 0);
        for (_, request) in self.waiting.iter().take(self.limits.batch_requests) {
            let (takes, logs) = match request {
                Request::Command(command) => {
                    (record_bytes(command.len()), record_bytes(command.len()))
                }
                Request::Query(_) => (weight(request), 0),
            };
            bytes += takes;
            if bytes > self.limits.batch_bytes && count > 0 {
                break;
            }
            log_bytes += logs;
            count += 1;
        }
        (count, log_bytes)
    }

    /// The oldest requests that wait.
    pub fn take_batch(&mut self, count: usize) -> Vec<(u64, Request)> {
        let requests: Vec<_> = self.waiting.drain(..count).collect();
        for (connection, request) in &requests {
            self.no_longer_waits(*connection, request);
        }
        requests
    }

    /// All commands that wait. Queries go on waiting.
    pub fn take_commands(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut commands = Vec::new();
        for (connection, request) in std::mem::take(&mut self.waiting) {
            match &request {
                Request::Query(_) => self.waiting.push_back((connection, request)),
                Request::Command(command) => {
                    commands.push((connection, command.clone()));
                    self.no_longer_waits(connection, &request);
                }
            }
        }
        commands
    }

    fn no_longer_waits(&mut self, connection: u64, request: &Request) {
        self.waiting_commands -= usize::from(matches!(request, Request::Command(_)));
        let Some(state) = self.connections.get_mut(&connection) else {
            return;
        };
        state.waiting_requests -= 1;
        state.waiting_bytes -= weight(request);
        if state.paused
            && state.waiting_requests <= self.limits.waiting_requests / 2
            && state.waiting_bytes <= self.limits.waiting_bytes / 2
        {
            state.paused = false;
            self.resumed.push(connection);
        }
    }

    /// Paused connections that may be read from again, each once.
    pub fn resumed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.resumed)
    }
}

fn weight(request: &Request) -> usize {
    match request {
        Request::Command(bytes) => bytes.len(),
        Request::Query(query) => query.encoded_len(),
    }
}
