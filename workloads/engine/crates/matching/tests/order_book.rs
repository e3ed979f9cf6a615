//! The order book against a naive one, a sorted list, under seeded random operations.

use openbourse_matching::order::Side;
use openbourse_matching::order_book::{OrderBook, Resting};

const SIDES: [Side; 2] = [Side::Buy, Side::Sell];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    order_id: u64,
    side: Side,
    price_ticks: i64,
    leaves_lots: i64,
    /// Something that the book knows nothing of and must keep.
    note: u64,
}

impl Resting for Order {
    fn order_id(&self) -> u64 {
        self.order_id
    }

    fn side(&self) -> Side {
        self.side
    }

    fn price_ticks(&self) -> i64 {
        self.price_ticks
    }

    fn leaves_lots(&self) -> i64 {
        self.leaves_lots
    }
}

/// Both sides in one list, as they would trade.
#[derive(Default)]
struct NaiveBook {
    orders: Vec<Order>,
}

impl NaiveBook {
    fn rest(&mut self, order: Order) {
        self.orders.push(order);
        // Stable: of one price the oldest stays first.
        self.orders.sort_by_key(|order| match order.side {
            Side::Buy => -i128::from(order.price_ticks),
            Side::Sell => i128::from(order.price_ticks),
        });
    }

    fn reduce(&mut self, order_id: u64, lots: i64, note: u64) -> Option<Order> {
        let order = (self.orders.iter_mut()).find(|order| order.order_id == order_id)?;
        order.leaves_lots -= lots;
        order.note = note;
        let order = *order;
        self.orders.retain(|order| order.leaves_lots > 0);
        Some(order)
    }

    fn remove(&mut self, order_id: u64) -> Option<Order> {
        let place = (self.orders.iter()).position(|order| order.order_id == order_id)?;
        Some(self.orders.remove(place))
    }

    fn of(&self, side: Side) -> Vec<Order> {
        let orders = self.orders.iter().filter(|order| order.side == side);
        orders.copied().collect()
    }

    fn levels(&self, side: Side) -> Vec<(i64, i64)> {
        let mut levels: Vec<(i64, i64)> = Vec::new();
        for order in self.of(side) {
            match levels.last_mut() {
                Some((price, lots)) if *price == order.price_ticks => *lots += order.leaves_lots,
                _ => levels.push((order.price_ticks, order.leaves_lots)),
            }
        }
        levels
    }
}

/// Small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = (self.0.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
        (self.0 >> 32) % bound
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }
}

fn assert_equal(book: &OrderBook<Order>, naive: &NaiveBook, prices: &[i64]) {
    for side in SIDES {
        let orders = naive.of(side);
        assert_eq!(book.orders(side).copied().collect::<Vec<_>>(), orders);
        assert_eq!(
            book.levels(side).collect::<Vec<_>>(),
            naive.levels(side),
            "{side:?}"
        );
        assert_eq!(book.front(side), orders.first());
        assert_eq!(
            book.best(side),
            orders.first().map(|first| first.price_ticks)
        );
        assert_eq!(book.len(side), orders.len());
        for price in prices {
            let there = naive.levels(side).into_iter().find(|(at, _)| at == price);
            assert_eq!(
                book.quantity_lots(side, *price),
                there.map_or(0, |(_, lots)| lots)
            );
        }
    }
}

