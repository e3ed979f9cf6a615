//! Price-time priority: an incoming order against the book.

use crate::accounts::{Accounts, FEES_ACCOUNT};
use crate::closed_orders::ClosedOrders;
use crate::event::{Effects, EventBody, Fill, Movement, Trade, TradeParty};
use crate::fees::fee_units;
use crate::listings::Symbol;
use crate::order::{Order, Side};

/// All that a trade touches.
pub(crate) struct Market<'a> {
    pub symbol: &'a mut Symbol,
    pub accounts: &'a mut Accounts,
    pub closed: &'a mut ClosedOrders,
    pub effects: &'a mut Effects,
    pub time_us: i64,
}

/// What an incoming order did to the other side of the book.
pub(crate) struct Sweep {
    pub fills: Vec<Fill>,
    /// In the order in which they were reached.
    pub prices: Vec<i64>,
}

impl Market<'_> {
    /// Trades the taker, at the makers' prices, as far as the book and its own price allow.
    pub(crate) fn sweep(&mut self, taker: &mut Order) -> Sweep {
        let mut sweep = Sweep {
            fills: Vec::new(),
            prices: Vec::new(),
        };
        while taker.leaves_lots() > 0 {
            let Some(maker) = self.symbol.book.front(taker.side.opposite()) else {
                break;
            };
            let price_ticks = maker.price_ticks;
            let crosses = match taker.side {
                Side::Buy => price_ticks <= taker.price_ticks,
                Side::Sell => price_ticks >= taker.price_ticks,
            };
            if !crosses {
                break;
            }
            if sweep.prices.last() != Some(&price_ticks) {
                sweep.prices.push(price_ticks);
            }
            let quantity_lots = taker.leaves_lots().min(maker.leaves_lots());
            let maker_id = maker.order_id;
            let fill = self.trade(taker, maker_id, price_ticks, quantity_lots);
            sweep.fills.push(fill);
        }
        sweep
    }

    fn trade(
        &mut self,
        taker: &mut Order,
        maker_id: u64,
        price_ticks: i64,
        quantity_lots: i64,
    ) -> Fill {
        let quote_units = self.symbol.quote_units(price_ticks, quantity_lots);
        taker.fill(quantity_lots, quote_units, self.time_us);
        let maker = self.symbol.book.reduce(maker_id, |maker| {
            maker.fill(quantity_lots, quote_units, self.time_us);
        });
        let maker = maker.expect("the maker rests in the book");
        self.symbol.trades += 1;
        let trade = Trade {
            trade_id: self.symbol.trades,
            price_ticks,
            quantity_lots,
            quote_units,
            maker: self.party(
                &maker,
                quantity_lots,
                quote_units,
                self.symbol.definition.maker_fee_ppm,
            ),
            taker: self.party(
                taker,
                quantity_lots,
                quote_units,
                self.symbol.definition.taker_fee_ppm,
            ),
            taker_side: taker.side,
        };
        self.settle(&trade, taker.price_ticks);
        self.effects
            .happened(Some(self.symbol.id), EventBody::TradeExecuted(trade));
        if maker.leaves_lots() == 0 {
            self.accounts.closed(maker.account, maker.client_order_id);
            self.closed
                .remember(maker, self.symbol.definition.symbol.as_str());
        }
        Fill {
            trade_id: trade.trade_id,
            price_ticks,
            quantity_lots,
            quote_units,
            fee_units: trade.taker.fee_units,
            fee_asset: trade.taker.fee_asset,
        }
    }

    fn party(
        &self,
        order: &Order,
        quantity_lots: i64,
        quote_units: i64,
        fee_ppm: u32,
    ) -> TradeParty {
        let (received_units, fee_asset) = match order.side {
            Side::Buy => (self.symbol.base_units(quantity_lots), self.symbol.base),
            Side::Sell => (quote_units, self.symbol.quote),
        };
        TradeParty {
            account: order.account,
            order_id: order.order_id,
            client_order_id: order.client_order_id,
            fee_units: fee_units(received_units, fee_ppm),
            fee_asset,
            leaves_lots: order.leaves_lots(),
        }
    }

    /// Buyer, seller, fees. A taker that bought below its own price gets the difference back from its hold at once.
    fn settle(&mut self, trade: &Trade, taker_price_ticks: i64) {
        let (buyer, seller, buyer_price_ticks) = match trade.taker_side {
            Side::Buy => (&trade.taker, &trade.maker, taker_price_ticks),
            Side::Sell => (&trade.maker, &trade.taker, trade.price_ticks),
        };
        let (base, quote) = (self.symbol.base, self.symbol.quote);
        let base_units = self.symbol.base_units(trade.quantity_lots);
        let held_units = self
            .symbol
            .quote_units(buyer_price_ticks, trade.quantity_lots);
        let movements = [
            (
                buyer.account,
                quote,
                held_units - trade.quote_units,
                -held_units,
            ),
            (buyer.account, base, base_units - buyer.fee_units, 0),
            (seller.account, base, 0, -base_units),
            (
                seller.account,
                quote,
                trade.quote_units - seller.fee_units,
                0,
            ),
            (FEES_ACCOUNT, base, buyer.fee_units, 0),
            (FEES_ACCOUNT, quote, seller.fee_units, 0),
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
