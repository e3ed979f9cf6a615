//! Every way in which the end of a log can be bad, and every byte of it that can be damaged, on a log that is small
//! enough to try them all.

use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::LossyDisk;
use openbourse_journal::{
    Batch, Error, Head, Known, Options, Recovered, SECTOR, SEGMENT_HEADER_BYTES, Storage,
    record_bytes, recover, segment_name,
};

const SHARD: &str = "main";
const OPTIONS: Options = Options {
    segment_bytes: 16 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};

type Kept = Vec<(u64, u64, Vec<u8>)>;

/// Payloads of many lengths, with zeros at their ends.
fn payload(seq: u64) -> Vec<u8> {
    let lengths = [5, 0, 8, 190, 61, 700, 33, 1300];
    let length = lengths[seq as usize % lengths.len()];
    (0..length)
        .map(|at| {
            if at + 3 > length {
                0
            } else {
                (at as u64 * 7 + seq) as u8 | 1
            }
        })
        .collect()
}

fn batch(epoch: u64, head: Head, commands: u64) -> Batch {
    let seqs = head.next_seq..head.next_seq + commands;
    head.batch(epoch, 1_000 + head.next_seq as i64, seqs.map(payload))
}

fn open(disk: &LossyDisk) -> Result<(Recovered, Kept), Error> {
    let mut kept = Kept::new();
    let recovered = recover(
        Arc::new(disk.clone()),
        SHARD,
        OPTIONS,
        Known::default(),
        |record| -> Result<(), Error> {
            kept.push((record.seq, record.epoch, record.payload.to_vec()));
            Ok(())
        },
    )?;
    assert_eq!(recovered.last_seq, kept.len() as u64);
    Ok((recovered, kept))
}

/// A log of batches of these sizes, all durable.
fn written(sizes: &[u64]) -> LossyDisk {
    let disk = LossyDisk::new();
    let (mut recovered, _) = open(&disk).unwrap();
    for size in sizes {
        recovered
            .log
            .append(&batch(3, recovered.log.head(), *size))
            .unwrap();
    }
    disk
}

fn expected(seqs: u64) -> Kept {
    (1..=seqs).map(|seq| (seq, 3, payload(seq))).collect()
}

/// Where each record begins, and where the last one ends.
fn places(seqs: u64) -> Vec<usize> {
    let mut places = vec![SEGMENT_HEADER_BYTES];
    for seq in 1..=seqs {
        places.push(places.last().unwrap() + record_bytes(payload(seq).len()));
    }
    places
}

