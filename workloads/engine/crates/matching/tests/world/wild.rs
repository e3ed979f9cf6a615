//! Long sequences of everything, drawn by a seed: what no small alphabet has room for.

use super::{Broken, World};

const COMMANDS: usize = 250;

/// The first that breaks a promise ends it.
pub fn walk(seed: u64) -> Result<(), Broken> {
    let mut draw = Draw::new(seed);
    let mut world = World::new();
    for command in [
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT lot=3 max-quantity=9",
        "credit 1000 BTC 300",
        "credit 1000 USDT 3000",
        "credit 1001 BTC 300",
        "credit 1001 USDT 3000",
        "credit 1002 USDT 3000",
    ] {
        world.step(command)?;
    }
    for number in 0..COMMANDS {
        draw.number = number;
        world.step(&command(&mut draw))?;
    }
    world.check(World::check_replay)
}

/// Marsaglia's xorshift.
struct Draw {
    state: u64,
    /// Of the command that is drawn.
    number: usize,
}

impl Draw {
    fn new(seed: u64) -> Self {
        let mut draw = Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            number: 0,
        };
        for _ in 0..8 {
            draw.below(2);
        }
        draw
    }

    fn below(&mut self, most: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) % most
    }

    fn of(&mut self, words: &[&'static str]) -> &'static str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap()]
    }
}

fn command(draw: &mut Draw) -> String {
    let account = draw.of(&["1000", "1000", "1001", "1001", "1002"]);
    match draw.below(60) {
        0..34 => format!("place {account} BTCUSDT {}", order(draw)),
        34..38 => format!("cancel {account} BTCUSDT {}", id(draw)),
        38..42 => {
            let (old, new, lots) = (id(draw), new_id(draw), draw.below(6) + 1);
            let renamed = draw.below(2) == 0;
            let new = if renamed {
                format!(" id={new}")
            } else {
                String::new()
            };
            format!("amend {account} BTCUSDT {old} {lots}{new}")
        }
        42 | 43 => {
            let (mode, old) = (draw.of(&["stop", "allow"]), id(draw));
            format!(
                "replace {mode} {account} BTCUSDT {old} with {}",
                order(draw)
            )
        }
        44 => format!("cancel-all {} *", draw.of(&["1000", "1001", "*"])),
        45 => format!("countdown {account} * {}", draw.below(3) * 2000),
        46 | 47 => draw
            .of(&["phase BTCUSDT auction 3000", "phase BTCUSDT post-only 2000"])
            .into(),
        48 | 49 => "phase BTCUSDT trading 0".into(),
        50 => format!(
            "halt {} *",
            draw.of(&["a halt", "b cancel-only", "c post-only"])
        ),
        51..54 => {
            let (name, reopen) = (
                draw.of(&["a", "b", "c"]),
                draw.of(&["", " reopen=auction:2000"]),
            );
            format!("lift {name}{reopen}")
        }
        54 => {
            let (group, reuse) = (draw.below(2), draw.of(&["", " reuse"]));
            format!("account {account} group={group}{reuse}")
        }
        55 => format!("kill {account} {}", draw.of(&["on", "off", "off", "off"])),
        56 => definition(draw),
        _ => "tick".into(),
    }
}

fn order(draw: &mut Draw) -> String {
    let side = draw.of(&["buy", "sell"]);
    let (price, lots) = (draw.below(5) + 8, draw.below(9) + 1);
    let terms = match draw.below(10) {
        0 => format!("market {lots}"),
        1 => format!("amount {}", draw.below(300) + 1),
        2 => format!("ioc {price} {lots}"),
        3 => format!("fok {price} {lots}"),
        4 => format!("maker {price} {lots}"),
        _ => format!("gtc {price} {lots}"),
    };
    let modes = [
        "",
        " stp=none",
        " stp=expire-taker",
        " stp=expire-maker",
        " stp=expire-both",
        " stp=decrement",
        " stp=transfer",
        " stp=transfer",
    ];
    format!("{side} {terms} {}{}", new_id(draw), draw.of(&modes))
}

fn definition(draw: &mut Draw) -> String {
    let (maker, taker) = (
        draw.of(&["0", "30000", "100000"]),
        draw.of(&["0", "30000", "100000"]),
    );
    let charge = draw.of(&["", " charge=quote"]);
    let bands = draw.of(&[
        "",
        "",
        " dynamic=150000 auction-ms=2000",
        " collar=120000",
        " reference=10",
    ]);
    let prevention = draw.of(&["", " stp=decrement", " stp=transfer"]);
    format!(
        "symbol BTCUSDT BTC USDT lot=3 max-quantity=9 maker={maker} taker={taker}{charge}{bands}{prevention}"
    )
}

/// Mostly one that is new.
fn new_id(draw: &mut Draw) -> String {
    match draw.below(8) {
        0 => id(draw),
        _ => format!("id{}", draw.number),
    }
}

/// Of one of the last orders.
fn id(draw: &mut Draw) -> String {
    let back = usize::try_from(draw.below(25)).unwrap();
    format!("id{}", draw.number.saturating_sub(back))
}
