//! The price of an auction, as the rules say, found by trying every price.

use openbourse_matching::auction::Indication;
use openbourse_matching::symbol_state::SymbolState;

use super::ensure;
use super::told::Told;

impl Told {
    pub fn check_indication(&self, state: SymbolState) -> Result<(), String> {
        let best = self.auction();
        ensure!(
            state != SymbolState::Auction || self.indicated == best,
            "indicated {:?}, by the rules {best:?}",
            self.indicated
        );
        Ok(())
    }

    /// All zeros of a book that does not cross.
    pub fn auction(&self) -> Indication {
        let prices = self.levels.keys().map(|(_, price)| *price);
        let all: Vec<_> = prices.map(|price| self.at(price)).collect();
        let volume = all.iter().map(|at| at.quantity_lots).max().unwrap_or(0);
        if volume == 0 {
            return Indication::default();
        }
        let largest = all.into_iter().filter(|at| at.quantity_lots == volume);
        let largest: Vec<_> = largest.collect();
        let surplus = largest.iter().map(|at| at.surplus_lots.abs()).min();
        let best = largest
            .into_iter()
            .filter(|at| Some(at.surplus_lots.abs()) == surplus);
        let best: Vec<_> = best.collect();
        let price_ticks = self.of_equal_prices(&best);
        self.at(price_ticks)
    }

    fn of_equal_prices(&self, best: &[Indication]) -> i64 {
        let prices = best.iter().map(|at| at.price_ticks);
        let (lowest, highest) = (prices.clone().min().unwrap(), prices.clone().max().unwrap());
        if best.iter().all(|at| at.surplus_lots > 0) {
            return highest;
        }
        if best.iter().all(|at| at.surplus_lots < 0) {
            return lowest;
        }
        let Some(reference) = self.last_price() else {
            return lowest;
        };
        let nearest = prices.clone().map(|price| (price - reference).abs()).min();
        let nearest = prices.filter(|price| Some((price - reference).abs()) == nearest);
        nearest.max().unwrap()
    }

    fn at(&self, price_ticks: i64) -> Indication {
        let lots = |bids: bool| -> i64 {
            let levels = self.levels.iter();
            let reaches = |limit: i64| {
                if bids {
                    limit >= price_ticks
                } else {
                    limit <= price_ticks
                }
            };
            let reaching =
                levels.filter(|((of_bids, limit), _)| *of_bids == bids && reaches(*limit));
            reaching.map(|(_, lots)| lots).sum()
        };
        Indication {
            price_ticks,
            quantity_lots: lots(true).min(lots(false)),
            surplus_lots: lots(true) - lots(false),
        }
    }

    /// Of the last trade, before any the definition's reference.
    pub fn last_price(&self) -> Option<i64> {
        let reference = self.definition.map(|of| of.reference_price_ticks);
        self.last_price_ticks
            .or(reference.filter(|ticks| *ticks > 0))
    }
}
