//! A new order: every check in the order of the rules, then all that it does.

use crate::accounts::OpenOrder;
use crate::command::{PlaceOrder, Stamp, Terms};
use crate::event::{Effects, EventBody, OrderOutcome};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::matching::{End, Market, Reach, Want, crosses, look};
use crate::names::{ClientOrderId, SymbolId};
use crate::order::{Order, OrderStatus, OrderType, Side, TimeInForce};
use crate::planted::{Bug, planted};
use crate::refusal::Refusal;
use crate::risk::{Taker, reserve};
use crate::symbol_state::{Decider, SymbolState, decide};

/// An order that passed every check, and what the look into the book said of it.
struct Admitted {
    taker: Taker,
    /// Where a MARKET order by amount will end; of others the sweep says.
    planned_end: Option<End>,
}

impl Kernel {
    pub(crate) fn place_order(
        &mut self,
        stamp: Stamp,
        place: &PlaceOrder,
        effects: &mut Effects,
    ) -> Result<OrderOutcome, Refusal> {
        let listed = self.listings.symbol_id(place.symbol);
        let admitted = (listed.clone()).and_then(|symbol| self.admit(stamp, place, symbol));
        match admitted {
            Ok(admitted) => Ok(self.execute(stamp, admitted, effects)),
            Err(refusal) if refusal.is_not_remembered() => Err(refusal),
            Err(refusal) => {
                let rejected = EventBody::OrderRejected {
                    account: place.account.account(),
                    client_order_id: place.client_order_id,
                    refusal: refusal.clone(),
                };
                effects.happened(listed.ok(), rejected);
                Err(refusal)
            }
        }
    }

    /// Every check of an order, in this order; what it will hold if it passes.
    fn admit(
        &self,
        stamp: Stamp,
        place: &PlaceOrder,
        symbol: SymbolId,
    ) -> Result<Admitted, Refusal> {
        let symbol = self.listings.symbol(symbol);
        symbol.check_here()?;
        let mut order = new_order(stamp, place, symbol);
        order.order_id += self.order_ids_ahead;
        self.check_state(symbol, &order)?;
        if self.accounts.is_killed(order.account) {
            return Err(Refusal::AccountKilled);
        }
        self.safety.check(stamp.time_us)?;
        self.accounts.check_rate(order.account, stamp.time_us)?;
        check_terms(symbol, &order, place.terms, stamp.time_us)?;
        self.check_client_order_id(order.account, order.client_order_id, stamp.time_us)?;
        if may_rest(&order) && self.version().limits_accounts() {
            self.check_open(&order)?;
        }
        if order.order_type == OrderType::LimitMaker
            && let Some(best_ticks) = best_that_crosses(symbol, &order)
        {
            return Err(Refusal::WouldTake { best_ticks });
        }
        let (held_units, planned_end) = self.plan(symbol, &mut order);
        let asset = symbol.asset_held(order.side);
        let available = self.accounts.balance(order.account, asset).available;
        if i128::from(available) < held_units {
            return Err(Refusal::InsufficientFunds {
                asset: self.listings.asset(asset).asset,
                needed: held_units,
                available,
            });
        }
        // An amount that never paid for a lot bought nothing.
        let used_up = planned_end == Some(End::Done) && order.quantity_lots > 0;
        let falls_short = order.is_by_amount() && !used_up;
        Ok(Admitted {
            taker: Taker {
                order,
                held_units: i64::try_from(held_units).expect("it is available"),
                falls_short,
            },
            planned_end,
        })
    }

    fn check_state(&self, symbol: &Symbol, order: &Order) -> Result<(), Refusal> {
        let plain = order.order_type == OrderType::Limit
            && order.time_in_force == TimeInForce::GoodTillCancelled;
        let allowed = match symbol.state {
            SymbolState::Trading => true,
            SymbolState::Auction => plain && symbol.uncrossing_at.is_none(),
            SymbolState::PostOnly => {
                (plain || order.order_type == OrderType::LimitMaker)
                    && best_that_crosses(symbol, order).is_none()
            }
            SymbolState::CancelOnly | SymbolState::Halt => false,
        };
        if allowed {
            return Ok(());
        }
        Err(self.not_in_state(symbol))
    }

    /// The state is in the way.
    pub(crate) fn not_in_state(&self, symbol: &Symbol) -> Refusal {
        let (state, decider) = decide(symbol, &self.halts, self.safety.level);
        let decider = match decider {
            _ if state == SymbolState::Auction && symbol.uncrossing_at.is_some() => {
                Decider::Uncross
            }
            Some(decider) => decider,
            None => Decider::Phase(state),
        };
        Refusal::NotInState {
            state,
            decider: Box::new(decider),
        }
    }

