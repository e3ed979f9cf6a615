//! Streams for the kernel, and what drives a book with them: the same for ours and for the others.
#![forbid(unsafe_code)]

pub mod drive;
pub mod exchange;
pub mod random;
pub mod stream;

use stream::Scenario;

pub const SEED: u64 = 1;
const ORDERS: u64 = 1_000_000;

/// `SCENARIO [ORDERS]`, as the programs here take them.
///
/// # Panics
/// When they are others.
pub fn arguments() -> (Scenario, u64) {
    let mut arguments = std::env::args().skip(1);
    let scenario = arguments.next().and_then(|name| Scenario::named(&name));
    let orders = arguments.next().map(|orders| orders.parse());
    (
        scenario.expect("the first argument is quiet, normal, swinging, crash or sparse"),
        orders.map_or(ORDERS, |orders| {
            orders.expect("the second argument is a number of orders")
        }),
    )
}

/// Of times, whatever their order; 0 of none.
pub fn quantile(times_ns: &mut [u64], per_mille: usize) -> u64 {
    times_ns.sort_unstable();
    let at = times_ns.len() * per_mille / 1000;
    times_ns.get(at).copied().unwrap_or(0)
}
