//! The versions of the kernel that this binary carries, and everything in which they differ.

/// A log begins with version 1 and goes to a later one by a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    One = 1,
    Two = 2,
    Three = 3,
}

impl Version {
    pub const LATEST: Self = Self::Three;

    pub fn number(self) -> u32 {
        self as u32
    }

    pub fn of_number(number: u32) -> Option<Self> {
        [Self::One, Self::Two, Self::Three]
            .into_iter()
            .find(|version| version.number() == number)
    }

    /// Orders but LIMIT with GTC and IOC, the commands from DebitFunds on, and the fields that came with them.
    pub fn knows_the_trading_core(self) -> bool {
        self >= Self::Two
    }

    /// Orders have a fee schedule for life. Otherwise a trade is charged what its symbol charges now.
    pub fn keeps_fee_schedules(self) -> bool {
        self >= Self::Two
    }

    /// Accounts have limits, and client order ids are remembered after their orders closed.
    pub fn limits_accounts(self) -> bool {
        self >= Self::Two
    }

    /// A command makes a bounded number of matches.
    pub fn limits_matches(self) -> bool {
        self >= Self::Two
    }

    /// OrderCanceled says why.
    pub fn tells_cancel_reasons(self) -> bool {
        self >= Self::Two
    }

    /// The last price, the minutes and what else a market remembers of its trades.
    pub fn remembers_prices(self) -> bool {
        self >= Self::Two
    }

    /// Symbols move between shards, and an account's guard is a countdown of its own. For that more is remembered: of
    /// which symbol a command and a closed client order id was.
    pub fn moves_symbols(self) -> bool {
        self >= Self::Three
    }

    /// SHA-256 over the whole state, and chains over each whole entry. Otherwise sums of digests, and short entries.
    pub fn hashes_everything(self) -> bool {
        self == Self::One
    }
}
