//! `kernel [ACCOUNTS] [ORDERS] [COMMANDS]`: the whole kernel, risk, fees and events included, with so many accounts and
//! resting orders. Prints one line of JSON: nanoseconds of a command, allocations of a command, bytes, and the median of
//! a checkpoint's milliseconds after so many commands.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use openbourse_bench::exchange::Exchange;
use openbourse_bench::{SEED, quantile};
use openbourse_matching::event::EventBody;

/// Counts what the kernel asks for. Nothing else runs while it counts.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as u64, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, Relaxed);
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Their replies fill the windows, so that what comes later adds nothing to them.
const COMMANDS_BEFORE: u64 = 300_000;
/// A command that makes more matches is a sweep.
const MATCHES_MOST: usize = 3;
const CHECKPOINTS: usize = 11;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |otherwise: u64| {
        let given = arguments.next().map(|text| text.parse());
        given.map_or(otherwise, |given| given.expect("arguments are numbers"))
    };
    let (accounts, orders, commands) = (number(1_000_000), number(1_000_000), number(1_000_000));

    let mut exchange = Exchange::new(SEED);
    let windows_filled = accounts / 2;
    (0..windows_filled).for_each(|_| exchange.add_account());
    let before = BYTES.load(Relaxed);
    (windows_filled..accounts).for_each(|_| exchange.add_account());
    let account_bytes = (BYTES.load(Relaxed) - before) / (accounts - windows_filled);
    let before = BYTES.load(Relaxed);
    (0..orders).for_each(|_| exchange.add_far_order());
    let order_bytes = (BYTES.load(Relaxed) - before) / orders;

    for _ in 0..COMMANDS_BEFORE {
        let command = exchange.next_command();
        exchange.step(&command);
    }
    // From here on the kernel remembers what changes.
    let first_checkpoint_ms = checkpoint_ms(&mut exchange);
    let (mut few, mut sweeps) = (Vec::new(), Vec::new());
    let mut by_matches = [const { Vec::new() }; MATCHES_MOST + 1];
    let mut allocations = 0;
    for _ in 0..commands {
        let command = exchange.next_command();
        let allocations_before = ALLOCATIONS.load(Relaxed);
        let started = Instant::now();
        exchange.step_measured(&command);
        let took_ns = started.elapsed().as_nanos() as u64;
        allocations += ALLOCATIONS.load(Relaxed) - allocations_before;
        let matches = (exchange.effects.events())
            .filter(|(event, _)| matches!(event.body, EventBody::TradeExecuted(_)))
            .count();
        if matches <= MATCHES_MOST {
            few.push(took_ns);
            by_matches[matches].push(took_ns);
        } else {
            sweeps.push(took_ns);
        }
    }
    let checkpoint_1000_ms = checkpoint_ms_after(&mut exchange, 1_000);
    let checkpoint_10000_ms = checkpoint_ms_after(&mut exchange, 10_000);
    let by_matches: String = (by_matches.iter_mut().enumerate())
        .map(|(matches, times_ns)| {
            let [p50, p99] = [500, 990].map(|per_mille| quantile(times_ns, per_mille));
            let name = format!("matches_{matches}");
            format!("\"{name}_p50_ns\": {p50}, \"{name}_p99_ns\": {p99}, ")
        })
        .collect();
    println!(
        "{{{by_matches}\"messages\": {commands}, \"few\": {}, \"p50_ns\": {}, \"p99_ns\": {}, \"p999_ns\": {}, \"sweeps\": {}, \"sweep_p50_ns\": {}, \
         \"sweep_p99_ns\": {}, \"allocations_per_command\": {:.4}, \"bytes_per_resting_order\": {order_bytes}, \
         \"bytes_per_account\": {account_bytes}, \"first_checkpoint_ms\": {first_checkpoint_ms:.3}, \
         \"checkpoint_1000_ms\": {checkpoint_1000_ms:.3}, \"checkpoint_10000_ms\": {checkpoint_10000_ms:.3}}}",
        few.len(),
        quantile(&mut few, 500),
        quantile(&mut few, 990),
        quantile(&mut few, 999),
        sweeps.len(),
        quantile(&mut sweeps, 500),
        quantile(&mut sweeps, 990),
        allocations as f64 / commands as f64,
    );
}

/// The median of several, with so many commands before each.
fn checkpoint_ms_after(exchange: &mut Exchange, commands: u64) -> f64 {
    // What changed before is not this one's.
    checkpoint_ms(exchange);
    let mut times_ms: Vec<_> = (0..CHECKPOINTS)
        .map(|_| {
            for _ in 0..commands {
                let command = exchange.next_command();
                exchange.step(&command);
            }
            checkpoint_ms(exchange)
        })
        .collect();
    times_ms.sort_by(f64::total_cmp);
    times_ms[CHECKPOINTS / 2]
}

fn checkpoint_ms(exchange: &mut Exchange) -> f64 {
    let checkpoint = exchange.checkpoint();
    let started = Instant::now();
    exchange.step(&checkpoint);
    started.elapsed().as_secs_f64() * 1000.0
}
