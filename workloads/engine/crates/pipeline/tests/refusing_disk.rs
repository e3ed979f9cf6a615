//! Kernel, log and a disk that is full, refuses for a while, or is slow: commands are refused with a reason, nothing
//! that anybody was told is lost, and it goes on by itself.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::{Trouble, scan};
use openbourse_pipeline::{Begun, Fatal, ITSELF, Limits, Pipeline, Received};
use openbourse_protocol::v1::{
    self, RejectReason, Side, reply::Result as Outcome, server_frame::Frame,
};
use wire::*;

const PREPARED: u64 = 5;
const ORDERS: u64 = 180;

/// Every command with the connection that it comes from, by its id.
fn script() -> Vec<(u64, u64, Vec<u8>)> {
    let mut script: Vec<(u64, u64, Vec<u8>)> = (1..)
        .zip(listings())
        .map(|(id, body)| (id, ITSELF, command(id, body)))
        .collect();
    script.push((11, LEDGER, command(11, credit(1001, "BTC", 1_000_000_000))));
    script.push((
        12,
        LEDGER,
        command(12, credit(1002, "USDT", 1_000_000_000_000)),
    ));
    script.extend((0..ORDERS).map(|order| {
        let (account, side) = [(1001, Side::Sell), (1002, Side::Buy)][order as usize % 2];
        let body = place(
            account,
            side,
            100 + order as i64 % 3,
            5,
            &format!("o{order}"),
        );
        (100 + order, GATEWAY, command(100 + order, body))
    }));
    script
}

/// Each step with `SIMULATION_SEEDS`, else some.
fn stride() -> usize {
    std::env::var("SIMULATION_SEEDS").map_or(5, |_| 1)
}

fn id_of(reply: &v1::Reply) -> u64 {
    u64::from_be_bytes(reply.command_id[..8].try_into().unwrap())
}

fn why_not_taken(reply: &v1::Reply) -> Option<&str> {
    match &reply.result {
        Some(Outcome::Rejection(rejection))
            if rejection.reason() == RejectReason::LogUnavailable =>
        {
            assert_eq!(reply.seq, 0, "it was not sequenced");
            Some(&rejection.detail)
        }
        _ => {
            assert_ne!(reply.seq, 0);
            None
        }
    }
}

/// Takes what may leave, until there is something.
fn frames(pipeline: &mut Pipeline) -> Vec<Frame> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        pipeline.begin(1_000_000).unwrap();
        commit(pipeline).unwrap();
        if let Some(frames) = pipeline.collect() {
            return frames.iter().flat_map(|(_, bytes)| read(bytes)).collect();
        }
        assert!(Instant::now() < deadline, "{:?}", pipeline.trouble());
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn durable_seq(disk: &LossyDisk, survives: Survives) -> u64 {
    let bare = disk.after_power_loss(survives);
    scan(&bare, Some("main"), |_| Ok::<(), Fatal>(()))
        .unwrap()
        .last_seq
}

/// Sends everything, a few at a time, and again what was refused. Returns the replies by id, and how many refusals
/// there were.
fn play(
    disk: &LossyDisk,
    pipeline: &mut Pipeline,
    on_refusal: impl Fn(),
) -> (BTreeMap<u64, v1::Reply>, usize) {
    let (mut replies, mut refusals, mut told_seq) = (BTreeMap::new(), 0, 0);
    for part in script().chunks(5) {
        let mut open: BTreeSet<u64> = part.iter().map(|(id, _, _)| *id).collect();
        let mut send = open.clone();
        while !open.is_empty() {
            for (_, connection, bytes) in part.iter().filter(|(id, _, _)| send.contains(id)) {
                assert!(!pipeline.receive(*connection, bytes).close);
            }
            send.clear();
            for frame in frames(pipeline) {
                let Frame::Reply(reply) = frame else {
                    panic!("{frame:?}")
                };
                let id = id_of(&reply);
                if why_not_taken(&reply).is_some() {
                    refusals += 1;
                    send.insert(id);
                } else {
                    assert!(open.remove(&id), "one answer to {id}");
                    told_seq = told_seq.max(reply.seq);
                    replies.insert(id, reply);
                }
            }
            assert!(durable_seq(disk, Survives::Nothing) >= told_seq);
            if !send.is_empty() {
                on_refusal();
            }
            std::thread::sleep(Duration::from_micros(200 * u64::from(!send.is_empty())));
        }
    }
    (replies, refusals)
}

/// What a disk that never refuses makes of it.
fn undisturbed() -> (BTreeMap<u64, v1::Reply>, [u8; 32], u64) {
    let disk = LossyDisk::new();
    let mut pipeline = open(&disk, Limits::default()).unwrap();
    let (replies, refusals) = play(&disk, &mut pipeline, || ());
    assert_eq!(refusals, 0);
    assert!(disk.content().len() >= 3, "it begins two segments more");
    (replies, pipeline.state_hash(), disk.steps())
}