    pub(crate) fn check_client_order_id(
        &self,
        account: u64,
        id: ClientOrderId,
        time_us: i64,
    ) -> Result<(), Refusal> {
        if self.accounts.open_order(account, id).is_some() {
            return Err(Refusal::DuplicateClientOrderId(id));
        }
        let limits = self.accounts.limits(account);
        let reuses = limits.is_some_and(|limits| limits.configuration.reuse_client_order_ids);
        if !reuses && self.closed_ids.is_recent(account, id, time_us) {
            return Err(Refusal::RecentClientOrderId(id));
        }
        Ok(())
    }

    /// What the order must hold. A MARKET order by amount gets its quantity here, and where it will end.
    fn plan(&self, symbol: &Symbol, order: &mut Order) -> (i128, Option<End>) {
        if order.order_type != OrderType::Market {
            return (i128::from(symbol.hold_of(order)), None);
        }
        let by_amount = order.is_by_amount();
        if order.side == Side::Sell && !by_amount {
            return (i128::from(symbol.hold_of(order)), None);
        }
        let want = if by_amount {
            Want::Amount {
                units: order.quote_units,
                lots: symbol.definition.market_most_lots(),
            }
        } else {
            Want::Lots(order.quantity_lots)
        };
        let reach = Reach::of(symbol, order, self.version());
        let look = look(symbol, &self.accounts, &reach, order, want);
        if !by_amount {
            return (look.cost_units, None);
        }
        order.quantity_lots = look.lots;
        let held_units = match order.side {
            Side::Buy => order.quote_units,
            Side::Sell => symbol.hold_of(order),
        };
        (i128::from(held_units), Some(look.end))
    }

    fn execute(&mut self, stamp: Stamp, admitted: Admitted, effects: &mut Effects) -> OrderOutcome {
        let Admitted {
            mut taker,
            planned_end,
        } = admitted;
        let symbol = taker.order.symbol;
        self.safety.accepted(stamp.time_us);
        (self.accounts).count_accepted(taker.order.account, stamp.time_us);
        let version = self.version();
        let collects = self.listings.symbol(symbol).state == SymbolState::Auction;

        let mut market = self.market(symbol, stamp, effects);
        let reach = Reach::of(market.symbol, &taker.order, version);
        let held = (
            taker.order.account,
            market.symbol.asset_held(taker.order.side),
        );
        reserve(market.accounts, market.effects, held, taker.held_units);
        market.happened(EventBody::OrderAccepted(taker.order));
        let fills_or_kills = taker.order.time_in_force == TimeInForce::FillOrKill;
        let mut end = End::Empty;
        if !collects && (!fills_or_kills || market.fills_whole(&taker.order, &reach)) {
            end = market.sweep(&mut taker, &reach);
        }
        if end == End::Done
            && let Some(planned) = planned_end
        {
            end = planned;
        }
        let rests = taker.order.leaves_lots() > 0
            && end != End::Matches
            && taker.order.time_in_force == TimeInForce::GoodTillCancelled;
        if rests {
            market.rest(&taker.order);
        } else {
            let expires = taker.order.leaves_lots() > 0 || taker.falls_short;
            if expires && taker.order.status != OrderStatus::ExpiredInMatch {
                taker.order.close(OrderStatus::Expired, stamp.time_us);
                if !planted(Bug::RestOfIocStaysHeld) {
                    reserve(market.accounts, market.effects, held, -taker.held_units);
                }
                market.happened(EventBody::OrderExpired(taker.order));
            }
            market.close(&taker.order);
        }
        let touched = std::mem::take(&mut market.touched);
        let fills = std::mem::take(&mut market.fills);
        if end == End::Volatility && !fills_or_kills {
            self.interrupt(symbol, stamp, effects);
        }
        let mut market = self.market(symbol, stamp, effects);
        market.touched = touched;
        market.tell_book(taker.order.side.opposite());
        OrderOutcome {
            order: taker.order,
            fills,
        }
    }
}

impl Market<'_> {
    fn fills_whole(&self, order: &Order, reach: &Reach) -> bool {
        let want = Want::Lots(order.quantity_lots);
        let look = look(self.symbol, self.accounts, reach, order, want);
        let lots = if planted(Bug::FokCountsOwnOrders) {
            look.lots
        } else {
            look.traded_lots
        };
        lots == order.quantity_lots
    }

    fn rest(&mut self, order: &Order) {
        self.symbol.book.rest(*order);
        let open = OpenOrder {
            symbol: order.symbol,
            order_id: order.order_id,
        };
        (self.accounts).opened(order.account, order.client_order_id, open);
        self.touch(order.side, order.price_ticks);
    }
}

