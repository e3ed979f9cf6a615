//! The engine between its sockets and its disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use openbourse_journal::snapshot::Bad;
use openbourse_journal::{
    Bell, Chain, Error, Known, NotNext, OVERHEAD_MOST, Options, Place, SEGMENT_HEADER_BYTES,
    Storage, Trouble,
};
use openbourse_protocol::v1;
use openbourse_protocol::{HaltInForce, Markets, Shard, Stamp};
use prost::Message;

use crate::appends::{self, Appends};
use crate::clients::{Clients, Standing};
use crate::connection::{Received, Request};
use crate::events::Stream;
use crate::frames::{ANSWER, REPLY, SERVER_FRAME_BYTES, append};
use crate::snapshots::Start;
use crate::stepping::Stepping;
use crate::{Fatal, Limits, Sender};

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
    appends: Appends,
    runs: Vec<(u64, u64)>,
    stepping: Stepping,
    torn: Option<Place>,
    /// What the state began with, which is committed.
    known: Known,
    bad_snapshots: Vec<Bad>,
    /// 0: it does not lead.
    epoch: u64,
    last_epoch: u64,
    last_time_us: i64,
    /// Hellos are answered.
    serves: bool,
    /// Why no command is taken, though the disk takes them.
    suspended: Option<String>,
    clients: Clients,
    on_its_way: Option<OnItsWay>,
    /// The next segment was asked for, and nothing was submitted since.
    rolling: bool,
    /// Answers to commands that the log cannot take, by connection.
    refused: BTreeMap<u64, Vec<u8>>,
    /// Commands that were here before.
    resent: u64,
    /// Of what was collected and not asked for: at most `TRACED_MOST`.
    traced: Vec<Traced>,
}

/// A batch that the kernel has taken and that is perhaps not committed.
struct OnItsWay {
    commands: usize,
    last_seq: u64,
    /// Replies and answers, by connection.
    frames: BTreeMap<u64, Vec<u8>>,
    traced: Vec<Traced>,
}

const TRACED_MOST: usize = 1_000;

/// A command whose request is traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    pub seq: u64,
    /// When its batch began.
    pub time_us: i64,
    pub traceparent: String,
}