/// The log goes on: what is appended now is there after the next boot, behind what was kept.
fn goes_on(disk: &LossyDisk, kept: &Kept) {
    let (mut recovered, _) = open(disk).unwrap();
    let next = recovered.log.next_seq();
    recovered
        .log
        .append(&batch(4, recovered.log.head(), 2))
        .unwrap();
    let (_, again) = open(disk).unwrap();
    assert_eq!(&again[..kept.len()], &kept[..]);
    assert_eq!(again.len(), kept.len() + 2);
    assert_eq!(again.last().unwrap(), &(next + 1, 4, payload(next + 1)));
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_batch_keeps_every_whole_record_and_goes_on() {
    let sizes = [2, 1, 5];
    let whole = written(&sizes);
    let places = places(8);
    for zeros_behind in [false, true] {
        for cut in places[3]..places[8] {
            let disk = whole.clone().after_kill();
            disk.edit(&segment_name(1), |bytes| {
                let length = bytes.len();
                bytes.truncate(cut);
                if zeros_behind {
                    bytes.resize(length, 0);
                }
            });
            let (recovered, kept) = open(&disk).unwrap();
            // A record counts as whole from its last byte of payload on; the end marker is written again.
            let whole_records = (1..=8)
                .filter(|seq| cut >= payload_end(&places, *seq, zeros_behind))
                .count() as u64;
            assert_eq!(kept, expected(whole_records), "cut at {cut}");
            assert_eq!(
                recovered.cut.is_some(),
                !places.contains(&cut),
                "cut at {cut}"
            );
            drop(recovered);
            if cut % 16 == 0 {
                goes_on(&disk, &kept);
            }
        }
    }
}

fn payload_end(places: &[usize], seq: usize, zeros_behind: bool) -> usize {
    let payload = payload(seq as u64);
    let end = places[seq] - record_bytes(payload.len()) + record_bytes(0) - 8 + payload.len();
    // Zeros at the end of a payload are there before they are written.
    let zeros = payload.iter().rev().take_while(|byte| **byte == 0).count();
    end - if zeros_behind { zeros } else { 0 }
}

#[test]
fn any_subset_of_the_sectors_of_an_unsynced_batch_may_be_missing() {
    let whole = written(&[2, 1, 6]);
    let places = places(9);
    let (start, end) = (places[3], places[9]);
    let sectors: Vec<usize> = (start / SECTOR..end.div_ceil(SECTOR)).collect();
    assert!(
        (5..=12).contains(&sectors.len()),
        "{} sectors",
        sectors.len()
    );
    for missing in 0..1u32 << sectors.len() {
        let disk = whole.clone().after_kill();
        disk.edit(&segment_name(1), |bytes| {
            for (bit, sector) in sectors.iter().enumerate() {
                if missing >> bit & 1 == 1 {
                    let from = (sector * SECTOR).max(start);
                    bytes[from..((sector + 1) * SECTOR).min(end)].fill(0);
                }
            }
        });
        let (_, kept) = open(&disk).unwrap_or_else(|error| panic!("missing {missing:b}: {error}"));
        assert!(
            kept.len() >= 3,
            "missing {missing:b} lost an acknowledged record"
        );
        assert_eq!(kept, expected(kept.len() as u64), "missing {missing:b}");
        assert_eq!(kept.len() == 9, missing == 0 || kept.len() == 9);
        if missing % 61 == 0 {
            goes_on(&disk, &kept);
        }
    }
}

/// Everything here was synced, so everything may have been acknowledged, the last batch too.
#[test]
fn any_changed_byte_of_a_synced_log_stops_the_engine_or_changes_nothing() {
    let whole = written(&[2, 1, 5]);
    let name = segment_name(1);
    let places = places(8);
    let changes: [fn(u8) -> u8; 5] = [
        |b| b ^ 0x01,
        |b| b ^ 0x80,
        |b| b ^ 0xFF,
        |_| 0,
        |b| b.wrapping_add(1),
    ];
    for at in (0..128).chain(SEGMENT_HEADER_BYTES..places[8]) {
        for change in changes {
            let disk = whole.clone().after_kill();
            let mut changed = false;
            disk.edit(&name, |bytes| {
                let new = change(bytes[at]);
                changed = new != bytes[at];
                bytes[at] = new;
            });
            let before = disk.content();
            match open(&disk) {
                Ok((_, kept)) => {
                    assert_eq!(kept, expected(8), "byte {at} lost a record");
                    // Only the last end marker without its last byte is no damage; it is written again.
                    assert!(!changed || at == places[8] - 1, "byte {at} went unnoticed");
                }
                Err(Error::Corrupt(place)) => {
                    assert!(changed, "byte {at}: {place}");
                    let record = places.iter().rposition(|start| *start <= at);
                    assert_eq!(
                        place.offset,
                        record.map_or(0, |record| places[record]) as u64,
                        "byte {at}: {place}"
                    );
                    assert_eq!(place.seq, record.map_or(1, |record| record as u64 + 1));
                    assert_eq!(place.file, name);
                    assert_eq!(disk.content(), before, "byte {at}: the disk was changed");
                }
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
    }
}

/// A sector that was synced and is gone takes acknowledged records with it: only a later batch proves it.
#[test]
fn a_hole_before_a_later_batch_is_damage() {
    let whole = written(&[2, 5, 1]);
    let places = places(8);
    for sector in places[2].div_ceil(SECTOR)..places[7] / SECTOR {
        let disk = whole.clone().after_kill();
        disk.edit(&segment_name(1), |bytes| {
            bytes[sector * SECTOR..(sector + 1) * SECTOR].fill(0)
        });
        let before = disk.content();
        match open(&disk) {
            Err(Error::Corrupt(place)) => assert!(place.why.contains("later batch"), "{place}"),
            other => panic!("sector {sector}: {:?}", other.map(|(_, kept)| kept.len())),
        }
        assert_eq!(disk.content(), before);
    }
}

#[test]
fn a_segment_that_is_missing_or_continues_another_log_is_damage() {
    // Segments of 16 KiB: three of them.
    let disk = written(&[12; 8]);
    let names: Vec<String> = disk
        .content()
        .into_keys()
        .filter(|name| name.ends_with(".wal"))
        .collect();
    assert!(names.len() >= 3, "{names:?}");
    let remove = |index: usize| {
        let disk = disk.clone().after_kill();
        disk.rename(&names[index], "elsewhere").unwrap();
        open(&disk).map(|(_, kept)| kept.len())
    };
    assert!(matches!(
        remove(0),
        Err(Error::Begins {
            first_seq: 25..,
            wanted_seq: 1
        })
    ));
    assert!(matches!(remove(1), Err(Error::Corrupt(place)) if place.why.contains("missing")));

    let other = LossyDisk::new();
    let (mut recovered, _) = open(&other).unwrap();
    for _ in 0..8 {
        recovered
            .log
            .append(&batch(9, recovered.log.head(), 12))
            .unwrap();
    }
    let foreign = other.read(&names[1]).unwrap();
    disk.edit(&names[1], |bytes| *bytes = foreign);
    assert!(matches!(open(&disk), Err(Error::Corrupt(place)) if place.why.contains("another log")));
}

/// A forger can make the CRCs fit, not the chain.
#[test]
fn a_record_put_in_from_another_log_breaks_the_chain() {
    let disk = written(&[1, 1, 1]);
    let other = LossyDisk::new();
    let (mut recovered, _) = open(&other).unwrap();
    for seq in 1..=3 {
        let forged = recovered.log.head().batch(3, 5, [payload(seq)]);
        recovered.log.append(&forged).unwrap();
    }
    let (places, foreign) = (places(3), other.read(&segment_name(1)).unwrap());
    let record = places[1]..places[2];
    disk.edit(&segment_name(1), |bytes| {
        bytes[record.clone()].copy_from_slice(&foreign[record.clone()])
    });
    assert!(
        matches!(open(&disk), Err(Error::Corrupt(place)) if place.seq == 2 && place.why.contains("chain"))
    );
}

#[test]
fn the_log_of_another_shard_is_refused_and_left_as_it_was() {
    let disk = written(&[3]);
    let before = disk.content();
    let opened = recover(
        Arc::new(disk.clone()),
        "other",
        OPTIONS,
        Known::default(),
        |_| Ok::<(), Error>(()),
    );
    assert!(matches!(opened.map(|_| ()), Err(Error::WrongShard { found, .. }) if found == "main"));
    assert_eq!(disk.content(), before);
}