fn new_order(stamp: Stamp, place: &PlaceOrder, symbol: &Symbol) -> Order {
    let (order_type, time_in_force, price_ticks, quantity_lots, quote_units) = match place.terms {
        Terms::Limit {
            price_ticks,
            quantity_lots,
            time_in_force,
        } => (
            OrderType::Limit,
            time_in_force,
            price_ticks,
            quantity_lots,
            0,
        ),
        Terms::LimitMaker {
            price_ticks,
            quantity_lots,
        } => (
            OrderType::LimitMaker,
            TimeInForce::GoodTillCancelled,
            price_ticks,
            quantity_lots,
            0,
        ),
        Terms::MarketByLots { quantity_lots } => (
            OrderType::Market,
            TimeInForce::ImmediateOrCancel,
            0,
            quantity_lots,
            0,
        ),
        Terms::MarketByAmount { quote_units } => (
            OrderType::Market,
            TimeInForce::ImmediateOrCancel,
            0,
            0,
            quote_units,
        ),
    };
    Order {
        order_id: stamp.seq,
        client_order_id: place.client_order_id,
        account: place.account.account(),
        symbol: symbol.id,
        side: place.side,
        order_type,
        time_in_force,
        price_ticks,
        quantity_lots,
        executed_lots: 0,
        prevented_lots: 0,
        executed_quote_units: 0,
        quote_units,
        status: OrderStatus::New,
        created_at_us: stamp.time_us,
        updated_at_us: stamp.time_us,
        self_trade_prevention: place.self_trade_prevention,
        fee_schedule: symbol.fee_schedule(),
    }
}

fn may_rest(order: &Order) -> bool {
    order.time_in_force == TimeInForce::GoodTillCancelled
}

/// The best price of the other side, if the order would trade with it.
fn best_that_crosses(symbol: &Symbol, order: &Order) -> Option<i64> {
    let best = symbol.book.best(order.side.opposite())?;
    crosses(order.side, order.price_ticks, best).then_some(best)
}

/// Price, band, quantity, notional.
fn check_terms(symbol: &Symbol, order: &Order, terms: Terms, time_us: i64) -> Result<(), Refusal> {
    match terms {
        Terms::Limit { .. } | Terms::LimitMaker { .. } => {
            check_price(symbol, order, time_us)?;
            check_quantity(
                symbol,
                order.quantity_lots,
                symbol.definition.max_quantity_lots,
            )?;
            let notional = symbol.quote_units(order.price_ticks, order.quantity_lots);
            check_notional(symbol, i128::from(notional))
        }
        Terms::MarketByLots { quantity_lots } => {
            check_quantity(symbol, quantity_lots, symbol.definition.market_most_lots())?;
            match symbol.reference_price(time_us) {
                Some(price_ticks) => check_notional(
                    symbol,
                    i128::from(price_ticks)
                        * i128::from(quantity_lots)
                        * i128::from(symbol.quote_units_per_tick_lot),
                ),
                None => Ok(()),
            }
        }
        Terms::MarketByAmount { quote_units } if quote_units < 1 => {
            let least = symbol.definition.min_notional_units.max(1);
            Err(Refusal::NotionalTooSmall { least })
        }
        Terms::MarketByAmount { quote_units } => check_notional(symbol, i128::from(quote_units)),
    }
}

fn check_price(symbol: &Symbol, order: &Order, time_us: i64) -> Result<(), Refusal> {
    let least = symbol.definition.least_price_ticks();
    let most = symbol.definition.max_price_ticks;
    if !(least..=most).contains(&order.price_ticks) {
        return Err(Refusal::PriceOutOfRange { least, most });
    }
    let band = symbol.band(order.side);
    match symbol.reference_price(time_us) {
        Some(reference_ticks) if !band.allows(order.price_ticks, reference_ticks) => {
            Err(Refusal::PriceOutOfBand {
                band,
                reference_ticks,
            })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_quantity(
    symbol: &Symbol,
    quantity_lots: i64,
    most: i64,
) -> Result<(), Refusal> {
    let least = symbol.definition.least_quantity_lots();
    if (least..=most).contains(&quantity_lots) {
        Ok(())
    } else {
        Err(Refusal::QuantityOutOfRange { least, most })
    }
}

pub(crate) fn check_notional(symbol: &Symbol, notional_units: i128) -> Result<(), Refusal> {
    let least = symbol.definition.min_notional_units;
    let most = symbol.definition.max_notional_units;
    if notional_units < i128::from(least) {
        Err(Refusal::NotionalTooSmall { least })
    } else if most > 0 && notional_units > i128::from(most) {
        Err(Refusal::NotionalTooLarge { most })
    } else {
        Ok(())
    }
}