impl Pipeline {
    /// Recovers the log, which is this process's own from here on, and begins with the newest good snapshot. Nothing
    /// behind it is carried out yet: who follows learns what is committed, who leads has all of it.
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
        let (known, bad) = (start.known, start.bad);
        let recovered = match appends::read(storage.clone(), shard, options, known) {
            Err(error @ Error::Begins { .. }) => return Err(Fatal::NoSnapshot { error, bad }),
            read => read?,
        };
        let end_seq = recovered.last_seq;
        let stepping = Stepping::new(storage.clone(), start.kernel, known, end_seq, limits);
        let recent_bytes = limits.recent_bytes;
        Ok(Pipeline {
            shard: shard.into(),
            appends: Appends::start(storage.clone(), shard, options, recovered.log, recent_bytes)?,
            runs: recovered.runs,
            stepping,
            torn: recovered.cut,
            known,
            bad_snapshots: bad,
            epoch: 0,
            last_epoch: recovered.last_epoch.max(start.epoch),
            last_time_us: recovered.last_time_us.max(start.time_us),
            serves: false,
            suspended: None,
            clients: Clients::new(shard, limits),
            on_its_way: None,
            rolling: false,
            refused: BTreeMap::new(),
            resent: 0,
            traced: Vec::new(),
        })
    }

    /// Begins to lead: carries out what the log has and is not carried out yet, committed or not. All that is sequenced
    /// from here on carries `epoch`, which is above all epochs of the log. Others than the engine itself still wait.
    pub fn lead(&mut self, epoch: u64) -> Result<(), Fatal> {
        assert_eq!(self.epoch, 0, "an engine begins to lead once");
        if epoch <= self.last_epoch {
            return Err(Fatal::OldEpoch {
                epoch,
                last_epoch: self.last_epoch,
            });
        }
        self.stepping.advance(self.appends.end_seq(), usize::MAX)?;
        self.last_time_us = self.last_time_us.max(self.stepping.last_time_us());
        self.epoch = epoch;
        Ok(())
    }

    /// Serves whoever says Hello. Returns what those are told that waited for it.
    pub fn welcome(&mut self) -> Frames {
        assert!(self.epoch > 0, "only a leader serves");
        self.serves = true;
        self.clients.welcome(self.epoch, self.standing())
    }

    fn standing(&self) -> Standing {
        Standing {
            epoch: self.serves.then_some(self.epoch),
            last_epoch: self.last_epoch,
            committed_seq: self.committed_seq(),
        }
    }

    /// Appends records that the leader has sent; those that are here already are passed over. Returns the new end.
    pub fn follow(&mut self, records: &[u8]) -> Result<u64, Fatal> {
        assert_eq!(self.epoch, 0, "a leader follows nobody");
        let received = self.appends.head().received(records);
        for batch in received.map_err(|NotNext { seq, why }| Fatal::NotNext { seq, why })? {
            let last = batch.records().last().expect("a batch has records");
            (self.last_epoch, self.last_time_us) =
                (last.epoch, self.last_time_us.max(last.time_us));
            let batch = Arc::new(batch);
            self.appends.push(batch.clone());
            self.stepping.receive(batch);
        }
        Ok(self.appends.end_seq())
    }

    /// Cuts the log behind `last_seq`, durably: the leader has something else there. Nothing behind it was committed, so
    /// nothing was carried out by one that follows.
    pub fn cut(&mut self, last_seq: u64) -> Result<(), Fatal> {
        assert_eq!(self.epoch, 0, "a leader cuts nothing");
        let carried_out = self.seq();
        if carried_out > last_seq {
            return Err(Fatal::CutTooDeep {
                last_seq,
                carried_out,
            });
        }
        self.runs = self.appends.cut(last_seq, self.known)?;
        self.last_epoch = self
            .runs
            .last()
            .map_or(self.last_epoch, |(epoch, _)| *epoch);
        self.stepping.cut(self.appends.end_seq());
        Ok(())
    }

    /// Records to send to one whose log is this one's through `after`; see [`Appends::recent`].
    pub fn recent(&self, after: u64, last: u64, bytes_most: usize) -> Option<(u64, Vec<u8>)> {
        self.appends.recent(after, last, bytes_most)
    }

    /// Everything through `seq` is committed: it may be seen.
    pub fn commit(&mut self, seq: u64) {
        self.stepping.commit(seq);
    }

    /// Carries out at most `commands_most` commands of the log, none beyond `through`. Whether it is there.
    pub fn advance(&mut self, through: u64, commands_most: usize) -> Result<bool, Fatal> {
        self.stepping.advance(through, commands_most)
    }

    /// Takes no commands as long as there is a reason.
    pub fn suspend(&mut self, why: Option<String>) {
        self.suspended = why;
    }

    /// Which epoch wrote each seq, as the log was at the start or after the last cut.
    pub fn runs(&self) -> &[(u64, u64)] {
        &self.runs
    }

    /// The last seq of the log, durable or not.
    pub fn end_seq(&self) -> u64 {
        self.appends.end_seq()
    }

    /// Of the last record.
    pub fn chain(&self) -> Chain {
        self.appends.head().chain
    }

    /// Of the record `seq`; None where the log does not say it any more, or not yet.
    pub fn chain_at(&self, seq: u64) -> Result<Option<Chain>, Fatal> {
        Ok(self.appends.chain_at(seq)?)
    }

    /// The log is durable through it. Fails when the writer has given up.
    pub fn durable_seq(&mut self) -> Result<u64, Fatal> {
        self.bell().silence();
        let progress = self.appends.progress();
        if let Some(error) = progress.failed {
            return Err(Fatal::Writer(error));
        }
        self.appends.pump(progress.durable_seq);
        Ok(progress.durable_seq)
    }

    /// Rings when the disk has news: a batch may be collected.
    pub fn bell(&self) -> &Bell {
        self.appends.bell()
    }

    pub fn connect(&mut self, connection: u64, sender: Sender) {
        self.clients.connect(connection, sender);
    }

    /// What it asked for goes on; nobody gets the replies.
    pub fn disconnect(&mut self, connection: u64) {
        self.clients.disconnect(connection);
    }

    /// Takes bytes from a connection. After a Problem the connection is gone.
    pub fn receive(&mut self, connection: u64, data: &[u8]) -> Received {
        self.clients.receive(connection, data, self.standing())
    }

    /// Makes one batch of what waits: sequences it, hands it to the writer, and steps the kernel while the disk works.
    ///
    /// Nothing is sequenced that the log has no room for: the next segment is made first, and while the disk refuses
    /// that, or to write a batch, commands are refused instead.
    pub fn begin(&mut self, now_us: i64) -> Result<Begun, Fatal> {
        // A clock that was set back does not turn the shard's time back.
        self.last_time_us = self.last_time_us.max(now_us);
        assert!(self.epoch > 0, "only a leader makes batches");
        let progress = self.appends.progress();
        if let Some(trouble) = &progress.trouble {
            self.refuse_commands(trouble.why());
        } else if let Some(why) = self.suspended.clone() {
            self.refuse_commands(&why);
        }
        if self.on_its_way.is_some() || self.clients.is_idle() {
            return Ok(match self.refused.is_empty() {
                true => Begun::Nothing,
                false => Begun::Ready,
            });
        }
        if !self.appends.is_idle() {
            // The end of the log that it took over is on its way to the disk.
            return Ok(Begun::Syncing);
        }
        let (count, bytes) = self.clients.next_batch();
        if bytes > progress.room_bytes {
            if !self.rolling {
                self.rolling = true;
                self.appends.roll();
            }
            return Ok(Begun::Syncing);
        }
        self.begin_batch(count)
    }

    fn begin_batch(&mut self, count: usize) -> Result<Begun, Fatal> {
        let requests = self.clients.take_batch(count);
        let commands: Vec<&[u8]> = requests
            .iter()
            .filter_map(|(_, request)| match request {
                Request::Command(bytes) => Some(&bytes[..]),
                Request::Query(_) => None,
            })
            .collect();
        let mut batch = OnItsWay {
            commands: commands.len(),
            last_seq: 0,
            frames: BTreeMap::new(),
            traced: Vec::new(),
        };
        let syncs = !commands.is_empty();
        if syncs {
            self.rolling = false;
            let head = self.appends.head();
            let records = head.batch(self.epoch, self.last_time_us, commands);
            self.appends.push(Arc::new(records));
        }
        for (connection, request) in requests {
            self.carry_out(&mut batch, connection, request)?;
        }
        batch.last_seq = self.seq();
        self.on_its_way = Some(batch);
        Ok(if syncs { Begun::Syncing } else { Begun::Ready })
    }

    /// Answers the commands that wait without sequencing them: one that is here again by its first answer, once that is
    /// committed. Queries go on waiting: they need no room.
    fn refuse_commands(&mut self, why: &str) {
        for (connection, bytes) in self.clients.take_commands() {
            let command = v1::Command::decode(&bytes[..]).expect("it was decoded when it came");
            let first = self.stepping.kernel.first_reply(&command.command_id);
            self.resent += u64::from(first.is_some());
            let (frames, said) = match first {
                Some((seq, first)) if seq <= self.committed_seq() => (&mut self.refused, first),
                Some((seq, first))
                    if self
                        .on_its_way
                        .as_ref()
                        .is_some_and(|batch| seq <= batch.last_seq) =>
                {
                    let batch = self.on_its_way.as_mut().expect("it is");
                    (&mut batch.frames, first)
                }
                _ => {
                    let refusal = self.not_taken(command, why);
                    (&mut self.refused, refusal.encode_to_vec())
                }
            };
            append(frames.entry(connection).or_default(), REPLY, &said);
        }
    }

    /// The answer to a command that was not sequenced and is not remembered.
    fn not_taken(&self, command: v1::Command, why: &str) -> v1::Reply {
        v1::Reply {
            command_id: command.command_id,
            shard: self.shard.clone(),
            epoch: self.epoch,
            seq: 0,
            occurred_at_us: self.last_time_us,
            result: Some(v1::reply::Result::Rejection(v1::Rejection {
                reason: v1::RejectReason::LogUnavailable.into(),
                detail: why.into(),
            })),
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
                    seq: self.seq() + 1,
                    epoch: self.epoch,
                    time_us: self.last_time_us,
                };
                self.stepping.step(stamp, &command, &mut said)?;
                let kernel = &self.stepping.kernel;
                if kernel.was_resent() {
                    self.resent += 1;
                } else if !kernel.traceparent().is_empty() {
                    batch.traced.push(Traced {
                        seq: stamp.seq,
                        time_us: stamp.time_us,
                        traceparent: kernel.traceparent().into(),
                    });
                }
                REPLY
            }
            Request::Query(query) => {
                self.stepping.kernel.answer(self.epoch, &query, &mut said);
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
            seq: self.seq(),
            body: Some(v1::answer::Body::Refused(refused)),
        }
        .encode_to_vec()
    }

    /// Frames that may leave, by connection: those of a batch that is committed, and refusals. None when there are
    /// neither.
    pub fn collect(&mut self) -> Option<Frames> {
        let mut frames = std::mem::take(&mut self.refused);
        let committed_seq = self.committed_seq();
        let committed = self
            .on_its_way
            .take_if(|batch| batch.last_seq <= committed_seq);
        if frames.is_empty() && committed.is_none() {
            return None;
        }
        if let Some(batch) = committed {
            let room = TRACED_MOST - self.traced.len();
            self.traced.extend(batch.traced.into_iter().take(room));
            for (connection, bytes) in batch.frames {
                frames.entry(connection).or_default().extend(bytes);
            }
        }
        let known = |(connection, _): &(u64, Vec<u8>)| self.clients.knows(*connection);
        Some(frames.into_iter().filter(known).collect())
    }

    /// What was collected of commands whose request is traced, each once. What nobody asks for in time is lost.
    pub fn traced(&mut self) -> Vec<Traced> {
        std::mem::take(&mut self.traced)
    }

    /// Paused connections that may be read from again, each once.
    pub fn resumed(&mut self) -> Vec<u64> {
        self.clients.resumed()
    }

    /// The committed stream from `from_seq`.
    pub fn events(&self, from_seq: u64, bytes_most: usize) -> Stream {
        self.stepping.events(self.epoch, from_seq, bytes_most)
    }

    /// Nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.clients.is_idle() && self.on_its_way.is_none()
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

    /// As far as it is known here. A standby may not have carried out all of it yet.
    pub fn committed_seq(&self) -> u64 {
        self.stepping.committed_seq()
    }

    /// The kernel's; a leader's is ahead of the committed seq while a batch is on its way.
    pub fn seq(&self) -> u64 {
        self.stepping.kernel.seq()
    }

    /// Of the state at `seq()`.
    pub fn state_hash(&mut self) -> [u8; 32] {
        self.stepping.kernel.state_hash()
    }

    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        self.stepping.kernel.last_checkpoint()
    }

    /// Of the kernel, for the next command.
    pub fn kernel_version(&self) -> u32 {
        self.stepping.kernel.version().number()
    }

    /// When a Tick would do something, in microseconds; a time that has passed where it would at once.
    pub fn next_due_us(&self) -> Option<i64> {
        self.stepping.kernel.next_due_us()
    }

    pub fn halts(&self) -> Vec<HaltInForce> {
        self.stepping.kernel.halts()
    }

    /// Of the kernel, as `halts` are.
    pub fn markets(&self) -> Vec<Markets> {
        self.stepping.kernel.markets()
    }

    /// Of the kernel, as `halts` are.
    pub fn moved(&self) -> Vec<(String, String)> {
        self.stepping.kernel.moved()
    }

    /// The kernel, which is ahead of the committed seq while a batch is on its way.
    pub fn kernel(&self) -> &Shard {
        &self.stepping.kernel
    }

    /// Commands that wait for a batch, and that are on their way to the disk.
    pub fn pending_commands(&self) -> usize {
        self.clients.waiting_commands() + self.on_its_way.as_ref().map_or(0, |batch| batch.commands)
    }

    /// Commands that came again, and were answered as the first time.
    pub fn resent_commands(&self) -> u64 {
        self.resent
    }

    /// A batch is on its way to the disk, or waits for its segment.
    pub fn is_syncing(&self) -> bool {
        let waits = self.rolling && self.clients.waiting_commands() > 0 && self.trouble().is_none();
        waits || !self.appends.is_idle()
    }

    /// Why commands are refused at the moment: the disk says no, and is asked again.
    pub fn trouble(&self) -> Option<Trouble> {
        self.appends.progress().trouble
    }

    /// Why the next segment could not be made ahead of need: commands will be refused when this one is full.
    pub fn warning(&self) -> Option<String> {
        self.appends.progress().warning
    }

    /// The segment that is written.
    pub fn segment(&self) -> String {
        self.appends.progress().segment
    }

    /// Of the snapshot that this began with; 0 without one.
    pub fn snapshot_seq(&self) -> u64 {
        self.known.seq
    }

    /// Newer ones, which were passed over.
    pub fn bad_snapshots(&self) -> &[Bad] {
        &self.bad_snapshots
    }

    /// The torn end that recovery cut from the log.
    pub fn torn(&self) -> Option<&Place> {
        self.torn.as_ref()
    }
}
