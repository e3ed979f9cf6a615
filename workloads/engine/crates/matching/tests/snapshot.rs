//! A kernel made of a snapshot goes on as the one that wrote it would have; other bytes make none, or one that is told
//! from it.

#[allow(
    dead_code,
    reason = "commands are written in the language of the transcripts"
)]
mod script;

use openbourse_matching::command::Command;
use openbourse_matching::snapshot::Unusable;
use openbourse_matching::{Effects, Kernel, Stamp, Version, Windows};
use script::Transcript;

fn bytes_of(kernel: &mut Kernel) -> Vec<u8> {
    let mut bytes = Vec::new();
    kernel.write_snapshot(&mut bytes);
    bytes
}

/// With another secret than it had.
fn restored(mut kernel: Kernel) -> Kernel {
    let bytes = bytes_of(&mut kernel);
    let mut restored = Kernel::read_snapshot(&bytes, 7).unwrap();
    assert_eq!(bytes_of(&mut restored), bytes);
    restored
}

#[test]
fn every_transcript_is_the_same_when_each_command_meets_a_restored_kernel() {
    for transcript in script::transcripts() {
        let played = script::play(&transcript.recorded, transcript.version, restored);
        let difference = script::first_difference(&transcript.recorded, &played);
        let Transcript { name, path, .. } = transcript;
        assert_eq!(difference, None, "{name} in {}", path.display());
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = (self.0.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn one_of<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len() as u64) as usize]
    }

    /// In a small world, so that most of it happens.
    fn text(&mut self) -> String {
        let account = 1000 + self.below(4);
        let symbol = self.one_of(&["BTCUSDT", "ETHUSDT"]);
        let side = self.one_of(&["buy", "sell"]);
        let (price, lots, id) = (95 + self.below(10), 1 + self.below(9), self.below(12));
        let stp = self.one_of(&[
            "",
            "",
            " stp=transfer",
            " stp=decrement",
            " stp=expire-maker",
        ]);
        match self.below(40) {
            0..16 => format!("place {account} {symbol} {side} gtc {price} {lots} id{id}{stp}"),
            16..19 => format!("place {account} {symbol} {side} ioc {price} {lots} id{id}{stp}"),
            19 => format!("place {account} {symbol} {side} market {lots} id{id}"),
            20 => format!(
                "place {account} {symbol} buy amount {} id{id}",
                price * lots
            ),
            21..24 => format!("cancel {account} {symbol} id{id}"),
            24 => format!(
                "amend {account} {symbol} id{id} {lots} id=id{}",
                self.below(12)
            ),
            25 | 26 => format!(
                "replace allow {account} {symbol} id{id} with {side} gtc {price} {lots} id{}",
                self.below(12)
            ),
            27 => format!("countdown {account} {symbol} {}", self.below(20)),
            28 => format!("halt halt{} cancel-only {symbol} words", self.below(2)),
            29 => format!("lift halt{} reopen=auction:5", self.below(2)),
            30 => format!("phase {symbol} auction {}", 1 + self.below(9)),
            31 => format!(
                "account {account} group=5 orders=9 rate=9/{}",
                1 + self.below(50)
            ),
            32 => format!("kill {account} {}", self.one_of(&["on", "off", "off"])),
            33 => "safety lag=10/20/40 orders=2".into(),
            34 => format!("lag {} 0", self.below(25)),
            35 => format!("debit {account} USDT {lots}"),
            36 => "checkpoint".into(),
            37 => format!("credit {account} USDT {}", 100 * lots),
            _ => "tick".into(),
        }
    }
}

const LISTED: [&str; 5] = [
    "asset BTC 0",
    "asset USDT 0",
    "asset ETH 0",
    "symbol BTCUSDT BTC USDT",
    "symbol ETHUSDT ETH USDT",
];

fn small() -> Kernel {
    keyed(0)
}

/// Small windows, which are full most of the time.
fn keyed(key: u64) -> Kernel {
    let windows = Windows {
        commands: 16,
        closed_orders: 8,
        closed_client_order_ids: 5,
    };
    Kernel::keyed(Version::LATEST, "main", windows, key)
}

fn stream(random: &mut Random, length: usize) -> Vec<Command> {
    let funds = (1000..1004).flat_map(|account| {
        ["BTC", "USDT", "ETH"].map(|asset| format!("credit {account} {asset} 5000"))
    });
    let first = LISTED.into_iter().map(String::from).chain(funds);
    let mut commands: Vec<Command> = Vec::new();
    let mut texts = first.collect::<Vec<_>>().into_iter();
    while commands.len() < length {
        let number = commands.len() as u64;
        let next = texts.next();
        if next.is_none() && random.below(8) == 0 {
            let back = 1 + random.below(20).min(number - 1);
            commands.push(commands[(number - back) as usize].clone());
            continue;
        }
        commands.push(Command {
            id: Some(u128::from(number).to_le_bytes()),
            body: script::parse::command(&next.unwrap_or_else(|| random.text())),
        });
    }
    commands
}

