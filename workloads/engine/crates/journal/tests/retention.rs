//! Segments go when everybody has passed them, oldest first, and a crash on the way leaves a log that is whole.

use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::retention::{Candidate, passed, retain};
use openbourse_journal::{
    Batch, Error, Known, Log, Options, Reader, Recovered, Storage, recover, root, scan,
    segment_name,
};

const OPTIONS: Options = Options {
    segment_bytes: 8 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8 | 1; 700]
}

fn batch(log: &Log) -> Batch {
    let first_seq = log.next_seq();
    log.head()
        .batch(2, 0, (first_seq..first_seq + 2).map(payload))
}

/// As a snapshot of `written()` at this seq knows it.
fn known(seq: u64) -> Known {
    let mut chain = Known::default().chain;
    let chains = scan(&written(), None, |record| {
        if record.seq == seq {
            chain = record.chain;
        }
        Ok::<(), Error>(())
    });
    chains.unwrap();
    Known { seq, chain }
}

fn open(disk: &LossyDisk, known_seq: u64) -> Result<Recovered, Error> {
    let known = match known_seq {
        0 => Known::default(),
        seq => known(seq),
    };
    recover(Arc::new(disk.clone()), "main", OPTIONS, known, |record| {
        assert_eq!(record.payload, payload(record.seq));
        assert!(record.seq > known_seq);
        Ok::<(), Error>(())
    })
}

/// Ten batches of two, four records in each segment: they begin at 1, 5, 9, 13 and 17. All but the newest are signed.
fn written() -> LossyDisk {
    let disk = LossyDisk::new();
    let mut log = open(&disk, 0).unwrap().log;
    for _ in 0..10 {
        log.append(&batch(&log)).unwrap();
    }
    for first_seq in [1, 5, 9, 13] {
        sign(&disk, first_seq);
    }
    disk
}

fn sign(disk: &LossyDisk, first_seq: u64) {
    let name = format!("{}.sig", segment_name(first_seq));
    disk.create(&name).unwrap().sync().unwrap();
    disk.sync_folder().unwrap();
}

fn segments(disk: &LossyDisk) -> Vec<String> {
    let names = disk.content().into_keys();
    names.filter(|name| name.ends_with(".wal")).collect()
}

fn seen(seqs: &[(u64, bool)]) -> Vec<Candidate> {
    let candidate = |(first_seq, signed): &(u64, bool)| Candidate {
        first_seq: *first_seq,
        signed: *signed,
    };
    seqs.iter().map(candidate).collect()
}

#[test]
fn a_segment_goes_when_all_of_it_is_passed_and_it_is_signed_and_not_the_newest() {
    let signed = seen(&[(1, true), (5, true), (9, true)]);
    let expected = [(1, 0), (4, 0), (5, 1), (8, 1), (9, 2), (100, 2)];
    for (needed_from, gone) in expected {
        assert_eq!(
            passed(&signed, needed_from),
            gone,
            "needed from {needed_from}"
        );
    }
    assert_eq!(passed(&seen(&[(1, true), (5, false), (9, true)]), 100), 1);
    assert_eq!(passed(&seen(&[(1, false), (5, true), (9, true)]), 100), 0);
    assert_eq!(passed(&seen(&[(7, true)]), 100), 0);
    assert_eq!(passed(&[], 100), 0);
}

#[test]
fn a_log_without_its_beginning_needs_a_snapshot_of_what_was_before_and_goes_on() {
    let disk = written();
    assert_eq!(
        retain(&disk, 10).unwrap(),
        [segment_name(1), segment_name(5)]
    );
    assert_eq!(segments(&disk)[0], segment_name(9));
    for known_seq in [0, 7] {
        let error = open(&disk, known_seq).map(|_| ()).unwrap_err();
        assert!(
            error.to_string().contains("snapshot of seq 8 or later"),
            "{error}"
        );
    }
    assert!(matches!(
        open(&disk, 21).map(|_| ()),
        Err(Error::Ends {
            last_seq: 20,
            known_seq: 21
        })
    ));
    let mut reader = Reader::new(Arc::new(disk.clone()));
    assert!(matches!(
        reader.next(20),
        Err(Error::Begins {
            first_seq: 9,
            wanted_seq: 1
        })
    ));
    let mut reader = Reader::starting_at(Arc::new(disk.clone()), 11);
    assert_eq!(reader.next(20).unwrap().unwrap().seq, 11);

    for known_seq in [8, 11, 20] {
        let mut recovered = open(&disk, known_seq).unwrap();
        recovered.log.append(&batch(&recovered.log)).unwrap();
    }
    assert_eq!(open(&disk, 8).unwrap().last_seq, 26);
}

