//! The engine between its sockets and its disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use openbourse_journal::{Batch, Bell, Log, Options, Place, Storage, Writer, recover};
use openbourse_protocol::v1::{self, ProblemCode};
use openbourse_protocol::{HaltInForce, Shard, Stamp};
use prost::Message;

use crate::connection::{Connection, Received, Refusal, Request, Said, understand};
use crate::events::{Ring, Stream};
use crate::frames::{ANSWER, REPLY, SERVER_FRAME_BYTES, TooLarge, append, welcome};
use crate::{Fatal, Limits, Sender};

/// The connection of the engine's own commands. Its frames need no Hello.
pub const ITSELF: u64 = 0;

/// Frames to be sent, by connection.
pub type Frames = Vec<(u64, Vec<u8>)>;

/// What became of a try to begin a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Nothing waits, or a batch is on its way already.
    Nothing,
    /// A batch is on its way to the disk; the bell will ring.
    Syncing,
    /// A batch of queries only: collect it at once.
    Ready,
}

pub struct Pipeline {
    shard: String,
    limits: Limits,
    kernel: Shard,
    log: Option<Log>,
    writer: Option<Writer>,
    cut: Option<Place>,
    epoch: u64,
    last_epoch: u64,
    last_time_us: i64,
    committed_seq: u64,
    connections: BTreeMap<u64, Connection>,
    waiting: VecDeque<(u64, Request)>,
    waiting_commands: usize,
    resumed: Vec<u64>,
    on_its_way: Option<OnItsWay>,
    ring: Ring,
}

/// A batch that the kernel has taken and the disk perhaps not.
struct OnItsWay {
    last_seq: u64,
    /// Replies and answers, by connection.
    frames: BTreeMap<u64, Vec<u8>>,
    /// Of each command.
    events: Vec<Vec<u8>>,
}

impl Pipeline {
    /// Recovers the log and replays it into a new kernel. The log is this process's own from here on.
    pub fn open(
        storage: Arc<dyn Storage>,
        shard: &str,
        limits: Limits,
        options: Options,
    ) -> Result<Pipeline, Fatal> {
        let mut kernel = Shard::new(shard);
        let mut ring = Ring::new(limits);
        let mut reply = Vec::new();
        let recovered = recover(storage, shard, options, |record| -> Result<(), Fatal> {
            let stamp = Stamp {
                seq: record.seq,
                epoch: record.epoch,
                time_us: record.time_us,
            };
            let mut events = Vec::new();
            reply.clear();
            kernel.step(stamp, record.payload, &mut reply, &mut events)?;
            ring.push(events);
            Ok(())
        })?;
        Ok(Pipeline {
            shard: shard.into(),
            limits,
            kernel,
            log: Some(recovered.log),
            writer: None,
            cut: recovered.cut,
            epoch: 0,
            last_epoch: recovered.last_epoch,
            last_time_us: recovered.last_time_us,
            committed_seq: recovered.last_seq,
            connections: BTreeMap::from([(ITSELF, Connection::new(Sender::Itself))]),
            waiting: VecDeque::new(),
            waiting_commands: 0,
            resumed: Vec::new(),
            on_its_way: None,
            ring,
        })
    }

    /// Starts the writer. All that is sequenced from here on carries `epoch`, which is above all epochs of the log.
    pub fn lead(&mut self, epoch: u64) -> Result<(), Fatal> {
        if epoch <= self.last_epoch {
            return Err(Fatal::OldEpoch {
                epoch,
                last_epoch: self.last_epoch,
            });
        }
        let log = self.log.take().expect("an engine begins to lead once");
        self.epoch = epoch;
        self.writer = Some(Writer::start(log)?);
        Ok(())
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("the engine leads")
    }

    /// Rings when a batch may be collected.
    pub fn bell(&self) -> &Bell {
        self.writer().bell()
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
    }

