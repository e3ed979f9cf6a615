//! A shard that begins with a snapshot is the shard that it was, whatever became of the newer ones.

mod wire;

use std::sync::Arc;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::snapshot::{name, seqs};
use openbourse_journal::{Reader, Storage};
use openbourse_pipeline::{
    Fatal, ITSELF, Limits, Pipeline, Replay, Stream, begin_log, make_snapshot,
};
use openbourse_protocol::v1::{self, Side, server_frame::Frame};
use wire::*;

const SEQS: u64 = 5 + 60;

fn script() -> Vec<(u64, Vec<u8>)> {
    let mut script: Vec<(u64, Vec<u8>)> = (1..)
        .zip(listings())
        .map(|(id, body)| (ITSELF, command(id, body)))
        .collect();
    script.push((LEDGER, command(11, credit(1001, "BTC", 1_000_000_000))));
    script.push((LEDGER, command(12, credit(1002, "USDT", 1_000_000_000_000))));
    script.extend((0..60).map(|order| {
        let (account, side) = [(1001, Side::Sell), (1002, Side::Buy)][order as usize % 2];
        let price = 100 + order % 3;
        let body = place(account, side, price, 5 + order % 4, &format!("o{order}"));
        (GATEWAY, command(100 + order.cast_unsigned(), body))
    }));
    script
}

