//! The shard's answer to settlement lag and unpublished commands: throttle, cancel only, halt, and back.

use std::fmt;

use crate::planted::{Bug, planted};
use crate::refusal::Refusal;
use crate::symbol_state::SymbolState;

const SECOND_US: i64 = 1_000_000;

/// In order of how much is forbidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SafetyLevel {
    #[default]
    Normal,
    Throttled,
    CancelOnly,
    Halt,
}

impl SafetyLevel {
    /// What it makes of every symbol, at least.
    pub(crate) fn state(self) -> SymbolState {
        match self {
            Self::Normal | Self::Throttled => SymbolState::Trading,
            Self::CancelOnly => SymbolState::CancelOnly,
            Self::Halt => SymbolState::Halt,
        }
    }
}

impl fmt::Display for SafetyLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Normal => "NORMAL",
            Self::Throttled => "THROTTLED",
            Self::CancelOnly => "CANCEL_ONLY",
            Self::Halt => "HALT",
        })
    }
}

/// From which measure on a level is asked for; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafetyLimits {
    pub throttle: u64,
    pub cancel_only: u64,
    pub halt: u64,
}

impl SafetyLimits {
    /// A level that the shard has is kept up as long as the measure is not below half of its limit.
    fn level(&self, measured: u64, level: SafetyLevel) -> SafetyLevel {
        let limits = [
            (SafetyLevel::Halt, self.halt),
            (SafetyLevel::CancelOnly, self.cancel_only),
            (SafetyLevel::Throttled, self.throttle),
        ];
        let asked = limits.into_iter().find(|(asked, limit)| {
            let kept_up = !planted(Bug::SafetyHasNoHysteresis)
                && *asked <= level
                && measured >= (limit / 2).max(1);
            *limit > 0 && (measured >= *limit || kept_up)
        });
        asked.map_or(SafetyLevel::Normal, |(asked, _)| asked)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SafetyConfiguration {
    pub settlement_lag_ms: SafetyLimits,
    pub unpublished_commands: SafetyLimits,
    pub throttled_orders_per_second: u32,
}

/// What the shell measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How long ago the oldest command was committed that the ledger has not settled; 0 when it has all.
    pub settlement_lag_ms: u64,
    pub unpublished_commands: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Safety {
    pub configuration: SafetyConfiguration,
    pub lag: Lag,
    pub level: SafetyLevel,
    /// The second of the shard's time in which orders were counted last, while it throttles.
    pub second: i64,
    pub accepted: u32,
}

impl Safety {
    pub fn configure(&mut self, configuration: SafetyConfiguration) -> Result<(), Refusal> {
        let limits = [
            configuration.settlement_lag_ms,
            configuration.unpublished_commands,
        ];
        if configuration.throttled_orders_per_second == 0
            && limits.iter().any(|limits| limits.throttle > 0)
        {
            return Err(Refusal::Invalid(
                "throttled_orders_per_second: must be at least 1 where something throttles",
            ));
        }
        self.configuration = configuration;
        Ok(())
    }

    /// The level that a report of `lag` would bring.
    pub fn level_at(&self, lag: Lag) -> SafetyLevel {
        let of_settlement = &self.configuration.settlement_lag_ms;
        let of_publication = &self.configuration.unpublished_commands;
        (of_settlement.level(lag.settlement_lag_ms, self.level))
            .max(of_publication.level(lag.unpublished_commands, self.level))
    }

    /// The level before, if it is another now.
    pub fn update(&mut self) -> Option<SafetyLevel> {
        let level = self.level_at(self.lag);
        let previous = std::mem::replace(&mut self.level, level);
        if previous == level {
            return None;
        }
        (self.second, self.accepted) = (0, 0);
        Some(previous)
    }

    pub fn check(&self, time_us: i64) -> Result<(), Refusal> {
        let most = self.configuration.throttled_orders_per_second;
        let accepted = if self.second == time_us.div_euclid(SECOND_US) {
            self.accepted
        } else {
            0
        };
        if self.level == SafetyLevel::Throttled && accepted >= most {
            return Err(Refusal::Throttled { most });
        }
        Ok(())
    }

    pub fn accepted(&mut self, time_us: i64) {
        if self.level != SafetyLevel::Throttled {
            return;
        }
        let second = time_us.div_euclid(SECOND_US);
        if self.second != second {
            (self.second, self.accepted) = (second, 0);
        }
        self.accepted += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_left_below_half_of_its_limit() {
        let limits = SafetyLimits {
            throttle: 10,
            cancel_only: 20,
            halt: 40,
        };
        use SafetyLevel::{CancelOnly, Halt, Normal, Throttled};
        let mut level = Normal;
        let seen = [
            (9, Normal),
            (10, Throttled),
            (19, Throttled),
            (5, Throttled),
            (4, Normal),
            (9, Normal),
            (40, Halt),
            (20, Halt),
            (19, CancelOnly),
            (10, CancelOnly),
            (9, Throttled),
            (4, Normal),
            (u64::MAX, Halt),
            (0, Normal),
        ];
        for (measured, expected) in seen {
            level = limits.level(measured, level);
            assert_eq!(level, expected, "at {measured}");
        }
    }
}
