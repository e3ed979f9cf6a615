//! Mutated and arbitrary bytes as segments: no panic, and no record is ever taken for good that was not written.
//!
//! Seeded: a failure names its seed, which is the whole reproduction. A hundred mutations are tried for each of
//! `SIMULATION_SEEDS`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::LossyDisk;
use openbourse_journal::{
    Error, Known, Options, Reader, SECTOR, SEGMENT_HEADER_BYTES, recover, root, scan,
};

const OPTIONS: Options = Options {
    segment_bytes: 10 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};

fn seeds() -> u64 {
    let seeds: u64 =
        std::env::var("SIMULATION_SEEDS").map_or(200, |count| count.parse().expect("a number"));
    100 * seeds
}

/// splitmix64
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

type Written = Vec<(u64, u64, i64, Vec<u8>)>;

/// A log of three segments, with batches of several sizes and payloads with zeros in them.
fn original() -> (LossyDisk, Written) {
    let disk = LossyDisk::new();
    let mut log = recover(
        Arc::new(disk.clone()),
        "main",
        OPTIONS,
        Known::default(),
        |_| Ok::<(), Error>(()),
    )
    .unwrap()
    .log;
    let mut written = Written::new();
    for (at, size) in [3, 1, 5, 2, 8, 1, 4, 6, 2].into_iter().enumerate() {
        let first_seq = log.next_seq();
        let payload = |seq: u64| -> Vec<u8> {
            let bytes = (seq as usize * 151) % 800;
            (0..bytes)
                .map(|byte| if byte % 97 > 60 { 0 } else { seq as u8 })
                .collect()
        };
        let (epoch, time_us) = (1 + at as u64 / 4, 10 * at as i64);
        let seqs = first_seq..first_seq + size;
        let batch = log.head().batch(epoch, time_us, seqs.clone().map(payload));
        written.extend(seqs.map(|seq| (seq, epoch, time_us, payload(seq))));
        log.append(&batch).unwrap();
    }
    (disk, written)
}

/// One change of one segment, of the kinds that disks, people and copies make.
fn mutate(random: &mut Random, segments: &mut [Vec<u8>]) {
    let (at_segment, other) = (random.below(segments.len()), random.below(segments.len()));
    let donor = segments[other].clone();
    let bytes = &mut segments[at_segment];
    if bytes.len().min(donor.len()) < 2 * SECTOR {
        return;
    }
    let used = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(1, |last| last + 1);
    let (at, length) = (random.below(used), 1 + random.below(300));
    let end = (at + length).min(bytes.len());
    match random.below(12) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes[at..end].fill(0),
        3 => bytes[at..end].fill_with(|| random.next() as u8),
        4 => drop(bytes.drain(at..end)),
        5 => bytes.truncate(at),
        6 => {
            let from = random.below(donor.len() - (end - at));
            bytes[at..end].copy_from_slice(&donor[from..from + (end - at)]);
        }
        7 => {
            let piece = bytes[at..end].to_vec();
            let to = random.below(used);
            bytes.splice(to..to, piece);
        }
        8 => {
            let (sector, from) = (at / SECTOR * SECTOR, random.below(used) / SECTOR * SECTOR);
            let piece: Vec<u8> = bytes.iter().skip(from).take(SECTOR).copied().collect();
            let room = piece.len().min(bytes.len() - sector);
            bytes[sector..sector + room].copy_from_slice(&piece[..room]);
        }
        9 => bytes[at / SECTOR * SECTOR..].fill(0),
        10 => {
            // A length, a seq or an epoch of a record, to any number, with CRCs left as they are.
            let field = [4, 8, 16, 24, 32][random.below(5)];
            let place = (SEGMENT_HEADER_BYTES + field).min(bytes.len().saturating_sub(8));
            let number = random.next() >> random.below(64);
            if let Some(place) = bytes.get_mut(place..place + 8) {
                place.copy_from_slice(&number.to_le_bytes());
            }
        }
        _ => *bytes = donor,
    }
}

