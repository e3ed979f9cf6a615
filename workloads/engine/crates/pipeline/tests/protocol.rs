//! What a connection may say, and what it is told when it may not.

mod wire;

use openbourse_journal::lossy::LossyDisk;
use openbourse_pipeline::{DIRECT, Fatal, ITSELF, Limits, Pipeline, Received, Sender, Stream};
use openbourse_protocol::v1::{
    self, ProblemCode, Side, client_frame, command::Body, server_frame::Frame,
};
use wire::*;

fn started(limits: Limits) -> Pipeline {
    let mut pipeline = open(&LossyDisk::new(), limits).unwrap();
    prepare(&mut pipeline).unwrap();
    pipeline
}

/// Lists BTCUSDT and gives two accounts money.
fn prepare(pipeline: &mut Pipeline) -> Result<(), Fatal> {
    for (id, body) in (1..).zip(listings()) {
        assert!(!pipeline.receive(ITSELF, &command(id, body)).close);
    }
    turn(pipeline)?;
    let _ = pipeline.receive(LEDGER, &command(11, credit(1001, "BTC", 1_000_000_000)));
    let _ = pipeline.receive(
        LEDGER,
        &command(12, credit(1002, "USDT", 1_000_000_000_000)),
    );
    turn(pipeline)?;
    Ok(())
}

fn problem(received: &Received) -> (ProblemCode, String) {
    assert!(received.close, "{received:?}");
    match &read(&received.send)[..] {
        [.., Frame::Problem(problem)] => (problem.code(), problem.detail.clone()),
        other => panic!("{other:?}"),
    }
}

fn bodies() -> Vec<(Body, Sender)> {
    let cancel = v1::CancelOrder {
        account: 1001,
        symbol: "BTCUSDT".into(),
        ..Default::default()
    };
    let halt = v1::ImposeHalt {
        halt: "stop".into(),
        ..Default::default()
    };
    let mut bodies = vec![
        (place(1001, Side::Sell, 100, 1, "a"), Sender::Gateway),
        (Body::CancelOrder(cancel), Sender::Gateway),
        (credit(1001, "BTC", 5), Sender::Ledger),
        (Body::ImposeHalt(halt), Sender::Itself),
        (
            Body::LiftHalt(v1::LiftHalt {
                halt: "stop".into(),
                reason: "over".into(),
                ..Default::default()
            }),
            Sender::Itself,
        ),
        (Body::Checkpoint(v1::Checkpoint::default()), Sender::Itself),
    ];
    bodies.extend(bodies_of_the_trading_core());
    bodies.extend(listings().into_iter().map(|body| (body, Sender::Itself)));
    bodies
}

fn bodies_of_the_trading_core() -> Vec<(Body, Sender)> {
    let cancel_all = |account| {
        Body::CancelAllOrders(v1::CancelAllOrders {
            account,
            ..Default::default()
        })
    };
    vec![
        (Body::AmendOrder(v1::AmendOrder::default()), Sender::Gateway),
        (
            Body::ReplaceOrder(v1::ReplaceOrder::default()),
            Sender::Gateway,
        ),
        (
            Body::SetCountdown(v1::SetCountdown::default()),
            Sender::Gateway,
        ),
        (cancel_all(1001), Sender::Gateway),
        (cancel_all(0), Sender::Gateway),
        (Body::DebitFunds(v1::DebitFunds::default()), Sender::Ledger),
        (
            Body::ChangeSymbolState(v1::ChangeSymbolState::default()),
            Sender::Itself,
        ),
        (
            Body::ConfigureAccount(v1::ConfigureAccount::default()),
            Sender::Itself,
        ),
        (
            Body::SetKillSwitch(v1::SetKillSwitch::default()),
            Sender::Gateway,
        ),
        (
            Body::ConfigureSafety(v1::ConfigureSafety::default()),
            Sender::Itself,
        ),
        (Body::ReportLag(v1::ReportLag::default()), Sender::Itself),
        (Body::Tick(v1::Tick {}), Sender::Itself),
        (
            Body::ChangeVersion(v1::ChangeVersion::default()),
            Sender::Itself,
        ),
    ]
}