#[test]
fn without_room_commands_are_refused_with_a_reason_and_queries_are_answered() {
    let disk = LossyDisk::new();
    let mut pipeline = open(&disk, Limits::default()).unwrap();
    disk.bound(Some(disk.used_bytes()));
    let mut refused = None;
    for (id, connection, bytes) in script() {
        let _ = pipeline.receive(connection, &bytes);
        let [Frame::Reply(reply)] = &frames(&mut pipeline)[..] else {
            panic!("one reply")
        };
        assert_eq!(id_of(reply), id);
        if let Some(why) = why_not_taken(reply) {
            assert!(
                why.contains("next segment") && why.contains("room"),
                "{why}"
            );
            refused = Some(bytes);
            break;
        }
    }
    let refused = refused.expect("the segment was full before the end");
    let seq = pipeline.seq();
    assert!(seq > PREPARED && matches!(pipeline.trouble(), Some(Trouble::NoRoom(_))));
    assert!(!pipeline.is_syncing(), "nothing is on its way");

    let _ = pipeline.receive(GATEWAY, &refused);
    let _ = pipeline.receive(GATEWAY, &depth_query(7));
    let answers = frames(&mut pipeline);
    assert!(
        answers
            .iter()
            .any(|frame| matches!(frame, Frame::Answer(answer) if answer.seq == seq))
    );
    assert!(matches!(&answers[..], [_, _]), "{answers:?}");
    assert_eq!((pipeline.seq(), pipeline.is_idle()), (seq, true));

    // What was carried out before is answered as it was then.
    let (id, connection, again) = script().remove(0);
    let _ = pipeline.receive(connection, &again);
    let [Frame::Reply(reply)] = &frames(&mut pipeline)[..] else {
        panic!("one reply")
    };
    assert_eq!((id_of(reply), why_not_taken(reply)), (id, None));
    assert!((1..=seq).contains(&reply.seq));
    assert_eq!(pipeline.seq(), seq, "it is not sequenced again");

    disk.bound(None);
    let deadline = Instant::now() + Duration::from_secs(10);
    while pipeline.trouble().is_some() {
        assert!(Instant::now() < deadline, "it goes on by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = pipeline.receive(GATEWAY, &refused);
    let [Frame::Reply(reply)] = &frames(&mut pipeline)[..] else {
        panic!("one reply")
    };
    assert_eq!((reply.seq, why_not_taken(reply)), (seq + 1, None));
}

#[test]
fn simulation_a_disk_that_refuses_for_a_while_at_any_step_changes_nothing_but_when() {
    let (wanted, state_hash, steps) = undisturbed();
    let mut refused = 0;
    for step in (8..steps).step_by(stride()) {
        for refusals_of_disk in [1, 4] {
            let disk = LossyDisk::new();
            let mut pipeline = open(&disk, Limits::default()).unwrap();
            disk.fail(step..step + refusals_of_disk);
            let (replies, refusals) = play(&disk, &mut pipeline, || ());
            refused += refusals;
            // A command that was refused may come behind others, so seqs and states may differ, but not the number.
            assert_eq!(pipeline.committed_seq(), wanted.len() as u64, "step {step}");
            if refusals == 0 {
                assert_eq!(
                    (&replies, pipeline.state_hash()),
                    (&wanted, state_hash),
                    "step {step}"
                );
            }
            let live = pipeline.state_hash();
            drop(pipeline);
            for survives in [
                Survives::Nothing,
                Survives::Everything,
                Survives::Some(step),
            ] {
                let mut booted = open(&disk.after_power_loss(survives), Limits::default()).unwrap();
                assert_eq!(booted.state_hash(), live, "step {step}, {survives:?}");
            }
        }
    }
    assert!(refused > 0, "some commands were refused");
}

#[test]
fn simulation_a_full_disk_refuses_nothing_that_its_segment_takes_and_goes_on_when_there_is_room() {
    let disk = LossyDisk::new();
    open(&disk, Limits::default()).unwrap();
    let first = disk.used_bytes();
    for bytes_most in (first..first + 2 * OPTIONS.segment_bytes).step_by(1024) {
        let disk = LossyDisk::new();
        let mut pipeline = open(&disk, Limits::default()).unwrap();
        disk.bound(Some(bytes_most));
        let (replies, refusals) = play(&disk, &mut pipeline, || disk.bound(None));
        assert!(refusals > 0, "{bytes_most} bytes are too few");
        assert_eq!(replies.len() as u64, pipeline.committed_seq());
        assert_eq!(
            durable_seq(&disk, Survives::Nothing),
            pipeline.committed_seq()
        );
    }
}

#[test]
fn a_sync_that_takes_long_pauses_those_who_ask_too_much_and_loses_nothing() {
    let disk = LossyDisk::new();
    let limits = Limits {
        waiting_requests: 10,
        ..Limits::default()
    };
    let mut pipeline = open(&disk, limits).unwrap();
    for (_, connection, bytes) in &script()[..PREPARED as usize] {
        let _ = pipeline.receive(*connection, bytes);
        turn(&mut pipeline).unwrap();
    }
    disk.slow_down(Duration::from_secs(1));
    let orders = &script()[PREPARED as usize..][..12];
    let begun_at = Instant::now();
    let _ = pipeline.receive(GATEWAY, &orders[0].2);
    assert_eq!(pipeline.begin(1).unwrap(), Begun::Syncing);
    let mut paused = 0;
    for (_, connection, bytes) in &orders[1..] {
        let received = pipeline.receive(*connection, bytes);
        paused += usize::from(received.pause);
        assert_eq!(
            received,
            Received {
                pause: received.pause,
                ..Received::default()
            }
        );
    }
    assert_eq!((paused, pipeline.pending_commands()), (1, 12));
    assert!(pipeline.is_syncing() && pipeline.trouble().is_none());
    assert_eq!(
        pipeline.collect(),
        None,
        "nothing leaves before it is durable"
    );
    let mut answered = 0;
    while answered < orders.len() {
        answered += frames(&mut pipeline).len();
        assert!(durable_seq(&disk, Survives::Nothing) >= PREPARED + answered as u64);
    }
    assert!(begun_at.elapsed() >= Duration::from_secs(2));
    assert_eq!(pipeline.resumed(), [GATEWAY]);
}
