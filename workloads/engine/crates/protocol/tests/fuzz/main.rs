//! Arbitrary bytes, and commands with wild fields and spoiled bytes: a shard never panics, answers each of them, makes
//! and loses no money, and what it refuses changes nothing but the memory of command ids.
//!
//! A seed is the whole of a run: `SIMULATION_SEEDS=1000 cargo test -p openbourse-protocol --test fuzz` takes more.

mod commands;
mod numbers;

use std::collections::BTreeMap;

use commands::{setup, wild};
use numbers::Numbers;
use openbourse_protocol::{Shard, Stamp, Version, Windows, v1};
use prost::Message;

const COMMANDS: u64 = 400;
/// Small, so that what is forgotten is forgotten in a run.
const WINDOWS: Windows = Windows {
    commands: 50,
    closed_orders: 20,
    closed_client_order_ids: 20,
};

fn seeds() -> u64 {
    std::env::var("SIMULATION_SEEDS").map_or(30, |count| count.parse().expect("a number"))
}

#[test]
fn simulation_whatever_bytes_come_a_shard_answers_and_keeps_its_promises() {
    let mut carried_out = 0;
    for seed in 1..=seeds() {
        let first = run(seed);
        assert_eq!(
            first,
            run(seed),
            "seed {seed}: the same bytes, the same state"
        );
        carried_out += first.1;
    }
    let most = seeds() * COMMANDS;
    assert!(
        carried_out > most / 8,
        "only {carried_out} of {most} did something"
    );
}

/// The state hash at the end, and how many commands were not refused.
fn run(seed: u64) -> ([u8; 32], u64) {
    let mut numbers = Numbers::new(seed);
    let version = if seed.is_multiple_of(5) {
        Version::One
    } else {
        Version::LATEST
    };
    let mut shard = Shard::at_version(version, "main", WINDOWS);
    let mut time_us = 1_700_000_000_000_000;
    let mut carried_out = 0;
    let mut sent = Vec::new();
    for number in 0..COMMANDS {
        time_us += i64::try_from(numbers.below(3) * numbers.below(100_000_000)).unwrap();
        let bytes = match setup(number) {
            Some(command) => command.encode_to_vec(),
            None => something(&mut numbers, number, &sent),
        };
        let stamp = Stamp {
            seq: shard.seq() + 1,
            epoch: 1,
            time_us,
        };
        carried_out += u64::from(step(&mut shard, stamp, &bytes, seed));
        sent.push(bytes);
    }
    (shard.state_hash(), carried_out)
}

#[test]
fn simulation_the_state_hash_is_the_same_whenever_it_was_asked_before() {
    for seed in 1..=seeds() {
        let mut numbers = Numbers::new(seed);
        let mut shard = Shard::at_version(Version::LATEST, "main", WINDOWS);
        let mut carried_out = Vec::new();
        for number in 0..COMMANDS {
            let command = setup(number).unwrap_or_else(|| wild(&mut numbers, number));
            // It asks by itself.
            if !matches!(command.body, Some(v1::command::Body::Checkpoint(_))) {
                carried_out.push(command.encode_to_vec());
                carry_out(&mut shard, &carried_out[carried_out.len() - 1]);
            }
            if numbers.below(15) == 0 {
                let mut never_asked = Shard::at_version(Version::LATEST, "main", WINDOWS);
                for bytes in &carried_out {
                    carry_out(&mut never_asked, bytes);
                }
                assert_eq!(
                    shard.state_hash(),
                    never_asked.state_hash(),
                    "seed {seed}, seq {}",
                    shard.seq()
                );
            }
        }
    }
}

/// A second after the one before.
fn carry_out(shard: &mut Shard, bytes: &[u8]) {
    let seq = shard.seq() + 1;
    let stamp = Stamp {
        seq,
        epoch: 1,
        time_us: 1_700_000_000_000_000 + seq.cast_signed() * 1_000_000,
    };
    let (mut reply, mut events) = (Vec::new(), Vec::new());
    (shard.step(stamp, bytes, &mut reply, &mut events)).expect("no checkpoint, no divergence");
}

/// Arbitrary bytes, a wild command, a spoiled one, or one that was sent before.
fn something(numbers: &mut Numbers, number: u64, sent: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = match numbers.below(20) {
        0 => (0..numbers.below(80)).map(|_| numbers.byte()).collect(),
        1 => sent[numbers.place(sent.len())].clone(),
        _ => wild(numbers, number).encode_to_vec(),
    };
    if numbers.below(3) == 0 && !bytes.is_empty() {
        for _ in 0..=numbers.below(3) {
            let at = numbers.place(bytes.len());
            bytes[at] = numbers.byte();
        }
    }
    if numbers.below(20) == 0 {
        bytes.truncate(numbers.place(bytes.len() + 1));
    }
    bytes
}

/// Whether it was not refused.
fn step(shard: &mut Shard, stamp: Stamp, bytes: &[u8], seed: u64) -> bool {
    let what = || format!("seed {seed}, seq {}", stamp.seq);
    let before = shard.state_hash_but_command_ids();
    let (mut reply, mut events) = (Vec::new(), Vec::new());
    if shard.step(stamp, bytes, &mut reply, &mut events).is_err() {
        // A checkpoint of another history.
        assert_eq!(
            (shard.seq(), reply.len(), events.len()),
            (stamp.seq - 1, 0, 0)
        );
        assert_eq!(shard.state_hash_but_command_ids(), before, "{}", what());
        return false;
    }
    let reply = v1::Reply::decode(&*reply).unwrap();
    let events = v1::Events::decode(&*events).unwrap().events;
    assert!(
        reply.seq <= stamp.seq && reply.result.is_some(),
        "{}",
        what()
    );
    if let Ok(command) = v1::Command::decode(bytes)
        && command.command_id.len() == 16
    {
        assert_eq!(reply.command_id, command.command_id, "{}", what());
    }
    for event in &events {
        check_event(event, &what());
    }
    check_totals(shard, &what());
    let refused = matches!(reply.result, Some(v1::reply::Result::Rejection(_)));
    if refused || reply.seq < stamp.seq {
        assert_eq!(shard.state_hash_but_command_ids(), before, "{}", what());
    }
    !refused
}

fn check_event(event: &v1::Event, what: &str) {
    assert!(event.body.is_some(), "{what}: an event without a body");
    let mut sums = BTreeMap::new();
    for moved in &event.movements {
        let change = i128::from(moved.available_change) + i128::from(moved.hold_change);
        *sums.entry(&moved.asset).or_insert(0) += change;
    }
    assert!(sums.values().all(|sum| *sum == 0), "{what}: {event:?}");
}

fn check_totals(shard: &Shard, what: &str) {
    let query = v1::Query {
        query_id: 1,
        body: Some(v1::query::Body::Totals(v1::TotalsQuery {})),
    };
    let mut answer = Vec::new();
    shard.answer(1, &query, &mut answer);
    let Some(v1::answer::Body::Totals(totals)) = v1::Answer::decode(&*answer).unwrap().body else {
        panic!("{what}: not totals");
    };
    for total in totals.totals {
        let there = i128::from(total.available) + i128::from(total.hold);
        assert_eq!(there, i128::from(total.deposited), "{what}: {total:?}");
        assert!(total.available >= 0 && total.hold >= 0, "{what}: {total:?}");
    }
}