    /// Takes bytes from a connection. After a Problem the connection is gone.
    pub fn receive(&mut self, connection: u64, data: &[u8]) -> Received {
        let mut received = Received::default();
        let Some(mut state) = self.connections.remove(&connection) else {
            received.close = true;
            return received;
        };
        let mut cutter = std::mem::take(&mut state.cutter);
        let mut refusal = None;
        let cut = cutter.feed(data, self.limits.frame_bytes, |body| {
            match self.take(connection, &mut state, body, &mut received) {
                Ok(()) => true,
                Err(why) => {
                    refusal = Some(why);
                    false
                }
            }
        });
        if let Err(TooLarge { bytes }) = cut {
            let most = self.limits.frame_bytes;
            let detail =
                format!("a frame of {bytes} bytes was announced, at most {most} are taken");
            refusal = Some(Refusal::new(ProblemCode::TooLarge, detail));
        }
        if let Some(refusal) = refusal {
            received.send.extend(refusal.frame());
            received.close = true;
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
        received: &mut Received,
    ) -> Result<(), Refusal> {
        match understand(state.sender, state.greeted, body)? {
            Said::Hello(hello) => {
                self.greet(&hello)?;
                state.greeted = true;
                received
                    .send
                    .extend(welcome(&self.shard, self.epoch, self.committed_seq));
            }
            Said::Ask(request) => {
                state.waiting_requests += 1;
                state.waiting_bytes += weight(&request);
                self.waiting_commands += usize::from(matches!(request, Request::Command(_)));
                self.waiting.push_back((connection, request));
            }
            Said::Subscribe(from_seq) => received.subscribe = Some(from_seq),
        }
        Ok(())
    }

    fn greet(&self, hello: &v1::Hello) -> Result<(), Refusal> {
        if hello.shard != self.shard {
            let detail = format!("this is shard {:?}, not {:?}", self.shard, hello.shard);
            return Err(Refusal::new(ProblemCode::WrongShard, detail));
        }
        if hello.highest_epoch > self.epoch {
            let detail = format!(
                "this leader has epoch {}; you know of {}",
                self.epoch, hello.highest_epoch
            );
            return Err(Refusal::new(ProblemCode::NotLeader, detail));
        }
        Ok(())
    }

    /// Makes one batch of what waits: sequences it, hands it to the writer, and steps the kernel while the disk works.
    pub fn begin(&mut self, now_us: i64) -> Result<Begun, Fatal> {
        if self.on_its_way.is_some() || self.waiting.is_empty() {
            return Ok(Begun::Nothing);
        }
        let requests = self.take_batch();
        let commands: Vec<Vec<u8>> = requests
            .iter()
            .filter_map(|(_, request)| match request {
                Request::Command(bytes) => Some(bytes.clone()),
                Request::Query(_) => None,
            })
            .collect();
        let syncs = !commands.is_empty();
        // A clock that was set back does not turn the shard's time back.
        self.last_time_us = self.last_time_us.max(now_us);
        if syncs {
            self.writer().submit(Batch {
                epoch: self.epoch,
                time_us: self.last_time_us,
                first_seq: self.kernel.seq() + 1,
                commands: Arc::new(commands),
            });
        }
        let mut batch = OnItsWay {
            last_seq: 0,
            frames: BTreeMap::new(),
            events: Vec::new(),
        };
        for (connection, request) in requests {
            self.carry_out(&mut batch, connection, request)?;
        }
        batch.last_seq = self.kernel.seq();
        self.on_its_way = Some(batch);
        Ok(if syncs { Begun::Syncing } else { Begun::Ready })
    }

    fn take_batch(&mut self) -> Vec<(u64, Request)> {
        let mut bytes = 0;
        let count = self
            .waiting
            .iter()
            .take(self.limits.batch_requests)
            .take_while(|(_, request)| {
                bytes += weight(request);
                bytes <= self.limits.batch_bytes
            })
            .count()
            .max(1);
        let batch: Vec<_> = self.waiting.drain(..count).collect();
        for (connection, request) in &batch {
            self.waiting_commands -= usize::from(matches!(request, Request::Command(_)));
            let Some(state) = self.connections.get_mut(connection) else {
                continue;
            };
            state.waiting_requests -= 1;
            state.waiting_bytes -= weight(request);
            if state.paused
                && state.waiting_requests <= self.limits.waiting_requests / 2
                && state.waiting_bytes <= self.limits.waiting_bytes / 2
            {
                state.paused = false;
                self.resumed.push(*connection);
            }
        }
        batch
    }

    fn carry_out(
        &mut self,
        batch: &mut OnItsWay,
        connection: u64,
        request: Request,
    ) -> Result<(), Fatal> {
        let mut said = Vec::new();
        let field = match request {
            Request::Command(command) => {
                let stamp = Stamp {
                    seq: self.kernel.seq() + 1,
                    epoch: self.epoch,
                    time_us: self.last_time_us,
                };
                let mut events = Vec::new();
                self.kernel.step(stamp, &command, &mut said, &mut events)?;
                batch.events.push(events);
                REPLY
            }
            Request::Query(query) => {
                self.kernel.answer(self.epoch, &query, &mut said);
                if said.len() > SERVER_FRAME_BYTES - 16 {
                    said = self.refuse_large_answer(&query, said.len());
                }
                ANSWER
            }
        };
        append(batch.frames.entry(connection).or_default(), field, &said);
        Ok(())
    }

    fn refuse_large_answer(&self, query: &v1::Query, bytes: usize) -> Vec<u8> {
        let refused = v1::QueryRefused {
            reason: v1::RejectReason::Invalid.into(),
            detail: format!(
                "the answer has {bytes} bytes, more than a frame of {SERVER_FRAME_BYTES} holds: ask for less"
            ),
        };
        v1::Answer {
            query_id: query.query_id,
            shard: self.shard.clone(),
            epoch: self.epoch,
            seq: self.kernel.seq(),
            body: Some(v1::answer::Body::Refused(refused)),
        }
        .encode_to_vec()
    }

    /// The frames of a batch that is durable, by connection; none while it is not. Its events are on the stream now.
    pub fn collect(&mut self) -> Result<Option<Frames>, Fatal> {
        self.bell().silence();
        let progress = self.writer().progress();
        if let Some(error) = progress.failed {
            return Err(Fatal::Writer(error));
        }
        let Some(batch) = self
            .on_its_way
            .take_if(|batch| batch.last_seq <= progress.durable_seq)
        else {
            return Ok(None);
        };
        self.committed_seq = batch.last_seq;
        batch
            .events
            .into_iter()
            .for_each(|events| self.ring.push(events));
        let known = |(connection, _): &(u64, Vec<u8>)| self.connections.contains_key(connection);
        Ok(Some(batch.frames.into_iter().filter(known).collect()))
    }

    /// Paused connections that may be read from again, each once.
    pub fn resumed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.resumed)
    }

    /// The committed stream from `from_seq`.
    pub fn events(&self, from_seq: u64, bytes_most: usize) -> Stream {
        self.ring.frame(self.epoch, from_seq, bytes_most)
    }

    /// Nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.on_its_way.is_none()
    }

    pub fn shard(&self) -> &str {
        &self.shard
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The highest epoch of the log when it was opened.
    pub fn last_epoch(&self) -> u64 {
        self.last_epoch
    }

    pub fn committed_seq(&self) -> u64 {
        self.committed_seq
    }

    /// The kernel's; ahead of the committed seq while a batch is on its way.
    pub fn seq(&self) -> u64 {
        self.kernel.seq()
    }

    /// Of the state at `seq()`.
    pub fn state_hash(&self) -> [u8; 32] {
        self.kernel.state_hash()
    }

    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        self.kernel.last_checkpoint()
    }

    /// Of the kernel, for the next command.
    pub fn kernel_version(&self) -> u32 {
        self.kernel.version().number()
    }

    /// When a Tick would do something, in microseconds; a time that has passed where it would at once.
    pub fn next_due_us(&self) -> Option<i64> {
        self.kernel.next_due_us()
    }

    pub fn halts(&self) -> Vec<HaltInForce> {
        self.kernel.halts()
    }

    /// Commands that wait for a batch, and that are on their way to the disk.
    pub fn pending_commands(&self) -> usize {
        self.waiting_commands
            + self
                .on_its_way
                .as_ref()
                .map_or(0, |batch| batch.events.len())
    }

    /// The segment that is written.
    pub fn segment(&self) -> String {
        self.writer().progress().segment
    }

    /// The torn end that recovery cut from the log.
    pub fn cut(&self) -> Option<&Place> {
        self.cut.as_ref()
    }
}

fn weight(request: &Request) -> usize {
    match request {
        Request::Command(bytes) => bytes.len(),
        Request::Query(query) => query.encoded_len(),
    }
}
