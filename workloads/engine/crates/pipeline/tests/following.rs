//! Two logs of one shard: one leads, the other follows, takes over and is followed. Who may is decided elsewhere.

mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openbourse_journal::lossy::{LossyDisk, Survives};
use openbourse_pipeline::{Fatal, Limits, Pipeline, Sender, Stream, make_snapshot};
use openbourse_protocol::v1::{self, server_frame::Frame};
use wire::*;

type Replies = BTreeMap<Vec<u8>, v1::Reply>;

fn standby(disk: &LossyDisk) -> Pipeline {
    Pipeline::open(Arc::new(disk.clone()), "main", Limits::default(), OPTIONS).unwrap()
}

fn script() -> Vec<Batch> {
    let rounds = (0..20).map(|round| crossing(round).to_vec());
    opening().into_iter().chain(rounds).collect()
}

fn durable(pipeline: &mut Pipeline) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(10);
    while pipeline.durable_seq().unwrap() < pipeline.end_seq() {
        assert!(Instant::now() < deadline, "never durable");
        std::thread::sleep(Duration::from_micros(50));
    }
    pipeline.end_seq()
}

/// Sends what the follower does not have and waits for its disk.
fn send(leader: &Pipeline, follower: &mut Pipeline) {
    while follower.end_seq() < leader.end_seq() {
        let (_, records) = leader
            .recent(follower.end_seq(), leader.end_seq(), 1)
            .unwrap();
        follower.follow(&records).unwrap();
    }
    durable(follower);
}

fn play(leader: &mut Pipeline, batch: &[(u64, Vec<u8>)]) {
    for (connection, bytes) in batch {
        assert!(!leader.receive(*connection, bytes).close);
    }
    let end_seq = leader.end_seq() + batch.len() as u64;
    let deadline = Instant::now() + Duration::from_secs(10);
    // Behind the next segment, where it begins one.
    while leader.end_seq() < end_seq {
        assert!(Instant::now() < deadline, "the batch never began");
        leader.begin(1_000_000).unwrap();
        durable(leader);
    }
}

fn release(leader: &mut Pipeline, replies: &mut Replies) {
    leader.commit(leader.end_seq());
    let frames = leader.collect().unwrap_or_default();
    for frame in frames.iter().flat_map(|(_, bytes)| read(bytes)) {
        if let Frame::Reply(reply) = frame {
            replies.insert(reply.command_id.clone(), reply);
        }
    }
}

fn greet(pipeline: &mut Pipeline) {
    for (connection, sender) in [(GATEWAY, Sender::Gateway), (LEDGER, Sender::Ledger)] {
        pipeline.connect(connection, sender);
        let received = pipeline.receive(connection, &hello("main", 0));
        assert!(!received.close);
    }
}

#[test]
fn a_standby_has_the_leaders_bytes_and_carries_out_what_is_committed_and_no_more() {
    let disks = [LossyDisk::new(), LossyDisk::new()];
    let mut leader = standby(&disks[0]);
    let mut follower = standby(&disks[1]);
    leader.lead(1).unwrap();
    let _ = leader.welcome();
    greet(&mut leader);
    let mut replies = Replies::new();
    for batch in script() {
        play(&mut leader, &batch);
        assert!(
            leader.collect().is_none(),
            "nothing leaves before it is committed"
        );
        assert!(matches!(
            leader.events(leader.committed_seq() + 1, 1),
            Stream::UpToDate
        ));
        send(&leader, &mut follower);
        assert_eq!(follower.chain(), leader.chain());
        let committed = leader.committed_seq();
        assert!(follower.advance(committed, 1000).unwrap());
        assert_eq!(follower.seq(), committed);
        release(&mut leader, &mut replies);
    }
    assert_eq!(replies.len(), 45);
    let end = leader.end_seq();
    follower.commit(end);
    while !follower.advance(end, 1).unwrap() {}
    assert_eq!(follower.state_hash(), leader.state_hash());
    assert_eq!(events(&follower), events(&leader));
    let segments = |disk: &LossyDisk| -> Vec<(String, Vec<u8>)> {
        let content = disk.content().into_iter();
        content.filter(|(name, _)| name.ends_with(".wal")).collect()
    };
    assert_eq!(segments(&disks[0]), segments(&disks[1]), "byte by byte");
}

fn events(pipeline: &Pipeline) -> Vec<v1::Event> {
    let Stream::Frame { bytes, .. } = pipeline.events(1, 1 << 20) else {
        panic!("there are events");
    };
    match read(&bytes).pop() {
        Some(Frame::Events(events)) => events.events,
        other => panic!("{other:?}"),
    }
}

