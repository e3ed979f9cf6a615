//! The resting orders of one symbol: levels by price, and in each level a queue by time.
//!
//! Knows nothing of money. Orders live in slots that are linked into the queues, so that any order leaves its queue
//! without a search. What it costs does not depend on how many orders or levels there are, and memory that was used
//! once is used again.

use crate::digests::Digests;
use crate::foresight::look_at;
use crate::order::Side;
use crate::order_index::OrderIndex;
use crate::price_levels::{Level, PriceLevels};

/// What the book must know of an order.
pub trait Resting: Copy {
    /// From 1.
    fn order_id(&self) -> u64;
    fn side(&self) -> Side;
    /// From 1.
    fn price_ticks(&self) -> i64;
    /// From 1 while it rests.
    fn leaves_lots(&self) -> i64;
}

#[derive(Clone)]
pub struct OrderBook<O> {
    /// Of `Side::Buy` and of `Side::Sell`.
    sides: [BookSide; 2],
    orders: Vec<O>,
    /// As many as there are slots.
    links: Vec<Link>,
    /// The free slots are linked by `after`.
    free: u32,
    by_order_id: OrderIndex,
}

#[derive(Clone)]
struct BookSide {
    levels: PriceLevels,
    /// Of the best level, above all ranks while there is none.
    best: u64,
    /// The slot that trades next.
    front: u32,
    orders: usize,
    /// Of the side's orders, by slot.
    digests: Digests,
}

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    /// Where its level is; none while the slot is free.
    leaf: u32,
}

/// The slot that is not there.
const NONE: u32 = u32::MAX;
const NO_RANK: u64 = u64::MAX;

impl<O> Default for OrderBook<O> {
    fn default() -> Self {
        Self::keyed(0)
    }
}

impl<O> OrderBook<O> {
    /// With a key that is a secret nobody can choose prices for which the book is slow. It changes no result.
    pub fn keyed(key: u64) -> Self {
        let side = BookSide {
            levels: PriceLevels::keyed(key),
            best: NO_RANK,
            front: NONE,
            orders: 0,
            digests: Digests::default(),
        };
        Self {
            sides: [side.clone(), side],
            orders: Vec::new(),
            links: Vec::new(),
            free: NONE,
            by_order_id: OrderIndex::keyed(key),
        }
    }
}

impl<O: Resting> OrderBook<O> {
    /// The price that trades next.
    pub fn best(&self, side: Side) -> Option<i64> {
        let best = self.side(side).best;
        (best != NO_RANK).then(|| price_ticks(side, best))
    }

    /// The order that trades next.
    pub fn front(&self, side: Side) -> Option<&O> {
        self.orders.get(self.side(side).front as usize)
    }

    pub fn get(&self, order_id: u64) -> Option<&O> {
        let at = self.by_order_id.get(order_id)?;
        Some(&self.orders[at as usize])
    }

    /// The order, with those that are linked to it.
    pub(crate) fn foresee(&self, order_id: u64) -> Option<&O> {
        let at = self.by_order_id.get(order_id)?;
        if let Some(link) = self.links.get(at as usize) {
            for linked in [link.before, link.after] {
                look_at(self.links.get(linked as usize).map(|link| link.leaf));
            }
        }
        self.orders.get(at as usize)
    }

    /// What rests at a price; 0 where there is no level.
    pub fn quantity_lots(&self, side: Side, price_ticks: i64) -> i64 {
        let level = (price_ticks >= 1).then(|| self.side(side).levels.get(rank(side, price_ticks)));
        level.flatten().map_or(0, |level| level.quantity_lots)
    }