/// Anything in which each of them counts.
fn digest(ahead: Option<&Order>, order: &Order) -> u128 {
    let words = [
        ahead.map_or(0, |ahead| ahead.order_id),
        order.order_id,
        order.leaves_lots.unsigned_abs(),
        order.note,
    ];
    words.into_iter().fold(1, |digest: u128, word| {
        (digest ^ u128::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    })
}

/// `changes`: since they were compared last.
fn assert_sums_are_equal(book: &mut OrderBook<Order>, naive: &NaiveBook, changes: u64) {
    let mut digested = 0;
    for side in SIDES {
        book.bring_digests_up_to_date(side, |ahead, order| {
            digested += 1;
            digest(ahead, order)
        });
        let (mut sum, mut last) = (0_u128, None::<Order>);
        for order in naive.of(side) {
            let ahead = last.filter(|last| last.price_ticks == order.price_ticks);
            sum = sum.wrapping_add(digest(ahead.as_ref(), &order));
            last = Some(order);
        }
        assert_eq!(book.sum_of_digests(side), sum, "{side:?}");
    }
    // A change is of one order, and of the one behind it when it goes.
    assert!(
        digested <= 2 * changes,
        "{changes} changes, {digested} digests"
    );
}

/// `price` is drawn anew for each order. The sides may cross, as in an auction.
fn compare(seed: u64, key: u64, steps: u64, mut price: impl FnMut(&mut Random) -> i64) {
    let mut random = Random(seed);
    let (mut book, mut naive) = (OrderBook::keyed(key), NaiveBook::default());
    let mut ids = vec![0];
    let mut changes = 0;
    for step in 1..=steps {
        let id = random.of(&ids);
        // It fills up and empties again.
        let rests = if step / 300 % 2 == 0 { 6 } else { 3 };
        let mut seen = Vec::new();
        match random.below(10) {
            dice if dice < rests => {
                let order = Order {
                    // Neighbours, or far apart.
                    order_id: step << (seed % 3 * 25),
                    side: random.of(&SIDES),
                    price_ticks: price(&mut random),
                    leaves_lots: i64::try_from(random.below(9) + 1).unwrap(),
                    note: step,
                };
                ids.push(order.order_id);
                seen.push(order.price_ticks);
                book.rest(order);
                naive.rest(order);
            }
            dice if dice < 8 => {
                let removed = book.remove(id);
                assert_eq!(removed, naive.remove(id));
                seen.extend(removed.map(|order| order.price_ticks));
            }
            _ => {
                let side = random.of(&SIDES);
                let id = book.front(side).map_or(id, |order| order.order_id);
                let leaves = (book.get(id)).map_or(1, |order| order.leaves_lots.unsigned_abs());
                let lots = i64::try_from(random.below(leaves) + 1).unwrap();
                let change = |order: &mut Order| {
                    order.leaves_lots -= lots;
                    order.note = step;
                };
                let reduced = if book.len(side) > 0 && step % 2 == 0 {
                    book.reduce_front(side, change)
                } else {
                    book.reduce(id, change)
                };
                assert_eq!(reduced, naive.reduce(id, lots, step));
                seen.extend(reduced.map(|order| order.price_ticks));
            }
        }
        let there = naive.orders.iter().find(|order| order.order_id == id);
        assert_eq!(book.get(id), there);
        seen.extend([i64::MIN, -1, 0, 1, i64::MAX]);
        assert_equal(&book, &naive, &seen);
        changes += 1;
        if random.below(100) == 0 {
            book.change_all(|order| order.note += 1);
            naive.orders.iter_mut().for_each(|order| order.note += 1);
            changes += naive.orders.len() as u64;
        }
        if random.below(8) == 0 {
            assert_sums_are_equal(&mut book, &naive, changes);
            changes = 0;
        }
    }
}

#[test]
fn a_dense_book_is_as_the_naive_one() {
    compare(1, 0, 2500, |random| 1000 + random.below(150) as i64);
}

#[test]
fn a_book_of_few_levels_keeps_its_queues_as_the_naive_one_does() {
    compare(2, 0, 2500, |random| 1000 + random.below(4) as i64);
}

#[test]
fn prices_may_be_as_far_apart_as_integers_are() {
    compare(3, 0, 2500, |random| {
        let near = random.below(3) as i64;
        let millions = random.below(1000) as i64 * 1_234_567 + 1;
        let power = 1 << random.below(63);
        random.of(&[
            1 + near,
            i64::MAX - near,
            millions,
            power,
            (power - 1).max(1),
        ])
    });
}

#[test]
fn a_key_changes_no_result() {
    for key in [1, u64::MAX, 0x0123_4567_89ab_cdef] {
        compare(4, key, 1500, |random| {
            1 << random.below(63) | random.below(64) as i64 | 1
        });
    }
}

#[test]
fn a_price_that_walks_away_leaves_a_book_that_works() {
    let mut at = 1_i64;
    compare(5, 0, 2500, move |random| {
        at = (at + random.below(1 << 40) as i64).min(i64::MAX - 200);
        at + random.below(100) as i64
    });
}

#[test]
#[should_panic(expected = "grew where it rests")]
fn an_order_cannot_grow_where_it_rests() {
    let mut book = OrderBook::default();
    let order = Order {
        order_id: 1,
        side: Side::Buy,
        price_ticks: 5,
        leaves_lots: 1,
        note: 0,
    };
    book.rest(order);
    book.reduce(1, |order| order.leaves_lots = 2);
}

#[test]
#[should_panic(expected = "order 1 is there twice")]
fn an_order_rests_once() {
    let mut book = OrderBook::default();
    let order = Order {
        order_id: 1,
        side: Side::Buy,
        price_ticks: 5,
        leaves_lots: 1,
        note: 0,
    };
    book.rest(order);
    book.rest(order);
}
