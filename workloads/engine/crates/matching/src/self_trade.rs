//! Self-trade prevention: what happens instead of a trade between two orders of one party.

use crate::accounts::Accounts;
use crate::event::{EventBody, Movement, PreventedMatch, PreventedParty};
use crate::listings::Symbol;
use crate::matching::Market;
use crate::order::{Order, OrderStatus, SelfTradePrevention, Side};
use crate::planted::{Bug, planted};
use crate::risk::{Taker, reserve};

/// How the match of these two is prevented; None: it is not.
pub(crate) fn prevention(
    symbol: &Symbol,
    accounts: &Accounts,
    taker: &Order,
    maker: &Order,
) -> Option<SelfTradePrevention> {
    let mode = symbol.prevention_of(taker);
    if mode == SelfTradePrevention::None || !accounts.are_one_party(taker.account, maker.account) {
        return None;
    }
    let transfers = symbol.prevention_of(maker) == SelfTradePrevention::Transfer
        && taker.account != maker.account;
    Some(match mode {
        SelfTradePrevention::Transfer if !transfers => SelfTradePrevention::Decrement,
        mode => mode,
    })
}

/// The lots that taker and maker lose.
fn lost(mode: SelfTradePrevention, taker: &Order, maker: &Order) -> (i64, i64) {
    match mode {
        SelfTradePrevention::None => (0, 0),
        SelfTradePrevention::ExpireTaker => (taker.leaves_lots(), 0),
        SelfTradePrevention::ExpireMaker => (0, maker.leaves_lots()),
        SelfTradePrevention::ExpireBoth => (taker.leaves_lots(), maker.leaves_lots()),
        SelfTradePrevention::Decrement | SelfTradePrevention::Transfer => {
            let both = taker.leaves_lots().min(maker.leaves_lots());
            if planted(Bug::DecrementTakesFromTheMakerOnly) {
                return (0, both);
            }
            (both, both)
        }
    }
}

impl Market<'_> {
    /// Instead of a trade with that maker.
    pub(crate) fn prevent(&mut self, taker: &mut Taker, maker_id: u64, mode: SelfTradePrevention) {
        let before = *self.symbol.book.get(maker_id).expect("the maker rests");
        let price_ticks = before.price_ticks;
        let (taker_lost, maker_lost) = lost(mode, &taker.order, &before);
        let mut maker = before;
        if maker_lost > 0 {
            let time_us = self.time_us;
            let reduced =
                (self.symbol.book).reduce(maker_id, |maker| maker.prevent(maker_lost, time_us));
            maker = reduced.expect("the maker rests");
            self.touch(maker.side, price_ticks);
        }
        taker.order.prevent(taker_lost, self.time_us);

        let transfers = mode == SelfTradePrevention::Transfer;
        let transferred_lots = if transfers { taker_lost } else { 0 };
        let quote_units = self.symbol.quote_units(price_ticks, transferred_lots);
        let spent_units = match taker.order.side {
            Side::Buy => quote_units,
            Side::Sell => self.symbol.base_units(transferred_lots),
        };
        let taker_held = taker.hold_after(self.symbol, spent_units);
        let taker_release = taker.held_units - taker_held;
        let maker_release = self.symbol.hold_of(&before) - self.symbol.hold_of(&maker);
        taker.held_units = taker_held;
        if transfers {
            let parties = [(taker.order, taker_release), (maker, maker_release)];
            self.transfer(parties, transferred_lots, quote_units);
        } else {
            for (order, release) in [(maker, maker_release), (taker.order, taker_release)] {
                let held = (order.account, self.symbol.asset_held(order.side));
                reserve(self.accounts, self.effects, held, -release);
            }
        }

        self.symbol.prevented_matches += 1;
        let prevented = PreventedMatch {
            prevented_match_id: self.symbol.prevented_matches,
            mode,
            price_ticks,
            maker: party(&maker, maker_lost),
            taker: party(&taker.order, taker_lost),
            taker_side: taker.order.side,
            transferred_lots,
            transferred_quote_units: quote_units,
        };
        self.happened(EventBody::MatchPrevented(prevented));
        if maker.leaves_lots() == 0 {
            self.happened(EventBody::OrderExpired(maker));
            self.close_resting(&maker);
        }
        if taker.order.status == OrderStatus::ExpiredInMatch {
            self.happened(EventBody::OrderExpired(taker.order));
        }
    }

    /// Lots and what they are worth change hands; each side gives back of its hold what it needs no more.
    fn transfer(&mut self, parties: [(Order, i64); 2], lots: i64, quote_units: i64) {
        let [one, other] = parties;
        let (buyer, seller) = match one.0.side {
            Side::Buy => (one, other),
            Side::Sell => (other, one),
        };
        let base_units = self.symbol.base_units(lots);
        let (base, quote) = (self.symbol.base, self.symbol.quote);
        let movements = [
            (buyer.0.account, quote, buyer.1 - quote_units, -buyer.1),
            (buyer.0.account, base, base_units, 0),
            (seller.0.account, base, seller.1 - base_units, -seller.1),
            (seller.0.account, quote, quote_units, 0),
        ];
        for (account, asset, available_change, hold_change) in movements {
            let movement = Movement {
                account,
                asset,
                available_change,
                hold_change,
            };
            self.accounts.apply(movement, self.effects);
        }
    }
}

fn party(order: &Order, prevented_lots: i64) -> PreventedParty {
    PreventedParty {
        account: order.account,
        order_id: order.order_id,
        client_order_id: order.client_order_id,
        prevented_lots,
        leaves_lots: order.leaves_lots(),
    }
}