fn step(kernel: &mut Kernel, command: &Command) -> Effects {
    let seq = kernel.seq() + 1;
    let stamp = Stamp {
        seq,
        epoch: 1 + seq / 1000,
        time_us: seq.cast_signed() * 700,
    };
    let mut effects = Effects::new();
    kernel.step(stamp, command, &mut effects).unwrap();
    effects
}

fn told(effects: &Effects) -> String {
    format!(
        "{:?} {:?}",
        effects.reply,
        effects.events().collect::<Vec<_>>()
    )
}

#[test]
fn a_restored_kernel_goes_on_as_the_one_that_wrote_the_snapshot() {
    for seed in 1..=8 {
        let commands = stream(&mut Random(seed), 3000);
        let (mut kernel, mut other) = (small(), small());
        for (at, command) in commands.iter().enumerate() {
            if at % 29 == 0 {
                other = restored(other);
            }
            let (one, two) = (step(&mut kernel, command), step(&mut other, command));
            assert_eq!(told(&one), told(&two), "seed {seed}, command {at}");
            assert_eq!(kernel.next_due_us(), other.next_due_us());
        }
        assert_eq!(kernel.state_hash(), other.state_hash(), "seed {seed}");
    }
}

#[test]
fn the_secret_makes_no_difference_to_replies_events_hashes_and_snapshots() {
    for seed in 1..=8 {
        let keys = [seed * 0x1234_5678_9abc_def1, u64::MAX];
        let (mut kernel, mut others) = (small(), keys.map(keyed));
        for (at, command) in stream(&mut Random(seed), 3000).iter().enumerate() {
            let first = told(&step(&mut kernel, command));
            for other in &mut others {
                assert_eq!(first, told(&step(other, command)), "seed {seed}, {at}");
            }
            if at % 100 == 0 {
                let bytes = bytes_of(&mut kernel);
                for other in &mut others {
                    assert!(bytes == bytes_of(other), "seed {seed}, command {at}");
                    assert_eq!(kernel.state_hash(), other.state_hash());
                }
            }
        }
    }
}

/// Of everything a little.
fn a_small_snapshot() -> Vec<u8> {
    let mut kernel = small();
    for command in stream(&mut Random(3), 400) {
        step(&mut kernel, &command);
    }
    for text in [
        "lag 0 0",
        "lift halt0",
        "lift halt1",
        "countdown 1000 * 50",
        "kill 1003 off",
        "place 1000 BTCUSDT buy gtc 3 1 one",
        "place 1001 ETHUSDT sell gtc 900 1 two",
        "halt stop cancel-only BTCUSDT,ETHUSDT a reason",
    ] {
        let id = Some(u128::from(1_000_000 + kernel.seq()).to_le_bytes());
        let body = script::parse::command(text);
        step(&mut kernel, &Command { id, body });
    }
    bytes_of(&mut kernel)
}

#[test]
fn a_snapshot_with_a_byte_flipped_is_none_or_the_snapshot_of_another_state() {
    let good = a_small_snapshot();
    let mut refused = 0;
    for at in 0..good.len() {
        for bit in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= bit;
            match Kernel::read_snapshot(&bad, 0) {
                // Nothing of it was passed over: what the hash leaves out is for the file's own to find.
                Ok(mut kernel) => {
                    assert!(bytes_of(&mut kernel) == bad, "byte {at} is not looked at")
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > good.len(), "{refused} of {} bytes", good.len());
}

#[test]
fn a_snapshot_that_was_cut_or_has_more_is_none() {
    let good = a_small_snapshot();
    for end in 0..good.len() {
        let cut = Kernel::read_snapshot(&good[..end], 0).err();
        assert!(
            matches!(cut, Some(Unusable::Damaged(_))),
            "{cut:?} at {end}"
        );
    }
    let longer = Kernel::read_snapshot(&[&good[..], &[0]].concat(), 0).err();
    assert_eq!(longer, Some(Unusable::Damaged("something follows its end")));
}

#[test]
fn bytes_that_nobody_wrote_are_no_snapshot() {
    let good = a_small_snapshot();
    let mut random = Random(5);
    for _ in 0..20_000 {
        let mut bad = good.clone();
        for _ in 0..1 + random.below(8) {
            let at = random.below(bad.len() as u64 - 8) as usize;
            let value = match random.below(3) {
                0 => u64::MAX,
                1 => random.below(1 << 20),
                _ => i64::MAX.cast_unsigned() - random.below(3),
            };
            bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        // Whatever it says, it comes back.
        let _ = Kernel::read_snapshot(&bad, 0);
    }
}

#[test]
fn the_hash_that_was_recorded_must_be_that_of_the_state() {
    let mut bad = a_small_snapshot();
    bad[4] ^= 1;
    let refused = Kernel::read_snapshot(&bad, 0).err();
    assert!(
        matches!(refused, Some(Unusable::StateHash { .. })),
        "{refused:?}"
    );
    bad[0] = 9;
    assert_eq!(
        Kernel::read_snapshot(&bad, 0).err(),
        Some(Unusable::Encoding(9))
    );
}
