//! `snapshot [ACCOUNTS] [ORDERS]`: writes a kernel with so many accounts and resting orders as a snapshot and makes one of
//! it again. Prints one line of JSON.

use std::time::Instant;

use openbourse_bench::SEED;
use openbourse_bench::exchange::Exchange;
use openbourse_matching::Kernel;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || {
        let given = arguments.next().map(|text| text.parse());
        given.map_or(1_000_000, |given| given.expect("arguments are numbers"))
    };
    let (accounts, orders): (u64, u64) = (number(), number());
    let mut exchange = Exchange::new(SEED);
    (0..accounts).for_each(|_| exchange.add_account());
    (0..orders).for_each(|_| exchange.add_far_order());

    let started = Instant::now();
    let state_hash = exchange.kernel.state_hash();
    let hash_s = started.elapsed().as_secs_f64();
    let mut bytes = Vec::new();
    let started = Instant::now();
    exchange.kernel.write_snapshot(&mut bytes);
    let write_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let mut restored = Kernel::read_snapshot(&bytes, 0).expect("it was just written");
    let load_s = started.elapsed().as_secs_f64();
    assert!(restored.state_hash() == state_hash, "it is another state");
    println!(
        "{{\"accounts\": {accounts}, \"orders\": {orders}, \"bytes\": {}, \"write_s\": {write_s:.3}, \"load_s\": {load_s:.3}, \
         \"hash_s\": {hash_s:.3}}}",
        bytes.len()
    );
}
