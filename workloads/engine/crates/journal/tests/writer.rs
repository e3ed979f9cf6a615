//! The writer thread and a reader beside it, on a real folder.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openbourse_journal::lossy::LossyDisk;
use openbourse_journal::{
    Batch, Error, Folder, Options, Progress, Reader, Recovered, Storage, Writer, recover,
};

fn batch(first_seq: u64, commands: u64) -> Batch {
    let commands = (first_seq..first_seq + commands)
        .map(|seq| vec![seq as u8; 100])
        .collect();
    Batch {
        epoch: 1,
        time_us: 0,
        first_seq,
        commands: Arc::new(commands),
    }
}

fn open(storage: Arc<dyn Storage>, options: Options) -> Recovered {
    recover(storage, "main", options, |_| Ok::<(), Error>(())).unwrap()
}

fn until(writer: &Writer, done: impl Fn(&Progress) -> bool) -> Progress {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        writer.bell().silence();
        let progress = writer.progress();
        if done(&progress) {
            return progress;
        }
        assert!(Instant::now() < deadline, "{progress:?}");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn a_reader_follows_the_writer_through_segments_that_are_made_ahead() {
    let folder = std::env::temp_dir().join(format!("openbourse-writer-{}", std::process::id()));
    let options = Options {
        segment_bytes: 64 << 10,
        ahead: true,
    };
    let log = open(Arc::new(Folder::exclusive(&folder).unwrap()), options).log;
    let writer = Writer::start(log).unwrap();
    let mut reader = Reader::new(Arc::new(Folder::shared(&folder)));
    let mut next_seq = 1;
    for size in (1..60).cycle().take(120) {
        writer.submit(batch(next_seq, size));
        next_seq += size;
        let durable_seq =
            until(&writer, |progress| progress.durable_seq + 1 == next_seq).durable_seq;
        while let Some(record) = reader.next(durable_seq).unwrap() {
            assert_eq!(record.payload, [record.seq as u8; 100]);
        }
        assert_eq!(reader.next_seq(), next_seq);
    }
    let segment = writer.progress().segment;
    drop(writer);
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

#[test]
fn a_writer_whose_disk_fails_says_so_and_acknowledges_nothing_more() {
    let disk = LossyDisk::new();
    let writer = Writer::start(
        open(
            Arc::new(disk.clone()),
            Options {
                segment_bytes: 16 << 10,
                ahead: false,
            },
        )
        .log,
    );
    let writer = writer.unwrap();
    writer.submit(batch(1, 2));
    until(&writer, |progress| progress.durable_seq == 2);
    disk.end_at(disk.steps() + 1);
    writer.submit(batch(3, 2));
    let progress = until(&writer, |progress| progress.failed.is_some());
    assert_eq!(progress.durable_seq, 2);
    assert!(progress.failed.unwrap().contains("the power is gone"));
    writer.submit(batch(5, 1));
    assert_eq!(writer.progress().durable_seq, 2);
}

#[test]
fn a_writer_that_panics_says_so() {
    let log = open(
        Arc::new(LossyDisk::new()),
        Options {
            segment_bytes: 16 << 10,
            ahead: false,
        },
    )
    .log;
    let writer = Writer::start(log).unwrap();
    writer.submit(batch(7, 1));
    assert!(
        until(&writer, |progress| progress.failed.is_some())
            .failed
            .unwrap()
            .contains("panicked")
    );
}
