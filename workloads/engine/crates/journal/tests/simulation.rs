//! A workload with the power cut at each of its steps, the disk keeping any of what was not synced, and the boot
//! after it cut as well. What was acknowledged is there afterwards.
//!
//! `SIMULATION_SEEDS` says how many disks each cut is tried with.

use std::sync::Arc;
use std::time::Duration;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{Batch, Error, Head, Known, Options, Recovered, recover};

const OPTIONS: Options = Options {
    segment_bytes: 12 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};
/// A roll to the next segment is among them.
const BATCHES: [u64; 6] = [1, 4, 2, 7, 1, 5];

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").map_or(12, |count| count.parse().expect("a number"))
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8 | 1; 150 + (seq as usize * 193) % 900]
}

fn batch(head: Head, commands: u64) -> Batch {
    let seqs = head.next_seq..head.next_seq + commands;
    head.batch(1, 0, seqs.map(payload))
}

/// Checks on the way that every record is the one that was submitted under its seq.
fn open(disk: &LossyDisk) -> Result<Recovered, Error> {
    recover(
        Arc::new(disk.clone()),
        "main",
        OPTIONS,
        Known::default(),
        |record| -> Result<(), Error> {
            assert_eq!(
                record.payload,
                payload(record.seq),
                "seq {} is not what was submitted",
                record.seq
            );
            Ok(())
        },
    )
}

/// Returns the last acknowledged seq.
fn workload(disk: &LossyDisk) -> u64 {
    let Ok(mut recovered) = open(disk) else {
        return 0;
    };
    let mut acknowledged = recovered.last_seq;
    for size in BATCHES {
        let batch = batch(recovered.log.head(), size);
        if recovered.log.append(&batch).is_err() {
            break;
        }
        acknowledged = batch.seqs().end - 1;
    }
    acknowledged
}

fn survivals() -> impl Iterator<Item = Survives> {
    [Survives::Nothing, Survives::Everything]
        .into_iter()
        .chain((0..seeds()).map(Survives::Some))
}

fn steps() -> u64 {
    let disk = LossyDisk::new();
    assert_eq!(workload(&disk), BATCHES.iter().sum::<u64>());
    assert!(
        disk.content().len() > 1,
        "the workload begins a second segment"
    );
    disk.steps()
}

#[test]
fn simulation_nothing_acknowledged_is_lost_wherever_the_power_goes() {
    for step in 0..=steps() {
        let disk = LossyDisk::new();
        disk.end_at(step);
        let acknowledged = workload(&disk);
        for survives in survivals() {
            let booted = disk.after_power_loss(survives);
            let recovered =
                open(&booted).unwrap_or_else(|error| panic!("step {step}, {survives:?}: {error}"));
            assert!(
                recovered.last_seq >= acknowledged,
                "step {step}, {survives:?}: {acknowledged} was acknowledged, {} is left",
                recovered.last_seq
            );
        }
    }
}

#[test]
fn simulation_what_a_boot_has_read_stays_though_the_power_goes_during_the_boot_and_after_it() {
    for step in 0..=steps() {
        let disk = LossyDisk::new();
        disk.end_at(step);
        let acknowledged = workload(&disk);
        for survives in [
            Survives::Nothing,
            Survives::Some(step),
            Survives::Some(step + 1000),
        ] {
            let first = disk.after_power_loss(survives);
            let probe = disk.after_power_loss(survives);
            open(&probe).unwrap();
            for boot_step in 0..=probe.steps() {
                let first = first.after_kill();
                first.end_at(boot_step);
                let counted = open(&first).map_or(acknowledged, |recovered| recovered.last_seq);
                for again in [
                    Survives::Nothing,
                    Survives::Everything,
                    Survives::Some(boot_step),
                ] {
                    let second = first.after_power_loss(again);
                    let recovered = open(&second).unwrap_or_else(|error| {
                        panic!("step {step}, {survives:?}, boot step {boot_step}: {error}")
                    });
                    assert!(
                        recovered.last_seq >= counted,
                        "step {step}, boot step {boot_step}"
                    );
                }
            }
        }
    }
}

#[test]
fn simulation_a_killed_process_loses_nothing_and_its_unsynced_batch_is_durable_before_it_counts() {
    for step in 0..=steps() {
        let disk = LossyDisk::new();
        disk.end_at(step);
        let acknowledged = workload(&disk);
        let booted = disk.after_kill();
        let counted = open(&booted).unwrap().last_seq;
        assert!(counted >= acknowledged);
        let later = open(&booted.after_power_loss(Survives::Nothing)).unwrap();
        assert!(
            later.last_seq >= counted,
            "step {step}: {counted} counted, {} is left",
            later.last_seq
        );
    }
}

/// After a failed sync memory holds what the disk does not, and the next sync says that all is well.
#[test]
fn simulation_a_failed_sync_acknowledges_nothing_and_leaves_no_hole() {
    let mut failed = 0;
    for step in 1..=steps() {
        let disk = LossyDisk::new();
        disk.fail(step..step + 1);
        let acknowledged = workload(&disk);
        failed += u64::from(acknowledged < BATCHES.iter().sum());
        let booted = disk.after_kill();
        let total = workload(&booted);
        assert!(
            total >= acknowledged + BATCHES.iter().sum::<u64>(),
            "step {step}"
        );
        for survives in survivals() {
            let left = open(&booted.after_power_loss(survives))
                .unwrap_or_else(|error| panic!("step {step}, {survives:?}: {error}"));
            assert!(
                left.last_seq >= total,
                "step {step}: {total} was acknowledged, {} is left",
                left.last_seq
            );
        }
    }
    assert!(failed >= BATCHES.len() as u64, "{failed} syncs failed");
}