#[test]
fn each_kind_of_command_is_taken_from_one_kind_of_sender_and_no_other() {
    let looks = Sender::of("cli", "ann", "viewer");
    assert_eq!(looks, Sender::Reader);
    let stops = Sender::of("cli", "ann", "operator");
    for (body, allowed) in bodies() {
        for sender in [
            Sender::Gateway,
            Sender::Ledger,
            looks.clone(),
            stops.clone(),
        ] {
            let mut pipeline = started(Limits::default());
            let seq = pipeline.seq();
            pipeline.connect(20, sender.clone());
            let _ = pipeline.receive(20, &hello("main", 0));
            let received = pipeline.receive(20, &command(500, body.clone()));
            if sender == allowed {
                assert_eq!(received, Received::default());
                turn(&mut pipeline).unwrap();
                assert_eq!(pipeline.seq(), seq + 1);
            } else {
                assert_eq!(
                    problem(&received).0,
                    ProblemCode::NotAllowed,
                    "{sender:?} {body:?}"
                );
                assert!(pipeline.is_idle(), "nothing of it is sequenced");
                assert!(
                    pipeline.receive(20, &depth_query(1)).close,
                    "the connection is gone"
                );
            }
        }
    }
}

/// An ImposeHalt and a LiftHalt by ann, the reason behind who she is.
fn halts_by(who: &str, halt: &str) -> [v1::Command; 2] {
    let impose = v1::ImposeHalt {
        halt: halt.into(),
        state: v1::SymbolState::Halt.into(),
        reason: "the API server is down".into(),
        ..Default::default()
    };
    let lift = v1::LiftHalt {
        halt: halt.into(),
        reason: "it is up".into(),
        ..Default::default()
    };
    [Body::ImposeHalt(impose), Body::LiftHalt(lift)].map(|body| v1::Command {
        command_id: [7; 16].into(),
        causation_id: format!("{who}: why"),
        body: Some(body),
        ..Default::default()
    })
}

#[test]
fn people_halt_by_their_role_in_their_own_name_and_lift_no_halt_of_kubernetes() {
    let own = format!("{DIRECT}night");
    let of_kubernetes = "night/00000000-0000-0000-0000-000000000001";
    for (role, who, halt, may) in [
        ("operator", "operator ann", own.as_str(), [true, false]),
        ("admin", "admin ann", &own, [true, true]),
        ("admin", "admin bob", &own, [false, false]),
        ("admin", "admin annabel", &own, [false, false]),
        ("operator", "admin ann", &own, [false, false]),
        ("admin", "admin ann", of_kubernetes, [false, false]),
        ("viewer", "viewer ann", &own, [false, false]),
        ("", "ann", &own, [false, false]),
    ] {
        for (sent, taken) in halts_by(who, halt).into_iter().zip(may) {
            let mut pipeline = started(Limits::default());
            let seq = pipeline.seq();
            pipeline.connect(20, Sender::of("cli", "ann", role));
            let _ = pipeline.receive(20, &hello("main", 0));
            let received = pipeline.receive(20, &frame(client_frame::Frame::Command(sent)));
            if taken {
                assert_eq!(received, Received::default());
                turn(&mut pipeline).unwrap();
                assert_eq!(pipeline.seq(), seq + 1);
            } else {
                let (code, detail) = problem(&received);
                assert_eq!(
                    code,
                    ProblemCode::NotAllowed,
                    "{role} {who} {halt}: {detail}"
                );
                assert!(pipeline.is_idle(), "nothing of it is sequenced");
            }
        }
    }
    assert_eq!(Sender::of("engine", "ann", "admin"), Sender::Reader);
    let for_an_hour = Sender::of("person", "ann", "admin");
    assert_eq!(for_an_hour, Sender::of("cli", "ann", "admin"));
}

#[test]
fn everybody_may_ask_and_subscribe() {
    for sender in [Sender::Gateway, Sender::Ledger, Sender::Reader] {
        let mut pipeline = started(Limits::default());
        pipeline.connect(20, sender);
        let _ = pipeline.receive(20, &hello("main", 0));
        assert_eq!(pipeline.receive(20, &depth_query(3)), Received::default());
        let subscribe = frame(client_frame::Frame::Subscribe(v1::Subscribe {
            from_seq: 4,
        }));
        assert_eq!(pipeline.receive(20, &subscribe).subscribe, Some(4));
        let frames = turn(&mut pipeline).unwrap();
        assert!(matches!(&read(&frames[0].1)[..], [Frame::Answer(answer)] if answer.query_id == 3));
    }
}