/// Everything that reads a log, on these segments. What any of it takes for good must be what was written.
fn read(names: &[String], segments: &[Vec<u8>], written: &Written) {
    let disk = LossyDisk::new();
    for (name, bytes) in names.iter().zip(segments) {
        use openbourse_journal::Storage;
        disk.create(name).unwrap();
        disk.edit(name, |content| content.clone_from(bytes));
    }
    let mut taken = 0;
    let scanned = scan(&disk, None, |record| {
        let (seq, epoch, time_us, payload) = &written[taken];
        assert_eq!(
            (record.seq, record.epoch, record.time_us, record.payload),
            (*seq, *epoch, *time_us, payload.as_slice()),
            "a wrong record is accepted"
        );
        taken += 1;
        Ok::<(), Error>(())
    });
    if let Ok(scanned) = &scanned {
        assert_eq!(scanned.last_seq, taken as u64);
        let mut again = 0;
        let before = disk.content();
        let recovered = recover(
            Arc::new(disk.clone()),
            "main",
            OPTIONS,
            Known::default(),
            |record| {
                assert_eq!(record.payload, written[again].3);
                again += 1;
                Ok::<(), Error>(())
            },
        );
        match recovered {
            Ok(recovered) => {
                assert_eq!((recovered.last_seq, again), (taken as u64, taken));
                // What was kept is kept for good.
                let kept = scan(&disk, Some("main"), |_| Ok::<(), Error>(())).unwrap();
                assert_eq!((kept.last_seq, kept.torn), (taken as u64, None));
            }
            Err(error) => assert!(
                disk.content() == before,
                "{error}: and the disk was changed"
            ),
        }
    }
    let mut reader = Reader::new(Arc::new(disk.clone()));
    while let Ok(Some(record)) = reader.next(taken as u64) {
        assert_eq!(record.payload, written[record.seq as usize - 1].3);
    }
    for name in names {
        let _ = root(&disk, name);
    }
}

fn checked(seed: u64, check: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
        eprintln!("seed {seed}");
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn simulation_mutated_segments_give_a_prefix_of_what_was_written_or_nothing() {
    let (disk, written) = original();
    let (names, segments): (Vec<String>, Vec<Vec<u8>>) = disk.content().into_iter().unzip();
    assert_eq!(names.len(), 3);
    for seed in 0..seeds() {
        checked(seed, || {
            let mut random = Random(seed);
            let mut segments = segments.clone();
            for _ in 0..1 + random.below(3) {
                mutate(&mut random, &mut segments);
            }
            read(&names, &segments, &written);
        });
    }
}

#[test]
fn simulation_arbitrary_bytes_are_no_record() {
    let (disk, written) = original();
    let (names, segments): (Vec<String>, Vec<Vec<u8>>) = disk.content().into_iter().unzip();
    for seed in 0..seeds() / 10 {
        checked(seed, || {
            let mut random = Random(seed);
            let mut segment = segments[0].clone();
            // Behind a good header, and without one; from dense to nearly all zeros.
            let start = [0, SEGMENT_HEADER_BYTES][random.below(2)];
            let mask = random.next() & random.next();
            for byte in &mut segment[start..] {
                let made = random.next();
                *byte = if made & mask == mask { 0 } else { made as u8 };
            }
            read(&names[..1], &[segment], &written);
        });
    }
}

/// The fuzzer sees records: most of its mutations leave some, and few leave all.
#[test]
fn simulation_mutations_hit_records_in_every_place() {
    let (disk, written) = original();
    let (names, segments): (Vec<String>, Vec<Vec<u8>>) = disk.content().into_iter().unzip();
    let mut ends = vec![0; written.len() + 1];
    for seed in 0..2000 {
        let mut random = Random(seed);
        let mut mutated = segments.clone();
        mutate(&mut random, &mut mutated);
        let mutant = LossyDisk::new();
        for (name, bytes) in names.iter().zip(&mutated) {
            use openbourse_journal::Storage;
            mutant.create(name).unwrap();
            mutant.edit(name, |content| content.clone_from(bytes));
        }
        let mut taken = 0;
        let _ = scan(&mutant, None, |_| {
            taken += 1;
            Ok::<(), Error>(())
        });
        ends[taken] += 1;
    }
    let hit = ends.iter().filter(|count| **count > 0).count();
    assert!(hit > written.len() * 3 / 4, "{ends:?}");
    assert!(ends[written.len()] < 1000, "{ends:?}");
}