/// Wherever the old leader stopped: the new one has everything that was answered, gives the same answers again, and the
/// old one cuts what nobody else has.
#[test]
fn one_that_takes_over_has_every_answer_and_the_old_leader_becomes_its_standby() {
    for taken_over_after in 2..=script().len() {
        for sent in [false, true] {
            let disks = [LossyDisk::new(), LossyDisk::new()];
            let mut old = standby(&disks[0]);
            let mut new = standby(&disks[1]);
            old.lead(1).unwrap();
            let _ = old.welcome();
            greet(&mut old);
            greet(&mut new);
            let mut replies = Replies::new();
            let script = script();
            let (before, last) = script[..taken_over_after].split_at(taken_over_after - 1);
            for batch in before {
                play(&mut old, batch);
                send(&old, &mut new);
                release(&mut old, &mut replies);
            }
            let answered = old.committed_seq();
            play(&mut old, &last[0]);
            if sent {
                send(&old, &mut new);
            }
            drop(old);
            new.lead(2).unwrap();
            let welcomes = new.welcome();
            assert_eq!(welcomes.len(), 2, "those who waited are welcome now");
            durable(&mut new);
            assert!(new.end_seq() >= answered);
            let had = new.end_seq();
            new.commit(new.end_seq());
            let mut again = Replies::new();
            for batch in &script {
                play(&mut new, batch);
                release(&mut new, &mut again);
            }
            for (id, reply) in &replies {
                assert_eq!(&again[id], reply, "after {taken_over_after}, sent {sent}");
            }
            assert_eq!(new.resent_commands(), had, "what it had came again");
            let mut old = standby(&disks[0].after_power_loss(Survives::Nothing));
            let common = match sent {
                true => old.end_seq(),
                false => answered,
            };
            old.cut(common).unwrap();
            let mut behind = old.end_seq();
            while behind < new.end_seq() {
                let (_, records) = new.recent(behind, new.end_seq(), 500).unwrap();
                behind = old.follow(&records).unwrap();
            }
            assert_eq!(old.chain(), new.chain());
            old.commit(new.end_seq());
            assert!(old.advance(new.end_seq(), 10_000).unwrap());
            assert_eq!(old.state_hash(), new.state_hash());
            assert_eq!(
                old.runs().last(),
                Some(&(1, common)),
                "as the log was after the cut"
            );
        }
    }
}

#[test]
fn a_boot_from_a_snapshot_knows_the_epochs_of_the_whole_log() {
    let disk = LossyDisk::new();
    for epoch in 1..=3 {
        let mut pipeline = standby(&disk);
        pipeline.lead(epoch).unwrap();
        let _ = pipeline.welcome();
        greet(&mut pipeline);
        for id in [epoch, 10 + epoch] {
            play(
                &mut pipeline,
                &[(LEDGER, command(id, credit(1001, "BTC", 5)))],
            );
            release(&mut pipeline, &mut Replies::new());
        }
    }
    for snapshot in [3, 4, 6] {
        make_snapshot(Arc::new(disk.clone()), "main", snapshot, 9, 0).unwrap();
        let pipeline = standby(&disk);
        assert_eq!(pipeline.snapshot_seq(), snapshot);
        assert_eq!(pipeline.runs(), [(1, 2), (2, 4), (3, 6)]);
    }
}

#[test]
fn records_of_another_history_are_refused_with_their_place_and_nothing_changes() {
    let mut leader = standby(&LossyDisk::new());
    let mut follower = standby(&LossyDisk::new());
    let mut other = standby(&LossyDisk::new());
    for (pipeline, amount) in [(&mut leader, 5), (&mut other, 6)] {
        pipeline.lead(1).unwrap();
        let _ = pipeline.welcome();
        greet(pipeline);
        play(
            pipeline,
            &[(LEDGER, command(1, credit(1001, "BTC", amount)))],
        );
        pipeline.commit(1);
        let _ = pipeline.collect();
        play(pipeline, &[(LEDGER, command(2, credit(1001, "BTC", 1)))]);
    }
    let (_, records) = leader.recent(0, 1, 1).unwrap();
    follower.follow(&records).unwrap();
    let (_, foreign) = other.recent(1, 2, 1).unwrap();
    let before = (follower.end_seq(), follower.chain());
    match follower.follow(&foreign) {
        Err(Fatal::NotNext { seq: 2, why }) => assert!(why.contains("logs differ"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((follower.end_seq(), follower.chain()), before);
}

#[test]
fn a_leader_that_is_suspended_refuses_commands_and_answers_queries() {
    let mut pipeline = open(&LossyDisk::new(), Limits::default()).unwrap();
    pipeline.suspend(Some("too few members are in sync".into()));
    let _ = pipeline.receive(LEDGER, &command(1, credit(1001, "BTC", 5)));
    let _ = pipeline.receive(LEDGER, &depth_query(3));
    let frames = turn(&mut pipeline).unwrap();
    let said: Vec<Frame> = frames.iter().flat_map(|(_, bytes)| read(bytes)).collect();
    let [Frame::Reply(reply), Frame::Answer(_)] = &said[..] else {
        panic!("{said:?}")
    };
    let Some(v1::reply::Result::Rejection(rejection)) = &reply.result else {
        panic!("{reply:?}")
    };
    assert_eq!(rejection.reason(), v1::RejectReason::LogUnavailable);
    assert_eq!(rejection.detail, "too few members are in sync");
    pipeline.suspend(None);
    let _ = pipeline.receive(LEDGER, &command(1, credit(1001, "BTC", 5)));
    turn(&mut pipeline).unwrap();
    assert_eq!(pipeline.committed_seq(), 1);
}