#[test]
fn a_broken_frame_ends_the_connection_and_says_why() {
    let empty = vec![0, 0, 0, 0];
    let garbage = vec![0, 0, 0, 3, 0xFF, 0xFF, 0xFF];
    let not_a_command = frame(client_frame::Frame::Command(v1::Command::default()));
    let short_id = frame(client_frame::Frame::Command(v1::Command {
        command_id: vec![1; 15],
        ..Default::default()
    }));
    let second_hello = hello("main", 0);
    for bytes in [empty, garbage, not_a_command, short_id, second_hello] {
        let mut pipeline = started(Limits::default());
        let (code, detail) = problem(&pipeline.receive(GATEWAY, &bytes));
        assert_eq!(code, ProblemCode::Malformed, "{detail}");
        assert!(pipeline.is_idle());
    }
    let mut pipeline = started(Limits::default());
    pipeline.connect(20, Sender::Gateway);
    assert_eq!(
        problem(&pipeline.receive(20, &depth_query(1))).0,
        ProblemCode::Malformed
    );
    let too_large = (Limits::default().frame_bytes as u32 + 1).to_be_bytes();
    assert_eq!(
        problem(&pipeline.receive(GATEWAY, &too_large)).0,
        ProblemCode::TooLarge
    );
}

#[test]
fn a_hello_for_another_shard_or_from_the_future_is_refused() {
    let mut pipeline = started(Limits::default());
    pipeline.connect(20, Sender::Gateway);
    assert_eq!(
        problem(&pipeline.receive(20, &hello("other", 0))).0,
        ProblemCode::WrongShard
    );
    pipeline.connect(21, Sender::Gateway);
    assert_eq!(
        problem(&pipeline.receive(21, &hello("main", pipeline.epoch() + 1))).0,
        ProblemCode::NotLeader
    );
    pipeline.connect(22, Sender::Gateway);
    assert!(!pipeline.receive(22, &hello("main", pipeline.epoch())).close);
}

#[test]
fn frames_may_come_in_pieces_of_any_size() {
    let bytes: Vec<u8> = (0..5)
        .flat_map(|at| command(600 + at, place(1001, Side::Sell, 100, 1, &format!("p{at}"))))
        .collect();
    for piece in [1, 2, 3, 5, 7, 64, bytes.len()] {
        let mut pipeline = started(Limits::default());
        for part in bytes.chunks(piece) {
            assert_eq!(pipeline.receive(GATEWAY, part), Received::default());
        }
        let frames = turn(&mut pipeline).unwrap();
        assert_eq!(read(&frames[0].1).len(), 5, "pieces of {piece}");
    }
}

#[test]
fn a_connection_that_asks_too_much_at_once_is_paused_and_resumed_once() {
    let limits = Limits {
        waiting_requests: 10,
        batch_requests: 4,
        ..Limits::default()
    };
    let mut pipeline = started(limits);
    let mut paused = 0;
    for at in 0..12 {
        paused += usize::from(pipeline.receive(GATEWAY, &depth_query(at)).pause);
    }
    assert_eq!(paused, 1);
    let mut answered = 0;
    let mut resumed = Vec::new();
    while !pipeline.is_idle() {
        answered += turn(&mut pipeline)
            .unwrap()
            .iter()
            .map(|(_, bytes)| read(bytes).len())
            .sum::<usize>();
        resumed.extend(
            pipeline
                .resumed()
                .into_iter()
                .map(|connection| (connection, answered)),
        );
    }
    assert_eq!(answered, 12);
    assert_eq!(resumed, [(GATEWAY, 8)]);
}

#[test]
fn a_query_sees_the_command_before_it_and_not_the_one_behind() {
    let mut pipeline = started(Limits::default());
    let _ = pipeline.receive(GATEWAY, &command(700, place(1001, Side::Sell, 100, 5, "a")));
    let _ = pipeline.receive(GATEWAY, &depth_query(1));
    let _ = pipeline.receive(GATEWAY, &command(701, place(1002, Side::Buy, 100, 2, "b")));
    let frames = turn(&mut pipeline).unwrap();
    let [
        Frame::Reply(first),
        Frame::Answer(answer),
        Frame::Reply(second),
    ] = &read(&frames[0].1)[..]
    else {
        panic!("in the order in which they were asked")
    };
    assert_eq!((answer.seq, second.seq), (first.seq, first.seq + 1));
    let Some(v1::answer::Body::Depth(depth)) = &answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(depth.asks[0].quantity_lots, 5);
}

