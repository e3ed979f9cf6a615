//! How far a price may go: the band of an order's price, the collar of a MARKET order, and the bands that trades stay
//! within or else start an auction.
//!
//! Bounds are compared by multiplication in 128 bits: nothing is rounded but the average price.

use std::collections::VecDeque;

use crate::listings::Symbol;
use crate::order::Side;

const PPM: i128 = 1_000_000;
const MINUTE_US: i64 = 60_000_000;
const MINUTES_MOST: i64 = 60;

/// Parts per million of the reference price; 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PriceBand {
    pub lowest_ppm: u32,
    pub highest_ppm: u32,
}

impl PriceBand {
    pub(crate) fn is_possible(&self) -> bool {
        self.lowest_ppm == 0 || self.highest_ppm == 0 || self.lowest_ppm <= self.highest_ppm
    }

    pub(crate) fn allows(&self, price_ticks: i64, reference_ticks: i64) -> bool {
        let price = i128::from(price_ticks) * PPM;
        let bound = |ppm: u32| i128::from(reference_ticks) * i128::from(ppm);
        (self.lowest_ppm == 0 || price >= bound(self.lowest_ppm))
            && (self.highest_ppm == 0 || price <= bound(self.highest_ppm))
    }
}

/// The trades of one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minute {
    pub number: i64,
    pub price_lots: u128,
    pub lots: u128,
}

/// The minutes that had trades, of the last sixty, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minutes(VecDeque<Minute>);

impl Minutes {
    pub fn of(minutes: Vec<Minute>) -> Self {
        Self(minutes.into())
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Minute> {
        self.0.iter()
    }

    pub fn add(&mut self, time_us: i64, price_ticks: i64, quantity_lots: i64) {
        let number = time_us.div_euclid(MINUTE_US);
        if self.0.back().is_none_or(|newest| newest.number != number) {
            self.0.push_back(Minute {
                number,
                price_lots: 0,
                lots: 0,
            });
            while (self.0.front()).is_some_and(|oldest| oldest.number <= number - MINUTES_MOST) {
                self.0.pop_front();
            }
        }
        let newest = self.0.back_mut().expect("it was added");
        let lots = u128::from(quantity_lots.unsigned_abs());
        newest.price_lots += u128::from(price_ticks.unsigned_abs()) * lots;
        newest.lots += lots;
    }

    /// Over the current minute and those before it; None where nothing traded.
    fn average(&self, time_us: i64, minutes: u32) -> Option<i64> {
        let first = time_us.div_euclid(MINUTE_US) - i64::from(minutes) + 1;
        let recent = self.0.iter().filter(|minute| minute.number >= first);
        let (price_lots, lots) = recent.fold((0, 0), |(price_lots, lots), minute| {
            (price_lots + minute.price_lots, lots + minute.lots)
        });
        let average = u128::checked_div(price_lots, lots)?;
        Some(i64::try_from(average).expect("an average is no higher than the highest price"))
    }
}

impl Symbol {
    /// That of the last trade, before any the definition's reference price.
    pub fn last_price(&self) -> Option<i64> {
        let of_definition = self.definition.reference_price_ticks;
        (self.last_price_ticks).or((of_definition > 0).then_some(of_definition))
    }

    /// What bands and the notional of MARKET orders are measured against.
    pub fn reference_price(&self, time_us: i64) -> Option<i64> {
        match self.definition.average_minutes {
            0 => None,
            minutes => self.minutes.average(time_us, minutes),
        }
        .or_else(|| self.last_price())
    }

    pub fn band(&self, side: Side) -> PriceBand {
        match side {
            Side::Buy => self.definition.bid_band,
            Side::Sell => self.definition.ask_band,
        }
    }

    /// How far a MARKET order of that side may trade now.
    pub fn collar(&self, side: Side) -> Option<Collar> {
        let base = (self.last_price()).or_else(|| self.book.best(side.opposite()))?;
        let ppm = i128::from(self.definition.market_collar_ppm);
        (ppm > 0).then_some(Collar {
            side,
            scaled_ticks: i128::from(base)
                * match side {
                    Side::Buy => PPM + ppm,
                    Side::Sell => PPM - ppm,
                },
        })
    }

    /// What trades stay within now.
    pub fn volatility_bands(&self) -> VolatilityBands {
        let definition = &self.definition;
        let reference = definition.reference_price_ticks;
        let of_auction = (self.auction_price_ticks).or((reference > 0).then_some(reference));
        let band = |center: Option<i64>, ppm: u32| center.filter(|_| ppm > 0).map(|at| (at, ppm));
        VolatilityBands {
            within: [
                band(of_auction, definition.static_band_ppm),
                band(self.last_price(), definition.dynamic_band_ppm),
            ],
        }
    }
}

/// The furthest price of a MARKET order, in millionths of a tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Collar {
    side: Side,
    scaled_ticks: i128,
}

impl Collar {
    pub fn allows(&self, price_ticks: i64) -> bool {
        let price = i128::from(price_ticks) * PPM;
        match self.side {
            Side::Buy => price <= self.scaled_ticks,
            Side::Sell => price >= self.scaled_ticks,
        }
    }
}

/// The static and the dynamic band: a price and how many ppm around it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolatilityBands {
    within: [Option<(i64, u32)>; 2],
}

impl VolatilityBands {
    pub fn allow(&self, price_ticks: i64) -> bool {
        self.within.iter().flatten().all(|(center, ppm)| {
            let distance = (i128::from(price_ticks) - i128::from(*center)).abs();
            distance * PPM <= i128::from(*center) * i128::from(*ppm)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Minutes;

    #[test]
    fn the_average_is_over_the_minutes_asked_for_and_rounded_down() {
        let mut minutes = Minutes::default();
        minutes.add(59_999_999, 100, 1);
        minutes.add(60_000_000, 103, 2);
        minutes.add(119_999_999, 104, 2);
        assert_eq!(minutes.average(119_999_999, 1), Some(103));
        assert_eq!(minutes.average(119_999_999, 2), Some(102));
        assert_eq!(minutes.average(120_000_000, 1), None);
        assert_eq!(minutes.average(120_000_000, 2), Some(103));
        minutes.add(60 * 60_000_000, 7, 1);
        assert_eq!(minutes.iter().len(), 2, "the first is sixty minutes old");
    }
}
