//! The resting orders of one symbol: levels by price, and in each level a queue by time.
//!
//! Knows nothing of money. Orders live in slots that are linked into the queues, so that any order leaves its queue
//! without a search.

use std::collections::BTreeMap;

use crate::index::Index;
use crate::order::Side;

/// What the book must know of an order.
pub trait Resting: Copy {
    fn order_id(&self) -> u64;
    fn side(&self) -> Side;
    fn price_ticks(&self) -> i64;
    fn leaves_lots(&self) -> i64;
}

#[derive(Clone)]
pub struct OrderBook<O> {
    bids: BTreeMap<i64, Level>,
    asks: BTreeMap<i64, Level>,
    slots: Vec<Slot<O>>,
    free: Vec<usize>,
    by_order_id: Index<u64, usize>,
}

impl<O> Default for OrderBook<O> {
    fn default() -> Self {
        Self {
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            by_order_id: Index::default(),
        }
    }
}

/// All orders at one price; never empty.
#[derive(Clone)]
struct Level {
    first: usize,
    last: usize,
    quantity_lots: i64,
}

#[derive(Clone, Copy)]
struct Slot<O> {
    order: O,
    before: Option<usize>,
    after: Option<usize>,
}

impl<O: Resting> OrderBook<O> {
    /// The price that trades next.
    pub fn best(&self, side: Side) -> Option<i64> {
        self.best_level(side).map(|(price, _)| *price)
    }

    /// The order that trades next.
    pub fn front(&self, side: Side) -> Option<&O> {
        self.best_level(side)
            .map(|(_, level)| &self.slots[level.first].order)
    }

    fn best_level(&self, side: Side) -> Option<(&i64, &Level)> {
        match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        }
    }

    pub fn get(&self, order_id: u64) -> Option<&O> {
        self.by_order_id
            .get(&order_id)
            .map(|slot| &self.slots[*slot].order)
    }

    /// What rests at a price; 0 where there is no level.
    pub fn quantity_lots(&self, side: Side, price_ticks: i64) -> i64 {
        self.levels_of(side)
            .get(&price_ticks)
            .map_or(0, |level| level.quantity_lots)
    }

    /// Price and quantity, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = (i64, i64)> {
        let bids = (side == Side::Buy).then(|| self.bids.iter().rev());
        let asks = (side == Side::Sell).then(|| self.asks.iter());
        let levels = bids.into_iter().flatten().chain(asks.into_iter().flatten());
        levels.map(|(price, level)| (*price, level.quantity_lots))
    }

    /// In the order in which they would trade.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = &O> {
        self.levels(side).flat_map(move |(price, _)| {
            let mut next = self.levels_of(side).get(&price).map(|level| level.first);
            std::iter::from_fn(move || {
                let slot = &self.slots[next?];
                next = slot.after;
                Some(&slot.order)
            })
        })
    }

    pub fn len(&self, side: Side) -> usize {
        self.orders(side).count()
    }

    /// Joins the end of its level's queue.
    pub fn rest(&mut self, order: O) {
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.slots.len(),
        };
        let mut slot = Slot {
            order,
            before: None,
            after: None,
        };
        let levels = match order.side() {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        levels
            .entry(order.price_ticks())
            .and_modify(|level| {
                self.slots[level.last].after = Some(at);
                slot.before = Some(level.last);
                level.last = at;
                level.quantity_lots = (level.quantity_lots.checked_add(order.leaves_lots()))
                    .expect("what rests is paid for, and money is bounded");
            })
            .or_insert(Level {
                first: at,
                last: at,
                quantity_lots: order.leaves_lots(),
            });
        if at == self.slots.len() {
            self.slots.push(slot);
        } else {
            self.slots[at] = slot;
        }
        let before = self.by_order_id.insert(order.order_id(), at);
        assert_eq!(before, None, "order {} rests twice", order.order_id());
    }

    /// Changes an order that keeps its place, and takes it out when nothing is left of it. `change` lowers what is
    /// left; whatever else it changes, the ids, side and price stay. Returns the order as changed.
    pub fn reduce(&mut self, order_id: u64, change: impl FnOnce(&mut O)) -> Option<O> {
        let at = *self.by_order_id.get(&order_id)?;
        let order = &mut self.slots[at].order;
        let before_lots = order.leaves_lots();
        change(order);
        let order = *order;
        assert!(
            order.leaves_lots() <= before_lots,
            "order {order_id} grew where it rests"
        );
        let level = (self.levels_mut(order.side()).get_mut(&order.price_ticks()))
            .expect("a resting order has a level");
        level.quantity_lots -= before_lots - order.leaves_lots();
        if order.leaves_lots() == 0 {
            self.take_out(order_id);
        }
        Some(order)
    }

    /// Changes every order in what the book does not know of it.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut O)) {
        for at in self.by_order_id.values() {
            change(&mut self.slots[*at].order);
        }
    }

    /// Takes out an order that is to trade no more.
    pub fn remove(&mut self, order_id: u64) -> Option<O> {
        let order = *self.get(order_id)?;
        let level = (self.levels_mut(order.side()).get_mut(&order.price_ticks()))
            .expect("a resting order has a level");
        level.quantity_lots -= order.leaves_lots();
        self.take_out(order_id);
        Some(order)
    }

    fn take_out(&mut self, order_id: u64) {
        let at = self.by_order_id.remove(&order_id).expect("the order rests");
        let Slot {
            order,
            before,
            after,
        } = self.slots[at];
        self.free.push(at);
        if let Some(before) = before {
            self.slots[before].after = after;
        }
        if let Some(after) = after {
            self.slots[after].before = before;
        }
        let levels = self.levels_mut(order.side());
        let level = levels
            .get_mut(&order.price_ticks())
            .expect("a resting order has a level");
        match (before, after) {
            (None, None) => {
                assert_eq!(
                    level.quantity_lots, 0,
                    "a level's quantity is the sum of its orders"
                );
                levels.remove(&order.price_ticks());
            }
            (None, Some(first)) => level.first = first,
            (Some(last), None) => level.last = last,
            (Some(_), Some(_)) => {}
        }
    }

    fn levels_of(&self, side: Side) -> &BTreeMap<i64, Level> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn levels_mut(&mut self, side: Side) -> &mut BTreeMap<i64, Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}
