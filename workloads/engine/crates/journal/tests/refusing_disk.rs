//! A disk that is full, or that refuses for a while: nothing acknowledged is lost, and the same log goes on.
//!
//! `SIMULATION_SEEDS` says how many disks each case is tried with.

use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{Batch, Error, Known, Log, Options, Recovered, recover};

const OPTIONS: Options = Options {
    segment_bytes: 12 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};
/// Two rolls to a next segment are among them.
const BATCHES: [u64; 9] = [1, 4, 2, 7, 1, 5, 6, 3, 1];
const TRIES_MOST: usize = 30;

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").map_or(4, |count| count.parse().expect("a number"))
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8 | 1; 150 + (seq as usize * 193) % 900]
}

fn batch(log: &Log, commands: u64) -> Batch {
    let seqs = log.next_seq()..log.next_seq() + commands;
    log.head().batch(1, 0, seqs.map(payload))
}

/// Checks on the way that every record is the one that was submitted under its seq.
fn open(disk: &LossyDisk) -> Result<Recovered, Error> {
    recover(
        Arc::new(disk.clone()),
        "main",
        OPTIONS,
        Known::default(),
        |record| {
            assert_eq!(record.payload, payload(record.seq));
            Ok::<(), Error>(())
        },
    )
}

/// As the writer does: what failed is tried again, and nothing else meanwhile.
fn append(log: &mut Log, batch: &Batch) -> Result<(), Error> {
    let mut written = false;
    for _ in 0..TRIES_MOST {
        let tried = match written {
            false => log.append(batch),
            true => log.append_again(batch),
        };
        match tried {
            Err(Error::Io { .. }) => written = true,
            Err(Error::NoRoom { .. }) => assert!(!written, "a batch that was begun has its room"),
            other => return other,
        }
    }
    Err(Error::Locked {
        folder: "for ever".into(),
    })
}

fn total() -> u64 {
    BATCHES.iter().sum()
}

/// Returns the last acknowledged seq.
fn workload(disk: &LossyDisk, mut log: Log) -> u64 {
    let mut acknowledged = log.next_seq() - 1;
    let mut end = 0;
    for size in BATCHES {
        end += size;
        if end < log.next_seq() {
            continue;
        }
        let batch = batch(&log, end + 1 - log.next_seq());
        if append(&mut log, &batch).is_err() {
            break;
        }
        acknowledged = batch.seqs().end - 1;
        let bare = disk.after_power_loss(Survives::Nothing);
        let durable = open(&bare).unwrap().last_seq;
        assert!(
            durable >= acknowledged,
            "{acknowledged} acknowledged, {durable} durable"
        );
    }
    acknowledged
}

fn survivals() -> impl Iterator<Item = Survives> {
    let fixed = [Survives::Nothing, Survives::Everything].into_iter();
    fixed.chain((0..seeds()).map(Survives::Some))
}

fn steps() -> u64 {
    let disk = LossyDisk::new();
    let log = open(&disk).unwrap().log;
    assert_eq!(workload(&disk, log), total());
    assert!(disk.content().len() > 2, "it begins two segments more");
    disk.steps()
}

#[test]
fn simulation_a_disk_that_refuses_for_a_while_at_any_step_loses_nothing_and_the_log_goes_on() {
    let started = {
        let disk = LossyDisk::new();
        open(&disk).unwrap();
        disk.steps()
    };
    for step in started..=steps() {
        for refused in [1, 2, 3, 7] {
            let disk = LossyDisk::new();
            let log = open(&disk).unwrap().log;
            disk.fail(step..step + refused);
            assert_eq!(
                workload(&disk, log),
                total(),
                "step {step}, {refused} refused"
            );
            for survives in survivals() {
                let left = open(&disk.after_power_loss(survives)).unwrap_or_else(|error| {
                    panic!("step {step}, {refused}, {survives:?}: {error}")
                });
                assert_eq!(
                    left.last_seq,
                    total(),
                    "step {step}, {refused}, {survives:?}"
                );
            }
        }
    }
}

#[test]
fn simulation_the_power_may_go_while_the_disk_refuses() {
    let steps = steps();
    for step in (0..=steps).step_by(3) {
        for cut in step..(step + 8).min(steps) {
            let disk = LossyDisk::new();
            let Ok(recovered) = open(&disk) else {
                panic!("a new disk")
            };
            disk.fail(step..step + 4);
            disk.end_at(cut);
            let acknowledged = workload(&disk, recovered.log);
            for survives in survivals() {
                let left = open(&disk.after_power_loss(survives)).unwrap_or_else(|error| {
                    panic!("step {step}, cut {cut}, {survives:?}: {error}")
                });
                assert!(
                    left.last_seq >= acknowledged,
                    "step {step}, cut {cut}, {survives:?}"
                );
            }
        }
    }
}

/// Only a next segment needs room: a batch that the segment takes is written on the fullest disk.
#[test]
fn simulation_a_full_disk_refuses_before_it_has_anything_and_goes_on_when_there_is_room() {
    let whole = LossyDisk::new();
    let log = open(&whole).unwrap().log;
    workload(&whole, log);
    let mut refused = 0;
    for bytes_most in (OPTIONS.segment_bytes..=whole.used_bytes()).step_by(512) {
        let disk = LossyDisk::new();
        let mut log = open(&disk).unwrap().log;
        disk.bound(Some(bytes_most));
        let mut acknowledged = 0;
        for size in BATCHES {
            let batch = batch(&log, size);
            let fits = batch.bytes().len() <= log.room_bytes();
            match log.append(&batch) {
                Ok(()) => acknowledged = batch.seqs().end - 1,
                Err(Error::NoRoom { .. }) => {
                    assert!(!fits, "{bytes_most}: it had room in its segment");
                    refused += 1;
                    break;
                }
                Err(error) => panic!("{bytes_most}: {error}"),
            }
            assert!(disk.used_bytes() <= bytes_most);
        }
        for survives in survivals() {
            let left = open(&disk.after_power_loss(survives)).unwrap();
            assert!(left.last_seq >= acknowledged, "{bytes_most}, {survives:?}");
        }
        disk.bound(None);
        assert_eq!(workload(&disk, log), total(), "{bytes_most}: it goes on");
        assert_eq!(
            open(&disk.after_power_loss(Survives::Nothing))
                .unwrap()
                .last_seq,
            total()
        );
    }
    assert!(
        refused >= 2 * OPTIONS.segment_bytes / 512 - 2,
        "{refused} disks were full"
    );
}

/// The log is read back before anything is written on it again.
#[test]
fn an_acknowledged_record_that_cannot_be_read_back_stops_the_log() {
    let disk = LossyDisk::new();
    let mut log = open(&disk).unwrap().log;
    log.append(&batch(&log, 3)).unwrap();
    let steps = disk.steps();
    disk.fail(steps..steps + 1);
    let failing = batch(&log, 2);
    assert!(matches!(log.append(&failing), Err(Error::Io { .. })));
    disk.edit(log.segment(), |bytes| bytes[5000] ^= 1);
    let Err(Error::Corrupt(place)) = log.append_again(&failing) else {
        panic!("it wrote on a damaged log")
    };
    assert!(place.seq <= 3, "{place}");
}
