//! A shard takes any bytes, and what it appends is what the contracts say.

use openbourse_protocol::{Shard, Stamp, SymbolState, v1};
use prost::Message;
use v1::command::Body;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn stamp(seq: u64) -> Stamp {
    Stamp {
        seq,
        epoch: 2,
        time_us: 1_700_000_000_000_000,
    }
}

fn command(id: u8, body: Body) -> v1::Command {
    v1::Command {
        command_id: vec![id; 16],
        correlation_id: "request-1".into(),
        causation_id: "event-1".into(),
        traceparent: TRACEPARENT.into(),
        body: Some(body),
    }
}

fn define(asset: &str) -> Body {
    Body::DefineAsset(v1::DefineAsset {
        asset: asset.into(),
        scale: 8,
    })
}

/// Reply and events of the next command.
fn step(shard: &mut Shard, command: &[u8]) -> (v1::Reply, Vec<v1::Event>) {
    let (mut reply, mut events) = (Vec::new(), Vec::new());
    shard
        .step(stamp(shard.seq() + 1), command, &mut reply, &mut events)
        .unwrap();
    let events = v1::Events::decode(&*events).unwrap().events;
    (v1::Reply::decode(&*reply).unwrap(), events)
}

fn rejection(reply: v1::Reply) -> (v1::RejectReason, String) {
    match reply.result {
        Some(v1::reply::Result::Rejection(rejection)) => (rejection.reason(), rejection.detail),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_is_appended_is_one_valid_list_of_events() {
    let mut shard = Shard::new("main");
    let (mut reply, mut events) = (b"before".to_vec(), Vec::new());
    for (seq, asset) in [(1, "BTC"), (2, "USDT")] {
        let bytes = command(u8::try_from(seq).unwrap(), define(asset)).encode_to_vec();
        shard
            .step(stamp(seq), &bytes, &mut reply, &mut events)
            .unwrap();
    }
    assert!(reply.starts_with(b"before"), "replies are appended");
    let events = v1::Events::decode(&*events).unwrap().events;
    let ids: Vec<_> = events.iter().map(|event| event.event_id.as_str()).collect();
    assert_eq!(ids, ["main/1/0", "main/2/0"]);
    let envelope = (
        events[1].seq,
        events[1].epoch,
        events[1].index,
        events[1].event_version,
    );
    assert_eq!(envelope, (2, 2, 0, 1));
    assert_eq!(
        (
            events[1].correlation_id.as_str(),
            events[1].causation_id.as_str()
        ),
        ("request-1", "event-1")
    );
    assert_eq!(
        (events[1].traceparent.as_str(), shard.traceparent()),
        (TRACEPARENT, TRACEPARENT)
    );
}

#[test]
fn a_traceparent_of_another_length_is_dropped_and_nothing_else_changes() {
    let mut shard = Shard::new("main");
    let mut sent = command(1, define("BTC"));
    sent.traceparent = "x".repeat(100_000);
    let (reply, events) = step(&mut shard, &sent.encode_to_vec());
    assert_eq!(reply.result, Some(v1::reply::Result::Done(v1::Done {})));
    assert_eq!(
        (events[0].traceparent.as_str(), shard.traceparent()),
        ("", "")
    );
}

#[test]
fn bytes_that_are_no_command_are_refused() {
    let mut shard = Shard::new("main");
    let before = shard.state_hash();
    for bytes in [&b"\xff"[..], &[0x0a, 0x10, 1], &[0x12, 2, 0xff, 0xff]] {
        let (reply, events) = step(&mut shard, bytes);
        let (reason, detail) = rejection(reply);
        assert_eq!(reason, v1::RejectReason::Invalid);
        assert_eq!(detail, "command: must be an openbourse.v1.Command");
        assert!(events.is_empty());
    }
    assert_eq!((shard.seq(), shard.state_hash()), (3, before));
}

#[test]
fn a_missing_id_or_body_is_named() {
    let mut shard = Shard::new("main");
    let without_id = v1::Command {
        command_id: Vec::new(),
        ..command(1, define("BTC"))
    };
    let (_, detail) = rejection(step(&mut shard, &without_id.encode_to_vec()).0);
    assert_eq!(detail, "command_id: must be 16 bytes");
    let without_body = v1::Command {
        body: None,
        ..command(1, define("BTC"))
    };
    let (reply, _) = step(&mut shard, &without_body.encode_to_vec());
    assert_eq!(reply.command_id, [1; 16]);
    assert_eq!(
        rejection(reply).1,
        "body: must be a command that this version knows"
    );
}

#[test]
fn no_byte_of_a_command_can_be_spoiled_into_a_panic() {
    let definition = v1::SymbolDefinition {
        symbol: "BTCUSDT".into(),
        base_asset: "BTC".into(),
        quote_asset: "USDT".into(),
        tick_units: 1_000_000,
        lot_units: 1_000,
        max_price_ticks: 1 << 30,
        max_quantity_lots: 1 << 20,
        min_notional_units: 0,
        maker_fee_ppm: 1_000,
        taker_fee_ppm: 1_000,
        ..Default::default()
    };
    let credit = |asset: &str| {
        Body::CreditFunds(v1::CreditFunds {
            transfer_id: "t".into(),
            account: 1000,
            asset: asset.into(),
            amount: 1 << 40,
        })
    };
    let place = |side: v1::Side| {
        Body::PlaceOrder(v1::PlaceOrder {
            account: 1000,
            symbol: "BTCUSDT".into(),
            side: side.into(),
            r#type: v1::OrderType::Limit.into(),
            time_in_force: v1::TimeInForce::Gtc.into(),
            price_ticks: 300,
            quantity_lots: 300,
            client_order_id: "mine".into(),
            ..Default::default()
        })
    };
    let cancel = Body::CancelOrder(v1::CancelOrder {
        account: 1000,
        symbol: "BTCUSDT".into(),
        target: Some(v1::cancel_order::Target::ClientOrderId("mine".into())),
        ..Default::default()
    });
    let halt = Body::ImposeHalt(v1::ImposeHalt {
        halt: "night".into(),
        symbols: vec!["BTCUSDT".into()],
        state: v1::SymbolState::CancelOnly.into(),
        reason: "closed".into(),
    });
    let lift = Body::LiftHalt(v1::LiftHalt {
        halt: "night".into(),
        reason: "open".into(),
        ..Default::default()
    });
    let bodies = [
        define("BTC"),
        define("USDT"),
        Body::DefineSymbol(v1::DefineSymbol {
            definition: Some(definition),
        }),
        credit("BTC"),
        credit("USDT"),
        place(v1::Side::Buy),
        cancel,
        place(v1::Side::Sell),
        halt,
        lift,
    ];
    let mut shard = Shard::new("main");
    let mut refused = 0;
    for (id, body) in (1..).zip(bodies) {
        let whole = command(id, body).encode_to_vec();
        for at in 0..whole.len() {
            for spoiled in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x80] {
                let mut bytes = whole.clone();
                bytes[at] = spoiled;
                let (reply, _) = step(&mut shard, &bytes);
                refused += u32::from(matches!(
                    reply.result,
                    Some(v1::reply::Result::Rejection(_))
                ));
            }
            step(&mut shard, &whole[..at]);
        }
        // Some spoiled ones had the same id: only an unused one is surely carried out.
        let (reply, _) = step(&mut shard, &whole);
        assert_eq!(reply.command_id, [id; 16]);
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn halts_in_force_are_told_by_name() {
    let mut shard = Shard::new("main");
    let impose = |halt: &str, symbols: &[&str], state: v1::SymbolState| {
        Body::ImposeHalt(v1::ImposeHalt {
            halt: halt.into(),
            symbols: symbols.iter().map(ToString::to_string).collect(),
            state: state.into(),
            reason: format!("because of {halt}"),
        })
    };
    step(
        &mut shard,
        &command(
            1,
            impose("second", &["ETHUSDT", "BTCUSDT"], v1::SymbolState::Halt),
        )
        .encode_to_vec(),
    );
    step(
        &mut shard,
        &command(2, impose("first", &[], v1::SymbolState::CancelOnly)).encode_to_vec(),
    );
    let halts = shard.halts();
    let told: Vec<_> = halts
        .iter()
        .map(|halt| (halt.name.as_str(), halt.state, halt.seq, halt.epoch))
        .collect();
    assert_eq!(
        told,
        [
            ("first", SymbolState::CancelOnly, 2, 2),
            ("second", SymbolState::Halt, 1, 2)
        ]
    );
    assert_eq!(halts[1].symbols, ["BTCUSDT", "ETHUSDT"]);
    assert_eq!(halts[1].reason, "because of second");
}

#[test]
fn an_answer_says_which_state_it_is_of() {
    let mut shard = Shard::new("main");
    step(&mut shard, &command(1, define("BTC")).encode_to_vec());
    let mut bytes = Vec::new();
    let query = v1::Query {
        query_id: 9,
        body: Some(v1::query::Body::Listings(v1::ListingsQuery {})),
    };
    shard.answer(4, &query, &mut bytes);
    let answer = v1::Answer::decode(&*bytes).unwrap();
    assert_eq!(
        (
            answer.query_id,
            answer.shard.as_str(),
            answer.epoch,
            answer.seq
        ),
        (9, "main", 4, 1)
    );
    let Some(v1::answer::Body::Listings(listings)) = answer.body else {
        panic!("not listings");
    };
    assert_eq!(listings.assets.len(), 1);
}