    /// Price and quantity, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = (i64, i64)> {
        self.ranked(side)
            .map(move |(rank, level)| (price_ticks(side, rank), level.quantity_lots))
    }

    /// In the order in which they would trade.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = &O> {
        self.ranked(side)
            .flat_map(move |(_, level)| self.queue(level.first))
    }

    /// Those at the best price.
    pub(crate) fn first_queue(&self, side: Side) -> impl Iterator<Item = &O> {
        self.queue(self.side(side).front)
    }

    /// From a slot on.
    fn queue(&self, mut next: u32) -> impl Iterator<Item = &O> {
        std::iter::from_fn(move || {
            let order = self.orders.get(next as usize)?;
            next = self.links[next as usize].after;
            Some(order)
        })
    }

    pub fn len(&self, side: Side) -> usize {
        self.side(side).orders
    }

    /// Joins the end of its level's queue.
    pub fn rest(&mut self, order: O) {
        assert!(
            order.price_ticks() >= 1 && order.leaves_lots() >= 1,
            "order {} rests with a price or a quantity below 1",
            order.order_id()
        );
        let rank = rank(order.side(), order.price_ticks());
        let at = self.take_slot(order);
        self.by_order_id.insert(order.order_id(), at);

        let side = &mut self.sides[order.side() as usize];
        side.orders += 1;
        side.digests.change(at);
        let (leaf, was_there) = side.levels.enter(rank);
        let level = side.levels.at_mut(leaf, rank);
        self.links[at as usize].leaf = leaf;
        if was_there {
            self.links[level.last as usize].after = at;
            self.links[at as usize].before = level.last;
            level.last = at;
            level.quantity_lots = (level.quantity_lots.checked_add(order.leaves_lots()))
                .expect("what rests is bounded by who lets it in");
        } else {
            *level = Level {
                first: at,
                last: at,
                quantity_lots: order.leaves_lots(),
            };
            if rank < side.best {
                side.best = rank;
                side.front = at;
            }
        }
    }

    /// Changes an order that keeps its place, and takes it out when nothing is left of it. `change` lowers what is
    /// left; whatever else it changes, the ids, side and price stay. Returns the order as changed.
    pub fn reduce(&mut self, order_id: u64, change: impl FnOnce(&mut O)) -> Option<O> {
        let at = self.by_order_id.get(order_id)?;
        Some(self.reduce_at(at, change))
    }

    /// As `reduce`, for the order that trades next.
    pub fn reduce_front(&mut self, side: Side, change: impl FnOnce(&mut O)) -> Option<O> {
        let at = self.side(side).front;
        (at != NONE).then(|| self.reduce_at(at, change))
    }

    /// Changes every order in what the book does not know of it.
    pub fn change_all(&mut self, mut change: impl FnMut(&mut O)) {
        for side in [Side::Buy, Side::Sell] {
            let mut rank = 0;
            while let Some(next) = self.side(side).levels.after(rank) {
                rank = next;
                let level = self.side(side).levels.get(rank);
                let mut at = level.expect("a bit stands for a level").first;
                while let Some(order) = self.orders.get_mut(at as usize) {
                    change(order);
                    self.sides[side as usize].digests.change(at);
                    at = self.links[at as usize].after;
                }
            }
        }
    }

    /// Takes out an order that is to trade no more.
    pub fn remove(&mut self, order_id: u64) -> Option<O> {
        let at = self.by_order_id.remove(order_id)?;
        let order = self.orders[at as usize];
        self.take_out(at, order.side(), order.price_ticks(), order.leaves_lots());
        Some(order)
    }

    /// Asks `digest` of the orders that changed since the digests were brought up to date last, each with the one
    /// before it in its level's queue, and of those that have another one before them. It must be the same each time.
    pub fn bring_digests_up_to_date(
        &mut self,
        side: Side,
        mut digest: impl FnMut(Option<&O>, &O) -> u128,
    ) {
        let Self {
            sides,
            orders,
            links,
            ..
        } = self;
        let digests = &mut sides[side as usize].digests;
        digests.bring_up_to_date(orders.len(), |at| {
            let link = links.get(at as usize)?;
            let order = &orders[at as usize];
            let before = orders.get(link.before as usize);
            (link.leaf != NONE && order.side() == side).then(|| digest(before, order))
        });
    }

    /// Of the digests of a side's orders, as of when they were brought up to date.
    pub fn sum_of_digests(&self, side: Side) -> u128 {
        self.side(side).digests.sum()
    }

    fn reduce_at(&mut self, at: u32, change: impl FnOnce(&mut O)) -> O {
        let order = &mut self.orders[at as usize];
        let before_lots = order.leaves_lots();
        change(order);
        let order = *order;
        let change_lots = before_lots - order.leaves_lots();
        assert!(
            change_lots >= 0,
            "order {} grew where it rests",
            order.order_id()
        );
        if order.leaves_lots() == 0 {
            self.by_order_id.remove(order.order_id());
            self.take_out(at, order.side(), order.price_ticks(), change_lots);
        } else {
            let rank = rank(order.side(), order.price_ticks());
            let side = &mut self.sides[order.side() as usize];
            let level = side.levels.at_mut(self.links[at as usize].leaf, rank);
            level.quantity_lots -= change_lots;
            side.digests.change(at);
        }
        order
    }

    /// Out of its queue, and its level with it when it was the last one there.
    fn take_out(&mut self, at: u32, side: Side, price_ticks: i64, quantity_lots: i64) {
        let Link {
            before,
            after,
            leaf,
        } = self.links[at as usize];
        self.links[at as usize] = Link {
            before: NONE,
            after: self.free,
            leaf: NONE,
        };
        self.free = at;

        let rank = rank(side, price_ticks);
        let side = &mut self.sides[side as usize];
        side.orders -= 1;
        side.digests.change(at);
        if after != NONE {
            side.digests.change(after);
        }
        let level = side.levels.at_mut(leaf, rank);
        level.quantity_lots -= quantity_lots;
        match (before, after) {
            (NONE, NONE) => {
                assert_eq!(level.quantity_lots, 0, "a level is the sum of its orders");
                side.levels.leave(leaf, rank);
                if rank == side.best {
                    side.best = side.levels.after(rank).unwrap_or(NO_RANK);
                    side.front = side.levels.get(side.best).map_or(NONE, |level| level.first);
                }
            }
            (NONE, first) => {
                level.first = first;
                self.links[first as usize].before = NONE;
                if rank == side.best {
                    side.front = first;
                }
            }
            (last, NONE) => {
                level.last = last;
                self.links[last as usize].after = NONE;
            }
            (before, after) => {
                self.links[before as usize].after = after;
                self.links[after as usize].before = before;
            }
        }
    }

    fn take_slot(&mut self, order: O) -> u32 {
        let alone = Link {
            before: NONE,
            after: NONE,
            leaf: NONE,
        };
        let at = self.free;
        if let Some(link) = self.links.get_mut(at as usize) {
            self.free = link.after;
            *link = alone;
            self.orders[at as usize] = order;
            return at;
        }
        let at = u32::try_from(self.orders.len()).expect("fewer than 2^32 orders rest");
        assert_ne!(at, NONE, "fewer than 2^32 orders rest");
        self.orders.push(order);
        self.links.push(alone);
        at
    }

    fn side(&self, side: Side) -> &BookSide {
        &self.sides[side as usize]
    }

    fn ranked(&self, side: Side) -> impl Iterator<Item = (u64, Level)> {
        let levels = &self.side(side).levels;
        let mut last = 0;
        std::iter::from_fn(move || {
            last = levels.after(last)?;
            Some((last, *levels.get(last).expect("a bit stands for a level")))
        })
    }
}

/// The lower the sooner it trades: the highest bid has the lowest rank. From 1, as prices are.
fn rank(side: Side, price_ticks: i64) -> u64 {
    let price = price_ticks.cast_unsigned();
    match side {
        Side::Buy => (1 << 63) - price,
        Side::Sell => price,
    }
}

fn price_ticks(side: Side, rank: u64) -> i64 {
    match side {
        Side::Buy => ((1 << 63) - rank).cast_signed(),
        Side::Sell => rank.cast_signed(),
    }
}
