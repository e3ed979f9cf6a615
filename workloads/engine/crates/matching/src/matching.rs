//! Price-time priority: an incoming order against the book, and how far it reaches.
//!
//! What an order would do is looked at (`look`) by the same questions as are asked when it does it (`sweep`).

use crate::accounts::{Accounts, FEES_ACCOUNT};
use crate::bands::{Collar, VolatilityBands};
use crate::closed_orders::ClosedOrders;
use crate::event::{Effects, EventBody, Fill, Movement, Trade, TradeParty};
use crate::fees::{FeeCharge, Role, fee_units, lots_paid_for};
use crate::ids::ClosedClientIds;
use crate::listings::Symbol;
use crate::names::ClientOrderId;
use crate::order::{Order, OrderType, SelfTradePrevention, Side};
use crate::planted::{Bug, lose_place, planted};
use crate::risk::Taker;
use crate::self_trade::prevention;
use crate::version::Version;

/// Trades and prevented matches of one command, and trades of one uncross.
pub(crate) const MATCHES_MOST: u32 = 32_768;

/// All that a match touches.
pub(crate) struct Market<'a> {
    pub symbol: &'a mut Symbol,
    pub accounts: &'a mut Accounts,
    pub closed: &'a mut ClosedOrders,
    pub closed_ids: &'a mut ClosedClientIds,
    pub effects: &'a mut Effects,
    pub version: Version,
    pub time_us: i64,
    /// Levels whose quantity changed, in the order in which they were reached.
    pub touched: Vec<(Side, i64)>,
    pub fills: Vec<Fill>,
}

/// Why an order came no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing of it is left to match.
    Done,
    Empty,
    /// Its own limit, or the collar of a MARKET order.
    Limit,
    Matches,
    /// An order of its own party, under EXPIRE_TAKER or EXPIRE_BOTH.
    OwnOrder,
    Volatility,
}

/// What happens with the order that is next.
enum Next {
    Trade,
    Prevent(SelfTradePrevention),
    End(End),
}

/// What bounds an order's way through the book, as it was before the command.
pub(crate) struct Reach {
    collar: Option<Collar>,
    volatility: VolatilityBands,
    matches_most: u32,
}

impl Reach {
    pub fn of(symbol: &Symbol, order: &Order, version: Version) -> Self {
        let is_market = order.order_type == OrderType::Market;
        Self {
            collar: symbol.collar(order.side).filter(|_| {
                is_market && !(order.is_by_amount() && planted(Bug::AmountIgnoresTheCollar))
            }),
            volatility: symbol.volatility_bands(),
            matches_most: if version.limits_matches() {
                MATCHES_MOST
            } else {
                u32::MAX
            },
        }
    }

    fn next(
        &self,
        symbol: &Symbol,
        accounts: &Accounts,
        taker: &Order,
        maker: &Order,
        matches: u32,
    ) -> Next {
        let price_ticks = maker.price_ticks;
        let within_limit = match taker.order_type {
            OrderType::Market => self.collar.is_none_or(|collar| collar.allows(price_ticks)),
            OrderType::Limit | OrderType::LimitMaker => {
                crosses(taker.side, taker.price_ticks, price_ticks)
            }
        };
        if !within_limit {
            return Next::End(End::Limit);
        }
        if matches == self.matches_most {
            return Next::End(End::Matches);
        }
        let prevented = prevention(symbol, accounts, taker, maker);
        if let Some(mode @ (SelfTradePrevention::ExpireTaker | SelfTradePrevention::ExpireBoth)) =
            prevented
        {
            return Next::Prevent(mode);
        }
        let volatility = if planted(Bug::BandsFollowEachTrade) {
            symbol.volatility_bands()
        } else {
            self.volatility
        };
        if !volatility.allow(price_ticks) {
            return Next::End(End::Volatility);
        }
        prevented.map_or(Next::Trade, Next::Prevent)
    }
}

