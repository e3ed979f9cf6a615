//! Every sequence of up to five commands in the worlds of `world::alphabets`.

#[allow(dead_code, reason = "the worlds speak its language and print nothing")]
mod script;
#[allow(dead_code, reason = "each world is a test of its own")]
mod world;

use world::{Alphabet, alphabets, explore};

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
