//! The engine between its sockets and its disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use openbourse_journal::retention::{Passed, retain};
use openbourse_journal::snapshot::Bad;
use openbourse_journal::{
    Batch, Bell, Error, Log, OVERHEAD_MOST, Options, Place, Progress, Record, SEGMENT_HEADER_BYTES,
    Storage, Trouble, Writer, record_bytes, recover,
};
use openbourse_protocol::v1::{self, ProblemCode};
use openbourse_protocol::{HaltInForce, Shard, Stamp};
use prost::Message;

use crate::connection::{Connection, Received, Refusal, Request, Said, understand};
use crate::events::{Ring, Stream};
use crate::frames::{ANSWER, REPLY, SERVER_FRAME_BYTES, TooLarge, append, welcome};
use crate::snapshots::Start;
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
    /// The disk is at work, on a batch or on the next segment; the bell will ring.
    Syncing,
    /// Queries only, or refusals: collect them at once.
    Ready,
}

pub struct Pipeline {
    shard: String,
    limits: Limits,
    storage: Arc<dyn Storage>,
    kernel: Shard,
    log: Option<Log>,
    writer: Option<Writer>,
    cut: Option<Place>,
    snapshot_seq: u64,
    bad_snapshots: Vec<Bad>,
    epoch: u64,
    last_epoch: u64,
    last_time_us: i64,
    committed_seq: u64,
    connections: BTreeMap<u64, Connection>,
    waiting: VecDeque<(u64, Request)>,
    waiting_commands: usize,
    resumed: Vec<u64>,
    on_its_way: Option<OnItsWay>,
    /// The next segment was asked for, and nothing was submitted since.
    rolling: bool,
    /// Refusals of commands that the log cannot take, by connection.
    refused: BTreeMap<u64, Vec<u8>>,
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
    /// Recovers the log and replays what is behind the newest good snapshot into it, or all of it into a new kernel.
    /// The log is this process's own from here on.
    pub fn open(
        storage: Arc<dyn Storage>,
        shard: &str,
        mut limits: Limits,
        options: Options,
    ) -> Result<Pipeline, Fatal> {
        // What no segment takes would wait for one for ever.
        let segment_takes = options.segment_bytes - SEGMENT_HEADER_BYTES;
        limits.batch_bytes = limits.batch_bytes.min(segment_takes);
        limits.frame_bytes = limits.frame_bytes.min(segment_takes - OVERHEAD_MOST);
        let start = Start::newest(&*storage, shard, u64::MAX)?;
        let (mut kernel, known, bad) = (start.kernel, start.known, start.bad);
        let mut ring = Ring::starting_at(known.seq + 1, limits);
        let mut reply = Vec::new();
        let step = |record: &Record| -> Result<(), Fatal> {
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
        };
        let recovered = match recover(storage.clone(), shard, options, known, step) {
            Err(Fatal::Log(error @ Error::Begins { .. })) => {
                return Err(Fatal::NoSnapshot { error, bad });
            }
            recovered => recovered?,
        };
        Ok(Pipeline {
            shard: shard.into(),
            limits,
            storage,
            kernel,
            log: Some(recovered.log),
            writer: None,
            cut: recovered.cut,
            epoch: 0,
            snapshot_seq: known.seq,
            bad_snapshots: bad,
            last_epoch: recovered.last_epoch.max(start.epoch),
            last_time_us: recovered.last_time_us.max(start.time_us),
            committed_seq: recovered.last_seq,
            connections: BTreeMap::from([(ITSELF, Connection::new(Sender::Itself))]),
            waiting: VecDeque::new(),
            waiting_commands: 0,
            resumed: Vec::new(),
            on_its_way: None,
            rolling: false,
            refused: BTreeMap::new(),
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
            Said::Passed(seq) => received.pass(seq, self.committed_seq)?,
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
    ///
    /// Nothing is sequenced that the log has no room for: the next segment is made first, and while the disk refuses
    /// that, or to write a batch, commands are refused instead.
    pub fn begin(&mut self, now_us: i64) -> Result<Begun, Fatal> {
        // A clock that was set back does not turn the shard's time back.
        self.last_time_us = self.last_time_us.max(now_us);
        let progress = self.writer().progress();
        if let Some(trouble) = &progress.trouble {
            self.refuse_commands(trouble);
        }
        if self.on_its_way.is_some() || self.waiting.is_empty() {
            return Ok(match self.refused.is_empty() {
                true => Begun::Nothing,
                false => Begun::Ready,
            });
        }
        let count = self.batch_requests();
        if !self.has_room(count, &progress) {
            if !self.rolling {
                self.rolling = true;
                self.writer().roll();
            }
            return Ok(Begun::Syncing);
        }
        self.begin_batch(count)
    }

    fn begin_batch(&mut self, count: usize) -> Result<Begun, Fatal> {
        let requests: Vec<_> = self.waiting.drain(..count).collect();
        for (connection, request) in &requests {
            self.no_longer_waits(*connection, request);
        }
        let commands: Vec<Vec<u8>> = requests
            .iter()
            .filter_map(|(_, request)| match request {
                Request::Command(bytes) => Some(bytes.clone()),
                Request::Query(_) => None,
            })
            .collect();
        let syncs = !commands.is_empty();
        if syncs {
            self.rolling = false;
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

    /// How many of the waiting requests the next batch takes.
    fn batch_requests(&self) -> usize {
        let mut bytes = 0;
        self.waiting
            .iter()
            .take(self.limits.batch_requests)
            .take_while(|(_, request)| {
                bytes += match request {
                    Request::Command(command) => record_bytes(command.len()),
                    Request::Query(_) => weight(request),
                };
                bytes <= self.limits.batch_bytes
            })
            .count()
            .max(1)
    }

    fn has_room(&self, count: usize, progress: &Progress) -> bool {
        let commands = self
            .waiting
            .iter()
            .take(count)
            .map(|(_, request)| match request {
                Request::Command(command) => record_bytes(command.len()),
                Request::Query(_) => 0,
            });
        commands.sum::<usize>() <= progress.room_bytes
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

    /// Answers the commands that wait without sequencing them. Queries go on waiting: they need no room.
    fn refuse_commands(&mut self, trouble: &Trouble) {
        for (connection, request) in std::mem::take(&mut self.waiting) {
            let Request::Command(command) = &request else {
                self.waiting.push_back((connection, request));
                continue;
            };
            let refusal = not_taken(command, &self.shard, self.epoch, self.last_time_us, trouble);
            let frames = self.refused.entry(connection).or_default();
            append(frames, REPLY, &refusal.encode_to_vec());
            self.no_longer_waits(connection, &request);
        }
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

    /// Frames that may leave, by connection: those of a batch that is durable, and refusals. None when there are
    /// neither. The events of the batch are on the stream now.
    pub fn collect(&mut self) -> Result<Option<Frames>, Fatal> {
        self.bell().silence();
        let progress = self.writer().progress();
        if let Some(error) = progress.failed {
            return Err(Fatal::Writer(error));
        }
        let mut frames = std::mem::take(&mut self.refused);
        let durable = self
            .on_its_way
            .take_if(|batch| batch.last_seq <= progress.durable_seq);
        if frames.is_empty() && durable.is_none() {
            return Ok(None);
        }
        if let Some(batch) = durable {
            self.committed_seq = batch.last_seq;
            batch
                .events
                .into_iter()
                .for_each(|events| self.ring.push(events));
            for (connection, bytes) in batch.frames {
                frames.entry(connection).or_default().extend(bytes);
            }
        }
        let known = |(connection, _): &(u64, Vec<u8>)| self.connections.contains_key(connection);
        Ok(Some(frames.into_iter().filter(known).collect()))
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
    pub fn state_hash(&mut self) -> [u8; 32] {
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

    /// The kernel, which is ahead of the committed seq while a batch is on its way.
    pub fn kernel(&self) -> &Shard {
        &self.kernel
    }

    /// Commands that wait for a batch, and that are on their way to the disk.
    pub fn pending_commands(&self) -> usize {
        self.waiting_commands
            + self
                .on_its_way
                .as_ref()
                .map_or(0, |batch| batch.events.len())
    }

    /// A batch is on its way to the disk, or waits for its segment.
    pub fn is_syncing(&self) -> bool {
        let waits = self.rolling && self.waiting_commands > 0 && self.trouble().is_none();
        waits || self.on_its_way.is_some()
    }

    /// Why commands are refused at the moment: the disk says no, and is asked again.
    pub fn trouble(&self) -> Option<Trouble> {
        self.writer().progress().trouble
    }

    /// Why the next segment could not be made ahead of need: commands will be refused when this one is full.
    pub fn warning(&self) -> Option<String> {
        self.writer().progress().warning
    }

    /// Recycles the segments that nobody needs any more, never the newest. Returns their names.
    pub fn retain(&self, passed: &Passed) -> Result<Vec<String>, Error> {
        retain(&*self.storage, passed.needed_from())
    }

    /// The segment that is written.
    pub fn segment(&self) -> String {
        self.writer().progress().segment
    }

    /// Of the snapshot that this began with; 0 without one.
    pub fn snapshot_seq(&self) -> u64 {
        self.snapshot_seq
    }

    /// Newer ones, which were passed over.
    pub fn bad_snapshots(&self) -> &[Bad] {
        &self.bad_snapshots
    }

    /// The torn end that recovery cut from the log.
    pub fn cut(&self) -> Option<&Place> {
        self.cut.as_ref()
    }
}

/// The answer to a command that was not sequenced and is not remembered.
fn not_taken(command: &[u8], shard: &str, epoch: u64, now_us: i64, trouble: &Trouble) -> v1::Reply {
    let command = v1::Command::decode(command).expect("it was decoded when it came");
    v1::Reply {
        command_id: command.command_id,
        shard: shard.into(),
        epoch,
        seq: 0,
        occurred_at_us: now_us,
        result: Some(v1::reply::Result::Rejection(v1::Rejection {
            reason: v1::RejectReason::LogUnavailable.into(),
            detail: trouble.why().into(),
        })),
    }
}

fn weight(request: &Request) -> usize {
    match request {
        Request::Command(bytes) => bytes.len(),
        Request::Query(query) => query.encoded_len(),
    }
}