/// Whether an order of that side and limit trades with one that rests at that price.
pub(crate) fn crosses(side: Side, limit_ticks: i64, resting_ticks: i64) -> bool {
    match side {
        Side::Buy => resting_ticks <= limit_ticks,
        Side::Sell => resting_ticks >= limit_ticks,
    }
}

/// How much an order wants.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    Lots(i64),
    /// Quote min-units, and the most lots together.
    Amount {
        units: i64,
        lots: i64,
    },
}

/// What an order would do.
pub(crate) struct Look {
    /// It would trade.
    pub traded_lots: i64,
    /// Together: traded, prevented, and wanted where prevention ends it.
    pub lots: i64,
    /// What its trades and transfers would cost a buyer.
    pub cost_units: i128,
    pub end: End,
}

/// What that order would do if it came now. Its own quantity is not looked at.
pub(crate) fn look(
    symbol: &Symbol,
    accounts: &Accounts,
    reach: &Reach,
    taker: &Order,
    mut want: Want,
) -> Look {
    let mut look = Look {
        traded_lots: 0,
        lots: 0,
        cost_units: 0,
        end: End::Empty,
    };
    for (matches, maker) in (0..).zip(symbol.book.orders(taker.side.opposite())) {
        if want.is_satisfied() {
            break;
        }
        let next = match reach.next(symbol, accounts, taker, maker, matches) {
            Next::End(end) => {
                look.end = end;
                return look;
            }
            next => next,
        };
        let lot_price = symbol.quote_units(maker.price_ticks, 1);
        let fee_ppm = match next {
            Next::Trade if taker.side == Side::Buy => {
                let fees = symbol.fees_of(taker);
                let on_top = fees.charge == FeeCharge::Quote;
                if on_top { fees.taker_ppm } else { 0 }
            }
            _ => 0,
        };
        let wanted = want.lots_at(lot_price, fee_ppm);
        if wanted == 0 {
            want = Want::Lots(0);
            break;
        }
        let lots = wanted.min(maker.leaves_lots());
        let units = symbol.quote_units(maker.price_ticks, lots);
        let cost = i128::from(units) + i128::from(fee_units(units, fee_ppm));
        match next {
            Next::Trade => {
                look.traded_lots += lots;
                look.cost_units += cost;
            }
            Next::Prevent(SelfTradePrevention::ExpireMaker) => continue,
            Next::Prevent(SelfTradePrevention::ExpireTaker | SelfTradePrevention::ExpireBoth) => {
                look.lots += wanted;
                look.end = End::OwnOrder;
                return look;
            }
            Next::Prevent(SelfTradePrevention::Transfer) => look.cost_units += cost,
            Next::Prevent(_) | Next::End(_) => {}
        }
        look.lots += lots;
        want.had(lots, cost);
        if wanted < maker.leaves_lots() {
            want = Want::Lots(0);
        }
    }
    if want.is_satisfied() {
        look.end = End::Done;
    }
    look
}

impl Want {
    fn is_satisfied(&self) -> bool {
        match *self {
            Self::Lots(lots) => lots == 0,
            Self::Amount { units, lots } => units == 0 || lots == 0,
        }
    }

    fn lots_at(&self, lot_price_units: i64, fee_ppm: u32) -> i64 {
        match *self {
            Self::Lots(lots) => lots,
            Self::Amount { units, lots } => {
                lots_paid_for(units, lot_price_units, fee_ppm).min(lots)
            }
        }
    }

    fn had(&mut self, had_lots: i64, cost_units: i128) {
        match self {
            Self::Lots(lots) => *lots -= had_lots,
            Self::Amount { units, lots } => {
                *lots -= had_lots;
                *units -= i64::try_from(cost_units).expect("the amount paid for it");
            }
        }
    }
}

