//! The worlds: three prices, two accounts with money for most sequences, not for all.

use super::Alphabet;

/// Every type of order, most modes of prevention, amendments. The first account reuses its ids, the second may not.
pub const ORDERS: Alphabet = Alphabet {
    name: "orders",
    setup: &[
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT lot=7 max-price=11 max-quantity=3 maker=30000 taker=100000 collar=99999",
        "credit 1000 BTC 40",
        "credit 1000 USDT 400",
        "credit 1001 BTC 40",
        "credit 1001 USDT 250",
        "account 1000 reuse",
    ],
    letters: &[
        "place 1000 BTCUSDT buy gtc 10 3 a",
        "place 1000 BTCUSDT sell gtc 11 2 b",
        "place 1000 BTCUSDT sell ioc 9 3 c stp=expire-maker",
        "place 1000 BTCUSDT buy fok 11 3 d stp=decrement",
        "place 1000 BTCUSDT buy ioc 11 3 e stp=expire-taker",
        "amend 1000 BTCUSDT a 1",
        "cancel 1000 BTCUSDT b",
        "place 1001 BTCUSDT sell gtc 10 2 a",
        "place 1001 BTCUSDT buy gtc 10 1 b",
        "place 1001 BTCUSDT buy amount 160 c stp=decrement",
        "place 1001 BTCUSDT sell market 3 d stp=expire-both",
        "place 1001 BTCUSDT sell maker 11 1 e",
    ],
};

/// Fees in quote under schedules that change, transfers in a group, replacements.
pub const FEES: Alphabet = Alphabet {
    name: "fees",
    setup: &[
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT lot=7 max-price=11 max-quantity=3 charge=quote maker=30000 taker=90000",
        "credit 1000 BTC 40",
        "credit 1000 USDT 600",
        "credit 1001 BTC 40",
        "credit 1001 USDT 300",
        "account 1000 group=1 reuse",
        "account 1001 group=1",
    ],
    letters: &[
        "place 1000 BTCUSDT buy gtc 11 3 a stp=transfer",
        "place 1000 BTCUSDT sell gtc 9 2 b stp=none",
        "place 1000 BTCUSDT buy market 3 c stp=none",
        "amend 1000 BTCUSDT a 2 id=d",
        "cancel-all 1000 *",
        "place 1001 BTCUSDT sell gtc 10 2 a stp=transfer",
        "place 1001 BTCUSDT buy gtc 10 2 b",
        "place 1001 BTCUSDT buy amount 170 c stp=transfer",
        "place 1001 BTCUSDT sell amount 150 d stp=expire-maker",
        "replace allow 1001 BTCUSDT a with buy fok 11 2 e",
        "symbol BTCUSDT BTC USDT lot=7 max-price=11 max-quantity=3 maker=50000 taker=100000",
    ],
};

/// Phases, auctions, volatility bands, halts, and the Ticks that end them.
pub const AUCTIONS: Alphabet = Alphabet {
    name: "auctions",
    setup: &[
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT lot=7 max-price=11 max-quantity=3 maker=30000 taker=90000 charge=quote reference=9 dynamic=120000 auction-ms=1500",
        "credit 1000 BTC 40",
        "credit 1000 USDT 800",
        "credit 1001 BTC 60",
        "credit 1001 USDT 400",
        "account 1000 reuse",
    ],
    letters: &[
        "place 1000 BTCUSDT buy gtc 11 2 a",
        "place 1000 BTCUSDT buy gtc 10 1 b",
        "place 1000 BTCUSDT buy ioc 11 3 c",
        "place 1000 BTCUSDT buy amount 250 d",
        "place 1001 BTCUSDT sell gtc 9 1 a",
        "place 1001 BTCUSDT sell gtc 10 2 b",
        "place 1001 BTCUSDT sell gtc 11 1 c",
        "phase BTCUSDT auction 0",
        "phase BTCUSDT trading 0",
        "halt closed cancel-only *",
        "lift closed reopen=auction:1500",
        "tick",
    ],
};

/// What an account and the shard are held to, and what goes on by itself: limits, kill switches, countdowns, safety.
pub const LIMITS: Alphabet = Alphabet {
    name: "limits",
    setup: &[
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT lot=7 max-price=11 max-quantity=3",
        "credit 1000 BTC 40",
        "credit 1000 USDT 400",
        "credit 1001 USDT 150",
        "safety lag=10/20/30 orders=1",
    ],
    letters: &[
        "place 1000 BTCUSDT sell gtc 10 1 a",
        "place 1000 BTCUSDT buy gtc 9 1 b",
        "place 1001 BTCUSDT buy ioc 11 2 a",
        "cancel-all 1000 *",
        "account 1000 orders=1 rate=1/3000",
        "account 1000 notional=USDT:69 reuse",
        "kill 1000 on",
        "kill 1000 off",
        "countdown 1000 * 1000",
        "lag 10 0",
        "lag 5 0",
        "tick",
    ],
};

/// Client order ids that close, and one that is replaced by another.
pub const IDS: Alphabet = Alphabet {
    name: "ids",
    setup: &[
        "asset BTC 0",
        "asset USDT 0",
        "symbol BTCUSDT BTC USDT",
        "credit 1000 USDT 400",
    ],
    letters: &[
        "place 1000 BTCUSDT buy gtc 9 2 a",
        "place 1000 BTCUSDT buy gtc 9 2 b",
        "amend 1000 BTCUSDT a 1 id=b",
        "amend 1000 BTCUSDT b 1",
        "cancel 1000 BTCUSDT b",
    ],
};

pub const ALL: [Alphabet; 5] = [ORDERS, FEES, AUCTIONS, LIMITS, IDS];