#[test]
fn the_ring_keeps_the_newest_commands_and_says_what_it_no_longer_has() {
    let limits = Limits {
        ring_commands: 3,
        ..Limits::default()
    };
    let mut pipeline = started(limits);
    let committed_seq = pipeline.committed_seq();
    assert_eq!(committed_seq, 5);
    assert_eq!(pipeline.events(2, 1 << 20), Stream::Older);
    assert!(matches!(
        pipeline.events(3, 1 << 20),
        Stream::Frame { last_seq: 5, .. }
    ));
    assert!(matches!(
        pipeline.events(3, 1),
        Stream::Frame { last_seq: 3, .. }
    ));
    assert_eq!(pipeline.events(6, 1 << 20), Stream::UpToDate);
    assert_eq!(
        pipeline.events(7, 1 << 20),
        Stream::Beyond { committed_seq: 5 }
    );
    let _ = pipeline.receive(GATEWAY, &command(800, place(1001, Side::Sell, 100, 5, "a")));
    pipeline.begin(0).unwrap();
    assert_eq!(
        pipeline.events(6, 1 << 20),
        Stream::UpToDate,
        "nothing is shown before it is collected"
    );
}

#[test]
fn the_engines_own_connection_survives_a_frame_that_is_refused() {
    let mut pipeline = started(Limits::default());
    assert!(
        pipeline
            .receive(ITSELF, &command(900, credit(1001, "BTC", 1)))
            .close
    );
    assert_eq!(
        pipeline.receive(ITSELF, &command(901, listings().remove(0))),
        Received::default()
    );
}

#[test]
fn a_log_led_before_is_led_under_a_higher_epoch_only() {
    let disk = LossyDisk::new();
    prepare(&mut open(&disk, Limits::default()).unwrap()).unwrap();
    let mut pipeline = Pipeline::open(
        std::sync::Arc::new(disk),
        "main",
        Limits::default(),
        OPTIONS,
    )
    .unwrap();
    assert!(matches!(
        pipeline.lead(1),
        Err(Fatal::OldEpoch {
            epoch: 1,
            last_epoch: 1
        })
    ));
    pipeline.lead(2).unwrap();
}

#[test]
fn a_log_with_another_history_stops_the_replay_at_its_checkpoint() {
    let disk = LossyDisk::new();
    let mut pipeline = open(&disk, Limits::default()).unwrap();
    prepare(&mut pipeline).unwrap();
    let _ = pipeline.receive(
        ITSELF,
        &command(1000, Body::Checkpoint(v1::Checkpoint::default())),
    );
    turn(&mut pipeline).unwrap();
    let (previous_seq, mut hash) = pipeline.last_checkpoint().unwrap();
    hash[0] ^= 1;
    let wrong = v1::Checkpoint {
        previous_seq,
        previous_state_hash: hash.to_vec(),
    };
    let _ = pipeline.receive(ITSELF, &command(1001, Body::Checkpoint(wrong)));
    assert!(matches!(turn(&mut pipeline), Err(Fatal::Diverged(_))));
    drop(pipeline);
    let error = open(&disk, Limits::default()).err().unwrap().to_string();
    assert!(
        error.contains("replay diverged") && error.contains(&format!("seq {previous_seq}")),
        "{error}"
    );
}

#[test]
fn what_is_committed_can_be_passed_by_anybody_and_nothing_more() {
    let mut pipeline = started(Limits::default());
    let committed_seq = pipeline.committed_seq();
    let said = |passed| wire::frame(client_frame::Frame::Passed(passed));
    let passed = |seq| said(v1::Passed { seq, replica: 0 });
    for (seq, replica) in [(0, 0), (1, 2), (committed_seq, 1)] {
        let passed = v1::Passed { seq, replica };
        let received = pipeline.receive(LEDGER, &said(passed));
        let expected = Received {
            passed: Some(passed),
            ..Received::default()
        };
        assert_eq!(received, expected);
    }
    // One that the disk does not have yet is none.
    let _ = pipeline.receive(GATEWAY, &command(500, place(1001, Side::Sell, 100, 1, "a")));
    pipeline.begin(1_000_000).unwrap();
    let (code, detail) = problem(&pipeline.receive(LEDGER, &passed(committed_seq + 1)));
    assert_eq!(code, ProblemCode::Malformed);
    assert!(
        detail.contains(&format!("this log ends at {committed_seq}")),
        "{detail}"
    );
    pipeline.connect(20, Sender::Ledger);
    let (_, detail) = problem(&pipeline.receive(20, &passed(1)));
    assert_eq!(detail, "the first frame must be Hello");
}