impl Market<'_> {
    /// Matches the taker, at the makers' prices, as far as it reaches.
    pub(crate) fn sweep(&mut self, taker: &mut Taker, reach: &Reach) -> End {
        for matches in 0.. {
            if taker.order.leaves_lots() == 0 {
                break;
            }
            let Some(maker) = self.symbol.book.front(taker.order.side.opposite()) else {
                return End::Empty;
            };
            let maker = *maker;
            match reach.next(self.symbol, self.accounts, &taker.order, &maker, matches) {
                Next::End(end) => return end,
                Next::Prevent(mode) => self.prevent(taker, maker.order_id, mode),
                Next::Trade => self.take(taker, &maker),
            }
        }
        End::Done
    }

    fn take(&mut self, taker: &mut Taker, maker: &Order) {
        let lots = taker.order.leaves_lots().min(maker.leaves_lots());
        let price_ticks = maker.price_ticks;
        let quote_units = self.symbol.quote_units(price_ticks, lots);
        taker.order.fill(lots, quote_units, self.time_us);
        let fee_in_quote = (self.symbol).fee_in_quote(&taker.order, Role::Taker, quote_units);
        // A seller spends none of it, and the largest notional may have no room for a fee on top.
        let spent = match taker.order.side {
            Side::Buy => quote_units + fee_in_quote,
            Side::Sell => 0,
        };
        let held = taker.hold_after(self.symbol, spent);
        let released = taker.held_units - held;
        taker.held_units = held;
        let trade = self.trade(maker.order_id, (&taker.order, released), price_ticks, lots);
        if self.fills.capacity() == 0 {
            self.fills = std::mem::take(&mut self.effects.spare_fills);
        }
        self.fills.push(Fill {
            trade_id: trade.trade_id,
            price_ticks,
            quantity_lots: lots,
            quote_units,
            fee_units: trade.taker.fee_units,
            fee_asset: trade.taker.fee_asset,
        });
    }

    /// Between an order that rests and a taker that was filled already, and gives so much of its hold back.
    pub(crate) fn trade(
        &mut self,
        maker_id: u64,
        (taker, taker_released): (&Order, i64),
        price_ticks: i64,
        quantity_lots: i64,
    ) -> Trade {
        let quote_units = self.symbol.quote_units(price_ticks, quantity_lots);
        let time_us = self.time_us;
        let maker = (self.symbol.book)
            .reduce(maker_id, |maker| {
                maker.fill(quantity_lots, quote_units, time_us)
            })
            .expect("the maker rests in the book");
        if planted(Bug::PartialFillLosesItsPlace) {
            lose_place(&mut self.symbol.book, maker_id);
        }
        self.touch(maker.side, maker.price_ticks);
        let maker_released = self.symbol.hold_of(&Order {
            executed_lots: maker.executed_lots - quantity_lots,
            ..maker
        }) - self.symbol.hold_of(&maker);
        self.symbol.trades += 1;
        if self.version.remembers_prices() {
            self.symbol.last_price_ticks = Some(price_ticks);
            (self.symbol.minutes).add(self.time_us, price_ticks, quantity_lots);
        }
        let trade = Trade {
            trade_id: self.symbol.trades,
            price_ticks,
            quantity_lots,
            quote_units,
            maker: self.party(&maker, Role::Maker, quantity_lots, quote_units),
            taker: self.party(taker, Role::Taker, quantity_lots, quote_units),
            taker_side: taker.side,
            auction: self.symbol.uncrossing_at.is_some(),
        };
        match taker.side {
            Side::Buy => self.settle(
                &trade,
                (&trade.taker, taker_released),
                (&trade.maker, maker_released),
            ),
            Side::Sell => self.settle(
                &trade,
                (&trade.maker, maker_released),
                (&trade.taker, taker_released),
            ),
        }
        self.happened(EventBody::TradeExecuted(trade));
        if maker.leaves_lots() == 0 {
            self.close_resting(&maker);
        }
        trade
    }

    fn party(&self, order: &Order, role: Role, lots: i64, quote_units: i64) -> TradeParty {
        let in_base = self
            .symbol
            .fee_in_base(order, role, self.symbol.base_units(lots));
        let in_quote = self.symbol.fee_in_quote(order, role, quote_units);
        let fees = self.symbol.fees_of(order);
        let takes_base = order.side == Side::Buy && fees.charge == FeeCharge::Received;
        TradeParty {
            account: order.account,
            order_id: order.order_id,
            client_order_id: order.client_order_id,
            fee_units: in_base + in_quote,
            fee_asset: if takes_base {
                self.symbol.base
            } else {
                self.symbol.quote
            },
            leaves_lots: order.leaves_lots(),
        }
    }

    /// Buyer, seller, fees. Each side's hold gives back what the order needs no more, beside what it paid.
    fn settle(&mut self, trade: &Trade, buyer: (&TradeParty, i64), seller: (&TradeParty, i64)) {
        let (base, quote) = (self.symbol.base, self.symbol.quote);
        let base_units = self.symbol.base_units(trade.quantity_lots);
        let ((buyer, buyer_released), (seller, seller_released)) = (buyer, seller);
        let fee_in = |asset, party: &TradeParty| {
            if party.fee_asset == asset {
                party.fee_units
            } else {
                0
            }
        };
        let paid = trade.quote_units + fee_in(quote, buyer);
        let movements = [
            (buyer.account, quote, buyer_released - paid, -buyer_released),
            (buyer.account, base, base_units - fee_in(base, buyer), 0),
            (
                seller.account,
                base,
                seller_released - base_units,
                -seller_released,
            ),
            (
                seller.account,
                quote,
                trade.quote_units - seller.fee_units,
                0,
            ),
            (FEES_ACCOUNT, base, fee_in(base, buyer), 0),
            (
                FEES_ACCOUNT,
                quote,
                fee_in(quote, buyer) + seller.fee_units,
                0,
            ),
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

    pub(crate) fn happened(&mut self, body: EventBody) {
        self.effects.happened(Some(self.symbol.id), body);
    }

    pub(crate) fn touch(&mut self, side: Side, price_ticks: i64) {
        let last = self.touched.iter().rev().find(|(of, _)| *of == side);
        if last != Some(&(side, price_ticks)) {
            if self.touched.capacity() == 0 {
                self.touched = std::mem::take(&mut self.effects.spare_touched);
            }
            self.touched.push((side, price_ticks));
        }
    }

    /// Remembers an order that is to trade no more.
    pub(crate) fn close(&mut self, order: &Order) {
        let symbol = self.symbol.definition.symbol;
        self.closed.remember(*order, symbol, self.version);
        if self.version.limits_accounts() && !planted(Bug::ClientOrderIdsAreForgottenAtTheClose) {
            let (account, id) = (order.account, order.client_order_id);
            self.remember_closed_id(account, id);
        }
    }

    pub(crate) fn remember_closed_id(&mut self, account: u64, id: ClientOrderId) {
        let symbol = &self.symbol;
        let of = self.version.moves_symbols();
        let of = of.then_some((symbol.id, symbol.definition.symbol));
        self.closed_ids.remember(account, id, of, self.time_us);
    }

    /// The same, of one that rested.
    pub(crate) fn close_resting(&mut self, order: &Order) {
        let Order {
            symbol,
            account,
            client_order_id,
            ..
        } = *order;
        self.accounts.closed(symbol, account, client_order_id);
        self.close(order);
    }

    /// Tells what rests now at the levels that were touched, the given side's first.
    pub(crate) fn tell_book(&mut self, first: Side) {
        let mut touched = std::mem::take(&mut self.touched);
        for side in [first, first.opposite()] {
            let of_side = touched.iter().filter(|(touched, _)| *touched == side);
            for (side, price_ticks) in of_side {
                self.tell_level(*side, *price_ticks);
            }
        }
        if touched.capacity() > 0 {
            touched.clear();
            self.effects.spare_touched = touched;
        }
    }

    pub(crate) fn tell_level(&mut self, side: Side, price_ticks: i64) {
        self.symbol.updates += 1;
        let delta = EventBody::BookDelta {
            update_id: self.symbol.updates,
            side,
            price_ticks,
            quantity_lots: self.symbol.book.quantity_lots(side, price_ticks),
        };
        self.happened(delta);
        if self.effects.to_indicate.last() != Some(&self.symbol.id) {
            self.effects.to_indicate.push(self.symbol.id);
        }
    }
}
