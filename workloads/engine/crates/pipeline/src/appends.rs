//! What goes to the log: batches of the leader's own or of one it follows, in order, one sync each. The newest stay in
//! memory for standbys.

use std::collections::VecDeque;
use std::sync::Arc;

use openbourse_journal::{
    Batch, Bell, Chain, Error, Head, Known, Log, Options, Progress, Recovered, Storage, Writer,
    chain_at, cut, recover,
};

use crate::Fatal;

/// A batch at the disk and one behind it, so that the disk never idles.
const SUBMITTED_MOST: usize = 2;

pub struct Appends {
    storage: Arc<dyn Storage>,
    shard: String,
    options: Options,
    bell: Arc<Bell>,
    /// None only while the log is cut.
    writer: Option<Writer>,
    head: Head,
    /// Not with the writer yet.
    waiting: VecDeque<Arc<Batch>>,
    /// The last seqs of the batches that the writer has and the disk perhaps not.
    submitted: VecDeque<u64>,
    recent: VecDeque<Arc<Batch>>,
    recent_bytes: usize,
    recent_bytes_most: usize,
}

impl Appends {
    pub fn start(
        storage: Arc<dyn Storage>,
        shard: &str,
        options: Options,
        log: Log,
        recent_bytes_most: usize,
    ) -> Result<Appends, Error> {
        let bell = Bell::new().map_err(|source| Error::Io {
            doing: "make an eventfd".into(),
            source,
        })?;
        let mut appends = Appends {
            storage,
            shard: shard.into(),
            options,
            bell: Arc::new(bell),
            writer: None,
            head: log.head(),
            waiting: VecDeque::new(),
            submitted: VecDeque::new(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_bytes_most,
        };
        appends.write_on(log)?;
        Ok(appends)
    }

    fn write_on(&mut self, log: Log) -> Result<(), Error> {
        self.head = log.head();
        self.writer = Some(Writer::start(log, self.bell.clone())?);
        Ok(())
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("the log is not being cut")
    }

    /// Rings when `progress` has changed.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    pub fn progress(&self) -> Progress {
        self.writer().progress()
    }

    /// What the next batch goes on from.
    pub fn head(&self) -> Head {
        self.head
    }

    pub fn end_seq(&self) -> u64 {
        self.head.next_seq - 1
    }

    pub fn push(&mut self, batch: Arc<Batch>) {
        assert_eq!(batch.before(), self.head, "batches follow each other");
        self.head = batch.after();
        self.recent_bytes += batch.bytes().len();
        self.recent.push_back(batch.clone());
        while self.recent_bytes > self.recent_bytes_most && self.recent.len() > 1 {
            let oldest = self.recent.pop_front().expect("more than one");
            self.recent_bytes -= oldest.bytes().len();
        }
        self.waiting.push_back(batch);
        self.pump(self.progress().durable_seq);
    }

    /// Gives the writer what waits, as far as it takes it without a stop.
    pub fn pump(&mut self, durable_seq: u64) {
        while (self.submitted.front()).is_some_and(|last_seq| *last_seq <= durable_seq) {
            self.submitted.pop_front();
        }
        while self.submitted.len() < SUBMITTED_MOST
            && let Some(batch) = self.waiting.pop_front()
        {
            self.submitted.push_back(batch.seqs().end - 1);
            self.writer().submit(batch);
        }
    }

    /// Nothing is on its way to the disk.
    pub fn is_idle(&self) -> bool {
        self.submitted.is_empty() && self.waiting.is_empty()
    }

    pub fn roll(&self) {
        self.writer().roll();
    }

    /// Records from memory: those behind `after` up to `last`, or as many whole batches as stay within `bytes_most`,
    /// but at least one. None: memory does not go back that far, read the segments.
    ///
    /// Where `after` lies within a batch, the batch comes whole.
    pub fn recent(&self, after: u64, last: u64, bytes_most: usize) -> Option<(u64, Vec<u8>)> {
        let oldest = self.recent.front()?.seqs().start;
        if after + 1 < oldest {
            return None;
        }
        let begin = (self.recent).partition_point(|batch| batch.seqs().end <= after + 1);
        let mut bytes = Vec::new();
        let mut through = after;
        for batch in self.recent.range(begin..) {
            if through >= last
                || (through > after && bytes.len() + batch.bytes().len() > bytes_most)
            {
                break;
            }
            bytes.extend_from_slice(batch.bytes());
            through = batch.seqs().end - 1;
        }
        Some((through, bytes))
    }

    /// The chain of the record `seq`, from memory or from its segment; None where the log does not say it.
    pub fn chain_at(&self, seq: u64) -> Result<Option<Chain>, Error> {
        if seq == self.end_seq() {
            return Ok(Some(self.head.chain));
        }
        let mut recent = self.recent.iter();
        match recent.find(|batch| batch.seqs().contains(&seq)) {
            Some(batch) => {
                let record = batch.records().find(|record| record.seq == seq);
                Ok(record.map(|record| record.chain))
            }
            None => chain_at(&self.storage, seq),
        }
    }

    /// Cuts the log behind `last_seq`, durably, and reads it again as a boot does. `known` is of a state that the log
    /// goes on from. Returns its runs.
    pub fn cut(&mut self, last_seq: u64, known: Known) -> Result<Vec<(u64, u64)>, Fatal> {
        self.waiting.clear();
        // Writes what it has first: that is cut as well.
        self.writer = None;
        self.submitted.clear();
        self.recent.clear();
        self.recent_bytes = 0;
        cut(&*self.storage, last_seq)?;
        let recovered = read(self.storage.clone(), &self.shard, self.options, known)?;
        self.write_on(recovered.log)?;
        Ok(recovered.runs)
    }
}

/// Recovers the log; what it has is durable afterwards. `known` is of a state that it goes on from.
pub fn read(
    storage: Arc<dyn Storage>,
    shard: &str,
    options: Options,
    known: Known,
) -> Result<Recovered, Error> {
    recover(storage, shard, options, known, |_| Ok::<(), Error>(()))
}
