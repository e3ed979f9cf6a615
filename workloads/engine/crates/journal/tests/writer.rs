//! The writer thread and a reader beside it, on a real folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{
    Batch, Bell, Error, Folder, Head, Known, Log, Options, Progress, Reader, Recovered, Storage,
    Trouble, Writer, recover,
};

/// The writer, what rings when it has news, and the head of what was submitted.
struct Writing {
    writer: Writer,
    bell: Arc<Bell>,
    head: Head,
}

impl Writing {
    fn on(log: Log) -> Writing {
        let (bell, head) = (Arc::new(Bell::new().unwrap()), log.head());
        let writer = Writer::start(log, bell.clone()).unwrap();
        Writing { writer, bell, head }
    }

    /// Returns how many bytes they take.
    fn submit(&mut self, commands: u64) -> usize {
        let batch = batch(self.head, commands);
        self.head = batch.after();
        let bytes = batch.bytes().len();
        self.writer.submit(Arc::new(batch));
        bytes
    }

    fn until(&self, done: impl Fn(&Progress) -> bool) -> Progress {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.bell.silence();
            let progress = self.writer.progress();
            if done(&progress) {
                return progress;
            }
            assert!(Instant::now() < deadline, "{progress:?}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

fn batch(head: Head, commands: u64) -> Batch {
    let seqs = head.next_seq..head.next_seq + commands;
    head.batch(1, 0, seqs.map(|seq| [seq as u8; 100]))
}

fn open(storage: Arc<dyn Storage>, options: Options) -> Recovered {
    recover(storage, "main", options, Known::default(), |_| {
        Ok::<(), Error>(())
    })
    .unwrap()
}

#[test]
fn a_reader_follows_the_writer_through_segments_that_are_made_ahead() {
    let folder = std::env::temp_dir().join(format!("openbourse-writer-{}", std::process::id()));
    let options = Options {
        segment_bytes: 64 << 10,
        ahead: true,
        retry: Duration::from_millis(1),
    };
    let log = open(Arc::new(Folder::exclusive(&folder).unwrap()), options).log;
    let mut writing = Writing::on(log);
    let mut reader = Reader::new(Arc::new(Folder::shared(&folder)));
    let mut next_seq = 1;
    for size in (1..60).cycle().take(120) {
        writing.submit(size);
        next_seq += size;
        let durable_seq = writing
            .until(|progress| progress.durable_seq + 1 == next_seq)
            .durable_seq;
        while let Some(record) = reader.next(durable_seq).unwrap() {
            assert_eq!(record.payload, [record.seq as u8; 100]);
        }
        assert_eq!(reader.next_seq(), next_seq);
    }
    let segment = writing.writer.progress().segment;
    drop(writing);
    assert!(
        segment > openbourse_journal::segment_name(2000),
        "{segment}"
    );
    let again = open(Arc::new(Folder::exclusive(&folder).unwrap()), options);
    assert_eq!(again.last_seq + 1, next_seq);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn two_writers_never_have_one_folder() {
    let folder = std::env::temp_dir().join(format!("openbourse-lock-{}", std::process::id()));
    let first = Folder::exclusive(&folder).unwrap();
    assert!(matches!(
        Folder::exclusive(&folder).map(|_| ()),
        Err(Error::Locked { .. })
    ));
    drop(first);
    Folder::exclusive(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

fn small(disk: &LossyDisk) -> Recovered {
    let options = Options {
        segment_bytes: 16 << 10,
        ahead: false,
        retry: Duration::from_millis(1),
    };
    open(Arc::new(disk.clone()), options)
}

#[test]
fn a_writer_whose_disk_fails_acknowledges_nothing_and_goes_on_when_the_disk_does() {
    let disk = LossyDisk::new();
    let mut writing = Writing::on(small(&disk).log);
    writing.submit(2);
    writing.until(|progress| progress.durable_seq == 2);
    disk.fail(disk.steps() + 1..u64::MAX);
    writing.submit(2);
    let progress = writing.until(|progress| progress.trouble.is_some());
    assert!(
        matches!(&progress.trouble, Some(Trouble::NotWritten(why)) if why.contains("reports an error"))
    );
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(writing.writer.progress().durable_seq, 2);
    disk.fail(0..0);
    let progress = writing.until(|progress| progress.durable_seq == 4);
    assert_eq!(progress.trouble, None);
    writing.submit(1);
    writing.until(|progress| progress.durable_seq == 5);
}

#[test]
fn a_writer_without_room_for_a_segment_says_so_and_goes_on_when_there_is() {
    let disk = LossyDisk::new();
    let mut writing = Writing::on(small(&disk).log);
    disk.bound(Some(disk.used_bytes()));
    writing.submit(60);
    let progress = writing.until(|progress| progress.durable_seq == 60);
    assert_eq!(progress.trouble, None, "it fits into its segment");
    let bytes = batch(writing.head, 60).bytes().len();
    assert!(bytes > progress.room_bytes);
    writing.writer.roll();
    let progress = writing.until(|progress| progress.trouble.is_some());
    assert!(matches!(progress.trouble, Some(Trouble::NoRoom(_))));
    disk.bound(None);
    let progress = writing.until(|progress| progress.trouble.is_none());
    assert!(bytes <= progress.room_bytes);
    writing.submit(60);
    writing.until(|progress| progress.durable_seq == 120);
}

/// The log is read back before it is written on: what was acknowledged is gone, so nothing more may be.
#[test]
fn a_writer_that_cannot_read_back_what_it_acknowledged_gives_up() {
    let disk = LossyDisk::new();
    let mut writing = Writing::on(small(&disk).log);
    writing.submit(2);
    writing.until(|progress| progress.durable_seq == 2);
    disk.fail(disk.steps()..u64::MAX);
    writing.submit(2);
    let segment = writing.until(|progress| progress.trouble.is_some()).segment;
    disk.edit(&segment, |bytes| bytes[4096 + 90] ^= 1);
    disk.fail(0..0);
    let progress = writing.until(|progress| progress.failed.is_some());
    assert!(progress.failed.unwrap().contains("(seq 1)"));
    assert_eq!(progress.durable_seq, 2);
}

#[test]
fn a_writer_in_trouble_ends_when_it_is_dropped() {
    let disk = LossyDisk::new();
    let mut recovered = small(&disk);
    recovered
        .log
        .append(&batch(recovered.log.head(), 2))
        .unwrap();
    let mut writing = Writing::on(recovered.log);
    disk.end_at(disk.steps());
    writing.submit(2);
    writing.until(|progress| progress.trouble.is_some());
    drop(writing);
    assert_eq!(small(&disk.after_power_loss(Survives::Nothing)).last_seq, 2);
}

#[test]
fn a_writer_that_panics_says_so() {
    let log = open(
        Arc::new(LossyDisk::new()),
        Options {
            segment_bytes: 16 << 10,
            ahead: false,
            retry: Duration::from_millis(1),
        },
    )
    .log;
    let mut writing = Writing::on(log);
    writing.head.next_seq = 7;
    writing.submit(1);
    assert!(
        writing
            .until(|progress| progress.failed.is_some())
            .failed
            .unwrap()
            .contains("panicked")
    );
}