/// Sends commands, one batch each, and returns the replies.
fn play(pipeline: &mut Pipeline, script: &[(u64, Vec<u8>)]) -> Vec<v1::Reply> {
    let mut replies = Vec::new();
    for (connection, bytes) in script {
        let received = pipeline.receive(*connection, bytes);
        assert!(!received.close, "{:?}", read(&received.send));
        for (_, bytes) in turn(pipeline).unwrap() {
            for frame in read(&bytes) {
                match frame {
                    Frame::Reply(reply) => replies.push(reply),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    replies
}

struct Traded {
    disk: LossyDisk,
    depth: v1::Answer,
    replies: Vec<v1::Reply>,
    state_hash: [u8; 32],
}

/// Of the book, whatever the epoch.
fn depth(pipeline: &mut Pipeline) -> v1::Answer {
    let received = pipeline.receive(GATEWAY, &depth_query(1));
    assert!(!received.close, "{:?}", read(&received.send));
    match &read(&turn(pipeline).unwrap()[0].1)[..] {
        [Frame::Answer(answer)] => v1::Answer {
            epoch: 0,
            ..answer.clone()
        },
        other => panic!("{other:?}"),
    }
}

/// A log with snapshots of some seqs.
fn traded(snapshots: &[u64]) -> Traded {
    let disk = LossyDisk::new();
    let mut pipeline = open(&disk, Limits::default()).unwrap();
    let replies = play(&mut pipeline, &script());
    assert_eq!(pipeline.committed_seq(), SEQS);
    for seq in snapshots {
        let made = make_snapshot(Arc::new(disk.clone()), "main", *seq, 9, 0).unwrap();
        assert_eq!((made.seq, made.file, made.bad), (*seq, name(*seq), vec![]));
    }
    Traded {
        depth: depth(&mut pipeline),
        disk,
        replies,
        state_hash: pipeline.state_hash(),
    }
}

#[test]
fn a_shard_that_begins_with_a_snapshot_is_the_one_that_replays_everything() {
    let traded = traded(&[20, 41]);
    let booted = traded.disk.after_power_loss(Survives::Nothing);
    let mut pipeline = open(&booted, Limits::default()).unwrap();
    assert_eq!(pipeline.snapshot_seq(), 41);
    assert!(pipeline.bad_snapshots().is_empty());
    assert_eq!((pipeline.seq(), pipeline.committed_seq()), (SEQS, SEQS));
    assert_eq!(pipeline.state_hash(), traded.state_hash);
    assert_eq!(pipeline.events(41, 1), Stream::Older);
    assert!(matches!(
        pipeline.events(42, 1),
        Stream::Frame { last_seq: 42, .. }
    ));
    assert_eq!(depth(&mut pipeline), traded.depth);
    // Also what was answered before the snapshot is answered the same again.
    assert_eq!(play(&mut pipeline, &script()), traded.replies);
    assert_eq!(pipeline.committed_seq(), 2 * SEQS);
}

#[test]
fn a_snapshot_is_made_of_the_one_before_it_and_the_log() {
    let traded = traded(&[20]);
    let disk = Arc::new(traded.disk.clone());
    let made = make_snapshot(disk.clone(), "main", SEQS, 2, 0).unwrap();
    assert_eq!((made.from_seq, made.oldest_seq), (20, 20));
    let again = make_snapshot(disk.clone(), "main", SEQS, 1, 0).unwrap();
    assert_eq!((again.from_seq, again.oldest_seq), (SEQS, SEQS));
    assert_eq!(seqs(&*disk).unwrap(), [SEQS]);
    let mut pipeline = open(&traded.disk.after_kill(), Limits::default()).unwrap();
    assert_eq!(pipeline.snapshot_seq(), SEQS);
    assert_eq!(pipeline.state_hash(), traded.state_hash);
    assert_eq!(
        pipeline.last_epoch(),
        1,
        "it is that of the snapshot's record"
    );
}

#[test]
fn a_bad_snapshot_is_passed_over_for_an_older_one_and_told() {
    let traded = traded(&[20, 41, 50]);
    for (seq, at) in [(50, 3), (50, 70), (50, 230), (50, 400)] {
        let disk = traded.disk.after_kill();
        disk.edit(&name(seq), |bytes| bytes[at] ^= 1);
        disk.edit(&name(41), |bytes| bytes.truncate(1000));
        let mut pipeline = open(&disk, Limits::default()).unwrap();
        assert_eq!(pipeline.snapshot_seq(), 20);
        let told: Vec<_> = pipeline
            .bad_snapshots()
            .iter()
            .map(|bad| &bad.file)
            .collect();
        assert_eq!(told, [&name(50), &name(41)]);
        assert_eq!(pipeline.state_hash(), traded.state_hash);
    }
}

/// Its file is whole, and what is in it is another state than it says.
#[test]
fn a_snapshot_whose_state_has_another_hash_is_passed_over() {
    use openbourse_journal::snapshot::{newest, write};
    let traded = traded(&[20, 41]);
    let disk = traded.disk.after_kill();
    let mut found = newest(&disk, "main").unwrap().0.unwrap();
    found.body[4] ^= 1;
    write(&disk, &found.position, &found.body).unwrap();
    let mut pipeline = open(&disk, Limits::default()).unwrap();
    assert_eq!(pipeline.snapshot_seq(), 20);
    let [bad] = pipeline.bad_snapshots() else {
        panic!("one is bad")
    };
    assert!(bad.why.contains("another hash"), "{}", bad.why);
    assert_eq!(pipeline.state_hash(), traded.state_hash);
}

#[test]
fn a_log_whose_beginning_is_gone_needs_a_snapshot() {
    let traded = traded(&[20, 62]);
    let disk = traded.disk.after_kill();
    let mut segments: Vec<_> = disk.list().unwrap();
    segments.retain(|name| name.ends_with(".wal"));
    segments.sort();
    assert!(segments.len() > 1, "{segments:?}");
    disk.remove(&segments[0]).unwrap();
    let mut whole = open(&disk, Limits::default()).unwrap();
    assert_eq!(
        (whole.snapshot_seq(), whole.state_hash()),
        (62, traded.state_hash)
    );
    drop(whole);
    for seq in [20, 62] {
        disk.edit(&name(seq), |bytes| bytes[300] ^= 1);
    }
    let refused = open(&disk, Limits::default()).err().unwrap();
    assert!(matches!(refused, Fatal::NoSnapshot { .. }), "{refused}");
    for part in ["begins at seq", &name(62), &name(20), "SHA-256"] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
}

#[test]
fn a_replay_begins_with_the_newest_snapshot_before_what_is_wanted() {
    let traded = traded(&[20, 50]);
    let disk = Arc::new(traded.disk.clone());
    let events = |from_seq| {
        let mut replay = Replay::new(disk.clone(), "main", 1, from_seq);
        let mut seen = Vec::new();
        let mut steps = 0;
        while replay.next_seq() <= SEQS {
            let frame = replay.step(SEQS, 1, 1 << 20).unwrap();
            steps += 1;
            for frame in frame.iter().flat_map(|bytes| read(bytes)) {
                let Frame::Events(events) = frame else {
                    panic!("{frame:?}")
                };
                seen.extend(events.events);
            }
        }
        (steps, seen)
    };
    let (steps, all) = events(1);
    assert_eq!(steps, SEQS);
    for (from_seq, behind) in [(20, 0), (21, 20), (50, 20), (51, 50), (SEQS, 50)] {
        let (steps, seen) = events(from_seq);
        assert_eq!(steps, SEQS - behind, "from {from_seq}");
        let wanted: Vec<_> = all
            .iter()
            .filter(|event| event.seq >= from_seq)
            .cloned()
            .collect();
        assert_eq!(seen, wanted, "from {from_seq}");
    }
}

#[test]
fn power_that_goes_while_a_snapshot_is_made_leaves_what_was_there() {
    let traded = traded(&[20]);
    let before = traded.disk.after_kill();
    let whole = before.after_kill();
    make_snapshot(Arc::new(whole.clone()), "main", 50, 1, 0).unwrap();
    for step in 0..=whole.steps() {
        let disk = before.after_kill();
        disk.end_at(step);
        let made = make_snapshot(Arc::new(disk.clone()), "main", 50, 1, 0).is_ok();
        for survives in [
            Survives::Nothing,
            Survives::Everything,
            Survives::Some(step),
        ] {
            let booted = disk.after_power_loss(survives);
            let mut pipeline = open(&booted, Limits::default()).unwrap();
            assert_eq!(pipeline.state_hash(), traded.state_hash, "step {step}");
            assert!(!made || pipeline.snapshot_seq() == 50, "step {step}");
            assert!([20, 50].contains(&pipeline.snapshot_seq()), "step {step}");
        }
    }
    let mut reader = Reader::new(Arc::new(whole));
    assert!(reader.next(SEQS).unwrap().is_some(), "the log is as it was");
}

#[test]
fn a_log_begins_behind_a_snapshot_alone_and_goes_on_as_the_one_that_it_came_from() {
    let seq = 30;
    let source = traded(&[seq]);
    let disk = LossyDisk::new();
    let file = disk.create(&name(seq)).unwrap();
    file.write_at(&Storage::read(&source.disk, &name(seq)).unwrap(), 0)
        .unwrap();
    file.sync().unwrap();
    let storage = || Arc::new(disk.clone());
    begin_log(storage(), "main", seq, OPTIONS).unwrap();
    let survived = Arc::new(disk.after_power_loss(Survives::Nothing));
    let mut follower =
        Pipeline::open(survived.clone(), "main", Limits::default(), OPTIONS).unwrap();
    assert_eq!((follower.end_seq(), follower.snapshot_seq()), (seq, seq));
    assert_eq!(follower.runs(), []);

    let leader = Pipeline::open(
        Arc::new(source.disk.clone()),
        "main",
        Limits::default(),
        OPTIONS,
    );
    let leader = leader.unwrap();
    assert_eq!(
        follower.chain_at(seq).unwrap(),
        leader.chain_at(seq).unwrap()
    );
    assert_eq!(follower.chain_at(seq - 1).unwrap(), None);
    let mut reader = Reader::starting_at(Arc::new(source.disk.clone()), seq + 1);
    follower
        .follow(&reader.records(SEQS, usize::MAX).unwrap())
        .unwrap();
    follower.commit(SEQS);
    assert!(follower.advance(SEQS, usize::MAX).unwrap());
    assert_eq!(follower.state_hash(), source.state_hash);
    for seq in seq..=SEQS {
        // The leader reads its segments, the follower has it in memory.
        assert_eq!(
            follower.chain_at(seq).unwrap(),
            leader.chain_at(seq).unwrap()
        );
    }
}

#[test]
fn a_log_does_not_begin_behind_a_snapshot_that_is_bad_or_of_another_shard() {
    let source = traded(&[30]);
    let mut bytes = Storage::read(&source.disk, &name(30)).unwrap();
    let begun = |bytes: &[u8], shard: &str| {
        let disk = LossyDisk::new();
        let file = disk.create(&name(30)).unwrap();
        file.write_at(bytes, 0).unwrap();
        let begun = begin_log(Arc::new(disk.clone()), shard, 30, OPTIONS);
        let names = disk.list().unwrap();
        assert_eq!(names, [name(30)], "nothing is begun");
        begun.unwrap_err().to_string()
    };
    assert!(begun(&bytes, "other").contains("shard"));
    bytes[400] ^= 1;
    assert!(begun(&bytes, "main").contains("does not match its SHA-256"));
}