#[test]
fn a_reader_whose_next_segment_was_recycled_says_where_the_log_begins() {
    let disk = written();
    let mut reader = Reader::new(Arc::new(disk.clone()));
    for seq in 1..=3 {
        assert_eq!(reader.next(20).unwrap().unwrap().seq, seq);
    }
    retain(&disk, 17).unwrap();
    assert_eq!(reader.next(20).unwrap().unwrap().seq, 4, "it has that one");
    assert!(matches!(
        reader.next(20),
        Err(Error::Begins {
            first_seq: 17,
            wanted_seq: 5
        })
    ));
}

#[test]
fn a_snapshot_of_another_log_is_refused_wherever_the_log_begins() {
    for needed_from in [1, 9] {
        let disk = written();
        retain(&disk, needed_from).unwrap();
        for seq in [8, 11, 20] {
            let mut other = known(seq);
            other.chain[0] ^= 1;
            let opened = recover(Arc::new(disk.clone()), "main", OPTIONS, other, |_| {
                Ok::<(), Error>(())
            });
            let error = opened.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("of another log"), "{error}");
        }
    }
}

/// The newest stays, be it empty: its header has the chain that the log goes on from.
#[test]
fn a_log_may_be_down_to_a_segment_without_records() {
    let disk = written();
    let mut recovered = open(&disk, 0).unwrap();
    recovered.log.roll().unwrap();
    sign(&disk, 17);
    assert_eq!(retain(&disk, 21).unwrap().len(), 5);
    let chain = recovered.chain;
    let mut recovered = open(&disk, 20).unwrap();
    assert_eq!((recovered.last_seq, recovered.chain), (20, chain));
    recovered.log.append(&batch(&recovered.log)).unwrap();
    assert_eq!(open(&disk, 20).unwrap().last_seq, 22);
}

#[test]
fn what_is_recycled_is_written_again_before_the_disk_is_asked_for_room() {
    let disk = written();
    let mut log = open(&disk, 0).unwrap().log;
    retain(&disk, 17).unwrap();
    // Two wait to be used again, the others are gone.
    let recycled = disk
        .content()
        .into_keys()
        .filter(|name| name.ends_with(".recycled"));
    assert_eq!(recycled.count(), 2);
    disk.bound(Some(disk.used_bytes()));
    let mut appended = 0;
    while log.append(&batch(&log)).is_ok() {
        appended += 1;
    }
    assert_eq!(appended, 2 * 2, "two segments more, on a full disk");
    assert_eq!(open(&disk, 16).unwrap().last_seq, 20 + 2 * appended);
}

#[test]
fn a_crash_at_any_step_of_it_leaves_the_log_whole() {
    let disk = written();
    let first = disk.steps();
    retain(&disk, 17).unwrap();
    let last = disk.steps();
    for step in first..=last {
        for survives in [Survives::Nothing, Survives::Everything]
            .into_iter()
            .chain((0..20).map(Survives::Some))
        {
            let disk = written();
            disk.end_at(step);
            let _ = retain(&disk, 17);
            let booted = disk.after_power_loss(survives);
            // As the consumers and the snapshot that allowed it still know.
            let mut recovered = open(&booted, 16)
                .unwrap_or_else(|error| panic!("step {step}, {survives:?}: {error}"));
            recovered.log.roll().unwrap();
            recovered.log.append(&batch(&recovered.log)).unwrap();
            retain(&booted, 17).unwrap();
            assert_eq!(
                open(&booted, 16).unwrap().last_seq,
                22,
                "step {step}, {survives:?}"
            );
            assert!(
                !booted
                    .content()
                    .into_keys()
                    .any(|name| name.ends_with(".passed"))
            );
        }
    }
}

#[test]
fn a_root_tells_apart_every_byte_of_a_segment_and_joins_the_one_before() {
    let disk = written();
    let (first, second) = (
        root(&disk, &segment_name(1)).unwrap(),
        root(&disk, &segment_name(5)).unwrap(),
    );
    assert_eq!((first.first_seq, first.last_seq, first.records), (1, 4, 4));
    assert_eq!((second.first_seq, second.chain_before), (5, first.chain));
    assert_eq!((first.first_epoch, first.last_epoch), (2, 2));
    for at in [20, 3000, 4096, 5000, first.bytes as usize - 1] {
        let changed = disk.after_kill();
        changed.edit(&segment_name(1), |bytes| bytes[at] ^= 4);
        let rooted = root(&changed, &segment_name(1));
        assert!(
            rooted
                .as_ref()
                .map_or(true, |root| root.sha256 != first.sha256),
            "byte {at}"
        );
    }
}
