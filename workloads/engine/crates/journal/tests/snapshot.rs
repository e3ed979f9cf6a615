//! Snapshots: whole or not taken, and a bad one falls back to an older one.

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::snapshot::{Position, Snapshot, name, newest, prune, seqs, write};
use openbourse_journal::{Error, Storage};

fn snapshot(seq: u64) -> Snapshot {
    Snapshot {
        position: Position {
            shard: "main".into(),
            seq,
            epoch: 3,
            time_us: -5 + seq as i64,
            chain: [seq as u8; 32],
            kernel_version: 2,
        },
        body: (0..700 + seq).map(|at| (at * seq) as u8).collect(),
    }
}

fn written(seqs: &[u64]) -> LossyDisk {
    let disk = LossyDisk::new();
    for seq in seqs {
        let Snapshot { position, body } = snapshot(*seq);
        assert_eq!(write(&disk, &position, &body).unwrap(), name(*seq));
    }
    disk
}

#[test]
fn the_newest_is_what_was_written_and_survives_the_power() {
    let disk = written(&[30, 7, 900]);
    assert_eq!(seqs(&disk).unwrap(), [7, 30, 900]);
    let booted = disk.after_power_loss(Survives::Nothing);
    assert_eq!(
        newest(&booted, "main").unwrap(),
        (Some(snapshot(900)), vec![])
    );
    assert_eq!(newest(&LossyDisk::new(), "main").unwrap(), (None, vec![]));
}

#[test]
fn any_changed_byte_makes_it_bad_and_the_older_one_is_taken() {
    let whole = written(&[7, 30]);
    let length = whole.read(&name(30)).unwrap().len();
    for at in 0..length {
        for flip in [0x01, 0x80, 0xFF] {
            let disk = whole.after_kill();
            disk.edit(&name(30), |bytes| bytes[at] ^= flip);
            let (found, bad) = newest(&disk, "main").unwrap();
            assert_eq!(found, Some(snapshot(7)), "byte {at}");
            assert_eq!(bad.len(), 1, "byte {at}");
            assert_eq!(bad[0].file, name(30));
        }
    }
}

#[test]
fn any_cut_and_any_addition_makes_it_bad() {
    let whole = written(&[7, 30]);
    let length = whole.read(&name(30)).unwrap().len();
    for cut in (0..length).chain([length + 1, length + 512]) {
        let disk = whole.after_kill();
        disk.edit(&name(30), |bytes| bytes.resize(cut, 0));
        let (found, bad) = newest(&disk, "main").unwrap();
        assert_eq!((found, bad.len()), (Some(snapshot(7)), 1), "cut to {cut}");
    }
}

#[test]
fn one_under_another_ones_name_is_bad_and_one_of_another_shard_is_refused() {
    let disk = written(&[7, 30]);
    let older = disk.read(&name(7)).unwrap();
    disk.edit(&name(30), |bytes| *bytes = older);
    let (found, bad) = newest(&disk, "main").unwrap();
    assert_eq!(found, Some(snapshot(7)));
    assert!(bad[0].why.contains("seq 7"), "{bad:?}");
    assert!(
        matches!(newest(&disk, "other"), Err(Error::WrongShard { found, .. }) if found == "main")
    );
}

#[test]
fn a_crash_or_an_error_at_any_step_leaves_the_old_one_or_the_new_one() {
    let steps = |disk: &LossyDisk| disk.steps();
    let first = steps(&written(&[7]));
    let last = steps(&written(&[7, 30]));
    assert!(last > first + 4);
    let Snapshot { position, body } = snapshot(30);
    for step in first..=last {
        for survives in [Survives::Nothing, Survives::Everything]
            .into_iter()
            .chain((0..30).map(Survives::Some))
        {
            let disk = written(&[7]);
            disk.end_at(step);
            let done = write(&disk, &position, &body).is_ok();
            let (found, bad) = newest(&disk.after_power_loss(survives), "main").unwrap();
            assert!(bad.is_empty(), "step {step}, {survives:?}: {bad:?}");
            let seq = found.unwrap().position.seq;
            assert!(
                seq == 30 || (seq == 7 && !done),
                "step {step}, {survives:?}"
            );
        }
        let disk = written(&[7]);
        disk.fail(step..step + 1);
        if write(&disk, &position, &body).is_err() {
            write(&disk, &position, &body).unwrap();
        }
        let booted = disk.after_power_loss(Survives::Nothing);
        assert_eq!(
            newest(&booted, "main").unwrap(),
            (Some(snapshot(30)), vec![])
        );
    }
}

#[test]
fn a_full_disk_keeps_its_older_snapshot_and_gets_its_room_back() {
    let disk = written(&[7]);
    let used = disk.used_bytes();
    disk.bound(Some(used + 400));
    let Snapshot { position, body } = snapshot(30);
    let error = write(&disk, &position, &body).unwrap_err();
    assert!(error.to_string().contains(&name(30)), "{error}");
    assert_eq!(disk.used_bytes(), used);
    assert_eq!(newest(&disk, "main").unwrap(), (Some(snapshot(7)), vec![]));
}

#[test]
fn old_ones_are_removed_and_the_oldest_that_is_left_bounds_the_log() {
    let disk = written(&[7, 30, 900]);
    assert_eq!(prune(&disk, 2, 0).unwrap(), Some(30));
    assert_eq!(
        seqs(&disk.after_power_loss(Survives::Nothing)).unwrap(),
        [30, 900]
    );
    assert_eq!(prune(&disk, 5, 0).unwrap(), Some(30));
    assert_eq!(prune(&LossyDisk::new(), 2, 0).unwrap(), None);
}

#[test]
fn the_newest_before_whoever_is_behind_stays_too() {
    let left = |behind| {
        let disk = written(&[7, 30, 900, 1000]);
        let oldest = prune(&disk, 2, behind).unwrap();
        let left = seqs(&disk.after_power_loss(Survives::Nothing)).unwrap();
        assert_eq!(oldest, left.first().copied());
        left
    };
    assert_eq!(left(6), [900, 1000]);
    assert_eq!(left(7), [7, 900, 1000]);
    assert_eq!(left(899), [30, 900, 1000]);
    assert_eq!(left(2000), [900, 1000]);
}
