//! Kernel, log and disk together, with the power cut at each step: what anybody was told is true after the next boot.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_journal::scan;
use openbourse_pipeline::{Fatal, Limits, Pipeline, Stream};
use openbourse_protocol::v1::event::Body;
use openbourse_protocol::v1::{self, server_frame::Frame};
use wire::*;

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").map_or(3, |count| count.parse().expect("a number"))
}

/// What clients and subscribers were shown.
#[derive(Default)]
struct Shown {
    replies: BTreeMap<Vec<u8>, v1::Reply>,
    answers: Vec<v1::Answer>,
    events: Vec<v1::Event>,
    committed_seq: u64,
}

/// Batches of frames, as connections send them.
fn script() -> Vec<Batch> {
    let mut script = opening();
    for round in 0..6 {
        let [sell, buy] = crossing(round);
        script.push(vec![sell, (GATEWAY, depth_query(round)), buy]);
        script.push(vec![(GATEWAY, depth_query(50 + round))]);
    }
    script
}

fn play(disk: &LossyDisk, shown: &mut Shown) -> Result<(), Fatal> {
    let mut pipeline = open(disk, Limits::default())?;
    for batch in script() {
        for (connection, bytes) in batch {
            let received = pipeline.receive(connection, &bytes);
            assert!(!received.close, "{:?}", read(&received.send));
        }
        let frames = turn(&mut pipeline)?;
        note(&pipeline, &frames, shown);
        // The disk that keeps its promises only has everything that was shown.
        let bare = disk.after_power_loss(Survives::Nothing);
        let durable = scan(&bare, Some("main"), |_| Ok::<(), Fatal>(()))?.last_seq;
        assert!(
            durable >= shown.committed_seq,
            "{} is shown, {durable} is durable",
            shown.committed_seq
        );
        let newest = shown
            .replies
            .values()
            .map(|reply| reply.seq)
            .chain(shown.answers.iter().map(|answer| answer.seq));
        assert!(newest.max().unwrap_or(0) <= durable);
    }
    Ok(())
}

fn note(pipeline: &Pipeline, frames: &[(u64, Vec<u8>)], shown: &mut Shown) {
    for frame in frames.iter().flat_map(|(_, bytes)| read(bytes)) {
        match frame {
            Frame::Reply(reply) => drop(shown.replies.insert(reply.command_id.clone(), reply)),
            Frame::Answer(answer) => shown.answers.push(answer),
            other => panic!("{other:?}"),
        }
    }
    while let Stream::Frame { last_seq, bytes } = pipeline.events(shown.committed_seq + 1, 1000) {
        let [Frame::Events(events)] = &read(&bytes)[..] else {
            panic!("one frame of events")
        };
        assert_eq!(
            (events.first_seq, events.last_seq),
            (shown.committed_seq + 1, last_seq)
        );
        shown.events.extend(events.events.iter().cloned());
        shown.committed_seq = last_seq;
    }
}

#[test]
fn simulation_what_was_shown_is_true_after_the_power_goes_at_any_step() {
    let whole = LossyDisk::new();
    let mut all = Shown::default();
    play(&whole, &mut all).unwrap();
    assert_eq!(all.replies.len(), 17);
    assert_eq!(all.answers.len(), 12);
    let trades = all
        .events
        .iter()
        .filter(|event| matches!(event.body, Some(Body::TradeExecuted(_))))
        .count();
    assert!(trades >= 6, "{trades} trades");
    for step in 0..=whole.steps() {
        let disk = LossyDisk::new();
        disk.end_at(step);
        let mut shown = Shown::default();
        if let Err(error) = play(&disk, &mut shown) {
            assert!(error.to_string().contains("the power is gone"), "{error}");
        }
        let survivals = [Survives::Nothing, Survives::Everything].into_iter();
        for survives in survivals.chain((0..seeds()).map(|seed| Survives::Some(seed * 1000 + step)))
        {
            let booted = disk.after_power_loss(survives);
            let mut pipeline = open(&booted, Limits::default())
                .unwrap_or_else(|error| panic!("step {step}: {error}"));
            let mut again = Shown::default();
            note(&pipeline, &[], &mut again);
            assert!(
                again.committed_seq >= shown.committed_seq,
                "step {step}, {survives:?}"
            );
            assert_eq!(
                again.events[..shown.events.len()],
                shown.events[..],
                "step {step}, {survives:?}"
            );
            // Everybody resends everything and gets the first answers.
            for (connection, bytes) in script().into_iter().flatten() {
                let _ = pipeline.receive(connection, &bytes);
            }
            let frames = turn(&mut pipeline).unwrap();
            note(&pipeline, &frames, &mut again);
            for (id, first) in &shown.replies {
                assert_eq!(&again.replies[id], first, "step {step}, {survives:?}");
            }
            assert_eq!(again.replies.len(), all.replies.len());
        }
    }
}

#[test]
fn a_replay_shows_the_events_that_were_shown_live() {
    let disk = LossyDisk::new();
    let mut live = Shown::default();
    play(&disk, &mut live).unwrap();
    for from_seq in [1, 5, live.committed_seq] {
        let mut replay =
            openbourse_pipeline::Replay::new(Arc::new(disk.clone()), "main", 1, from_seq);
        let mut replayed = Vec::new();
        let mut next_seq = from_seq;
        for _ in 0..100 {
            let Some(bytes) = replay.step(live.committed_seq, 3, 1 << 20).unwrap() else {
                continue;
            };
            let [Frame::Events(events)] = &read(&bytes)[..] else {
                panic!("one frame of events")
            };
            assert_eq!(events.first_seq, next_seq);
            next_seq = events.last_seq + 1;
            replayed.extend(events.events.iter().cloned());
        }
        assert_eq!(next_seq, live.committed_seq + 1);
        let wanted: Vec<_> = live
            .events
            .iter()
            .filter(|event| event.seq >= from_seq)
            .cloned()
            .collect();
        assert_eq!(replayed, wanted);
    }
}
