//! A log that is cut behind every seq, with the power going at every step of it.

use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{Error, Known, Options, Recovered, Storage, cut, recover, segment_name};

const OPTIONS: Options = Options {
    segment_bytes: 8 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};
const BATCHES: [u64; 7] = [1, 3, 2, 4, 1, 2, 3];
const LAST_SEQ: u64 = 16;

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8 | 1; 700]
}

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

fn append(recovered: &mut Recovered, epoch: u64, commands: u64) {
    let head = recovered.log.head();
    let seqs = head.next_seq..head.next_seq + commands;
    let batch = head.batch(epoch, 0, seqs.map(payload));
    recovered.log.append(&batch).unwrap();
}

/// Several segments, each but the newest with a signature.
fn written() -> LossyDisk {
    let disk = LossyDisk::new();
    let mut recovered = open(&disk).unwrap();
    for commands in BATCHES {
        append(&mut recovered, 1, commands);
    }
    let names: Vec<String> = disk.content().into_keys().collect();
    let segments: Vec<&String> = names.iter().filter(|name| name.ends_with(".wal")).collect();
    assert!(segments.len() > 2);
    for name in &segments[..segments.len() - 1] {
        let file = disk.create(&format!("{name}.sig")).unwrap();
        file.write_at(b"signed", 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_folder().unwrap();
    disk
}

fn signed(disk: &LossyDisk) -> Vec<String> {
    let names = disk.content().into_keys();
    names.filter(|name| name.ends_with(".sig")).collect()
}

#[test]
fn a_log_ends_where_it_was_cut_and_goes_on_from_there() {
    for last_seq in 0..=LAST_SEQ + 1 {
        let disk = written();
        let signatures = signed(&disk);
        cut(&disk, last_seq).unwrap();
        let booted = disk.after_power_loss(Survives::Nothing);
        let mut recovered = open(&booted).unwrap();
        let expected = last_seq.min(LAST_SEQ);
        assert_eq!(recovered.last_seq, expected);
        append(&mut recovered, 2, 3);
        let again = open(&booted).unwrap();
        assert_eq!((again.last_seq, again.last_epoch), (expected + 3, 2));
        if last_seq >= LAST_SEQ {
            assert_eq!(signed(&disk), signatures, "nothing was cut");
        }
        // What is signed is whole.
        for name in signed(&disk) {
            let next = disk.content().into_keys().find(|other| {
                other.ends_with(".wal") && other.as_str() > name.trim_end_matches(".sig")
            });
            assert!(
                next.is_some(),
                "cut behind {last_seq}: {name} is of a segment that goes on"
            );
        }
    }
}

#[test]
fn a_cut_that_the_power_ends_leaves_a_log_without_a_hole_and_is_done_again() {
    let mut ends = std::collections::BTreeSet::new();
    for last_seq in 0..LAST_SEQ {
        let probe = written();
        let begun = probe.steps();
        cut(&probe, last_seq).unwrap();
        for step in begun..=probe.steps() {
            let disk = written();
            disk.end_at(step);
            let _ = cut(&disk, last_seq);
            for survives in [Survives::Nothing, Survives::Everything]
                .into_iter()
                .chain((0..8).map(Survives::Some))
            {
                let booted = disk.after_power_loss(survives);
                let left = open(&booted)
                    .unwrap_or_else(|error| {
                        panic!("{last_seq}, step {step}, {survives:?}: {error}")
                    })
                    .last_seq;
                assert!((last_seq..=LAST_SEQ).contains(&left));
                ends.insert(left - last_seq);
                cut(&booted, last_seq).unwrap();
                let again = booted.after_power_loss(Survives::Nothing);
                assert_eq!(open(&again).unwrap().last_seq, last_seq);
            }
        }
    }
    assert!(ends.len() > 5, "cuts ended half-way: {ends:?}");
}

#[test]
fn what_is_recycled_cannot_be_cut() {
    let disk = written();
    disk.remove(&segment_name(1)).unwrap();
    assert!(matches!(cut(&disk, 0), Err(Error::Begins { .. })));
}
