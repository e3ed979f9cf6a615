//! Orders closed lately, so that a question about a filled or cancelled order has an answer.

use std::collections::{BTreeMap, VecDeque};

use crate::encoding::{Chain, status_number};
use crate::index::Index;
use crate::names::{ClientOrderId, SymbolId};
use crate::order::Order;
use crate::version::Version;

#[derive(Clone)]
pub(crate) struct ClosedOrders {
    most: usize,
    /// How many were forgotten: the number of the first that is still here.
    forgotten: u64,
    orders: VecDeque<Order>,
    by_order_id: Index<u64, u64>,
    /// The one closed last, of those that an account gave the same id.
    by_client_order_id: BTreeMap<(u64, SymbolId, ClientOrderId), u64>,
    chain: Chain,
}

impl ClosedOrders {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            forgotten: 0,
            orders: VecDeque::new(),
            by_order_id: Index::default(),
            by_client_order_id: BTreeMap::new(),
            chain: Chain::default(),
        }
    }

    pub fn most(&self) -> usize {
        self.most
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn by_order_id(&self, order_id: u64) -> Option<&Order> {
        self.numbered(*self.by_order_id.get(&order_id)?)
    }

    pub fn by_client_order_id(
        &self,
        account: u64,
        symbol: SymbolId,
        id: ClientOrderId,
    ) -> Option<&Order> {
        self.numbered(*self.by_client_order_id.get(&(account, symbol, id))?)
    }

    /// Remembers an order; forgets the one closed first when there are too many.
    pub fn remember(&mut self, order: Order, symbol: &str, version: Version) {
        if version.hashes_everything() {
            self.chain.add(|entry| entry.order_of_version_1(&order, symbol));
        } else {
            self.chain.append(|entry| {
                entry.u64(order.order_id);
                entry.u8(status_number(order.status));
                entry.i64(order.executed_lots);
                entry.i64(order.executed_quote_units);
                entry.i64(order.prevented_lots);
                entry.i64(order.updated_at_us);
            });
        }
        let number = self.forgotten + self.orders.len() as u64;
        self.by_order_id.insert(order.order_id, number);
        self.by_client_order_id.insert(client_key(&order), number);
        self.orders.push_back(order);
        if self.orders.len() > self.most {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some(order) = self.orders.pop_front() else {
            return;
        };
        self.by_order_id.remove(&order.order_id);
        let key = client_key(&order);
        if self.by_client_order_id.get(&key) == Some(&self.forgotten) {
            self.by_client_order_id.remove(&key);
        }
        self.forgotten += 1;
    }

    fn numbered(&self, number: u64) -> Option<&Order> {
        self.orders
            .get(usize::try_from(number - self.forgotten).ok()?)
    }
}

fn client_key(order: &Order) -> (u64, SymbolId, ClientOrderId) {
    (order.account, order.symbol, order.client_order_id)
}
