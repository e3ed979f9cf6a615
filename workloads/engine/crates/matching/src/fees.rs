//! Fee schedules, and the one place where money is rounded.

/// What a symbol charges from some seq on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeSchedule {
    pub maker_ppm: u32,
    pub taker_ppm: u32,
    pub charge: FeeCharge,
}

/// What a fee is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeCharge {
    /// What the party receives.
    Received,
    /// Quote for both; the buyer pays it on top.
    Quote,
}

/// Which of an order's two rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Maker,
    Taker,
}

impl FeeSchedule {
    pub(crate) fn rate_ppm(&self, role: Role) -> u32 {
        match role {
            Role::Maker => self.maker_ppm,
            Role::Taker => self.taker_ppm,
        }
    }

    /// What a buy of that notional holds. None: it is out of range.
    pub(crate) fn held_with_fee(&self, notional_units: i64) -> Option<i64> {
        match self.charge {
            FeeCharge::Received => Some(notional_units),
            FeeCharge::Quote => {
                notional_units.checked_add(fee_units(notional_units, self.highest_ppm()))
            }
        }
    }

    pub(crate) fn highest_ppm(&self) -> u32 {
        self.maker_ppm.max(self.taker_ppm)
    }
}

/// A fee is the floor of the amount times the rate: never more than the rate says, and nothing on amounts too small for
/// one min-unit of it. The rest stays with the party that would have paid it, so no unit is made or lost.
///
/// | amount | ppm | fee |
/// |---|---|---|
/// | 1,000,000 | 1,000 | 1,000 |
/// | 999 | 1,000 | 0 |
/// | 1,000 | 1,000 | 1 |
/// | 1,999 | 1,000 | 1 |
/// | 9,223,372,036,854,775,807 | 100,000 | 922,337,203,685,477,580 |
pub(crate) fn fee_units(amount_units: i64, rate_ppm: u32) -> i64 {
    // Most amounts are small enough for 64 bits, in which a division costs far less.
    if let Some(scaled) = amount_units.checked_mul(rate_ppm.into()) {
        return scaled / 1_000_000;
    }
    let exact = i128::from(amount_units) * i128::from(rate_ppm) / 1_000_000;
    i64::try_from(exact).expect("a fee is no more than what it is taken from")
}

/// The most lots at `lot_price_units` each that an amount pays for, a fee on top included.
pub(crate) fn lots_paid_for(amount_units: i64, lot_price_units: i64, rate_ppm: u32) -> i64 {
    // n lots cost n x price + floor(n x price x rate), which is at most the amount as long as
    // n x price x (1 + rate) is less than the amount and one unit more.
    let scaled = (i128::from(amount_units) + 1) * 1_000_000 - 1;
    let lots = scaled / (i128::from(lot_price_units) * (1_000_000 + i128::from(rate_ppm)));
    i64::try_from(lots).expect("a lot costs at least one unit")
}

#[cfg(test)]
mod tests {
    use super::{fee_units, lots_paid_for};

    #[test]
    fn fees_are_rounded_down() {
        let examples = [
            (1_000_000, 1_000, 1_000),
            (999, 1_000, 0),
            (1_000, 1_000, 1),
            (1_999, 1_000, 1),
            (2_000, 1_000, 2),
            (123_456_789, 0, 0),
            (i64::MAX, 100_000, 922_337_203_685_477_580),
        ];
        for (amount, ppm, fee) in examples {
            assert_eq!(fee_units(amount, ppm), fee, "{ppm} ppm of {amount}");
        }
    }

    #[test]
    fn an_amount_pays_for_as_many_lots_as_fit_into_it_with_their_fee() {
        for amount in 0..300 {
            for price in 1..20 {
                for ppm in [0, 1, 70_000, 99_999, 100_000] {
                    let cost = |lots: i64| lots * price + fee_units(lots * price, ppm);
                    let counted = (0..).take_while(|lots| cost(lots + 1) <= amount).count();
                    let lots = lots_paid_for(amount, price, ppm);
                    assert_eq!(lots, counted as i64, "{amount} at {price}, {ppm} ppm");
                }
            }
        }
        assert_eq!(lots_paid_for(i64::MAX, 1, 0), i64::MAX);
    }
}
