//! Every sequence of up to five commands in the worlds of `world::alphabets`, and long ones drawn by seeds.

#[allow(dead_code, reason = "the worlds speak its language and print nothing")]
mod script;
#[allow(dead_code, reason = "each world is a test of its own")]
mod world;

use world::{Alphabet, alphabets, explore, wild};

const LENGTH: usize = 5;

fn keeps_every_promise(alphabet: &Alphabet) {
    let explored = explore(alphabet, LENGTH).unwrap_or_else(|broken| {
        panic!("{}\n{}", broken.what, broken.commands.join("\n"));
    });
    println!("{}: {explored:?}", alphabet.name);
    assert!(explored.states.iter().all(|states| *states > 1));
}

#[test]
fn every_sequence_of_orders_keeps_every_promise() {
    keeps_every_promise(&alphabets::ORDERS);
}

#[test]
fn every_sequence_under_changing_fees_keeps_every_promise() {
    keeps_every_promise(&alphabets::FEES);
}

#[test]
fn every_sequence_of_auctions_keeps_every_promise() {
    keeps_every_promise(&alphabets::AUCTIONS);
}

#[test]
fn every_sequence_under_limits_keeps_every_promise() {
    keeps_every_promise(&alphabets::LIMITS);
}

#[test]
fn every_sequence_of_client_order_ids_keeps_every_promise() {
    keeps_every_promise(&alphabets::IDS);
}

/// `SIMULATION_SEEDS=1000` takes more.
#[test]
fn simulation_long_sequences_of_everything_keep_every_promise() {
    let seeds = std::env::var("SIMULATION_SEEDS").map_or(50, |count| count.parse().unwrap());
    for seed in 1..=seeds {
        if let Err(broken) = wild::walk(seed) {
            panic!(
                "seed {seed}: {}\n{}",
                broken.what,
                broken.commands.join("\n")
            );
        }
    }
}
