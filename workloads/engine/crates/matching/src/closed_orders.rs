//! Orders closed lately, so that a question about a filled or cancelled order has an answer.

use crate::encoding::Chain;
use crate::index::{Index, Secret};
use crate::names::{ClientOrderId, SymbolId, SymbolName};
use crate::order::Order;
use crate::order_index::OrderIndex;
use crate::stored::{Damage, Input, Stored, write_length};
use crate::version::Version;
use crate::window::Window;

#[derive(Clone)]
pub(crate) struct ClosedOrders {
    secret: Secret,
    orders: Window<Order>,
    key: u64,
    /// Of each symbol: two of them may have orders of one id, once a symbol came from another shard.
    by_order_id: Vec<OrderIndex>,
    /// The one closed last, of those that an account gave the same id.
    by_client_order_id: Index,
    chain: Chain,
}

impl ClosedOrders {
    pub fn new(most: usize, key: u64) -> Self {
        Self {
            secret: Secret::of(key),
            orders: Window::new(most),
            key,
            by_order_id: Vec::new(),
            by_client_order_id: Index::default(),
            chain: Chain::default(),
        }
    }

    pub fn most(&self) -> usize {
        self.orders.most()
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn chain_mut(&mut self) -> &mut Chain {
        &mut self.chain
    }

    /// Where that id is looked for, and the one that makes room for it.
    pub fn foresee(&self, account: u64, symbol: SymbolId, id: ClientOrderId) {
        (self.by_client_order_id).foresee(self.hash(account, symbol, &id));
        if let Some((_, oldest)) = self.orders.oldest() {
            let Order {
                account, symbol, ..
            } = *oldest;
            let hash = self.hash(account, symbol, &oldest.client_order_id);
            self.by_client_order_id.foresee(hash);
        }
    }

    pub fn by_order_id(&self, symbol: SymbolId, order_id: u64) -> Option<&Order> {
        let of_symbol = self.by_order_id.get(symbol.0 as usize)?;
        self.orders.get(of_symbol.get(order_id)?)
    }

    pub fn by_client_order_id(
        &self,
        account: u64,
        symbol: SymbolId,
        id: ClientOrderId,
    ) -> Option<&Order> {
        self.orders.get(self.find(account, symbol, id)?)
    }

    /// Remembers an order; forgets the one closed first when there are too many.
    pub fn remember(&mut self, order: Order, symbol: SymbolName, version: Version) {
        if version.hashes_everything() {
            self.chain
                .add(|entry| entry.order_of_version_1(&order, symbol));
        } else {
            self.chain.append(|entry| entry.order(&order, symbol));
        }
        self.keep(order);
        if self.orders.is_over() {
            self.forget_first();
        }
    }

    fn keep(&mut self, order: Order) {
        let (account, of, id) = (order.account, order.symbol, order.client_order_id);
        let before = self.find(account, of, id);
        let number = self.orders.push(order);
        let (at, key) = (of.0 as usize, self.key);
        if self.by_order_id.len() <= at {
            (self.by_order_id).resize_with(at + 1, || OrderIndex::keyed(key));
        }
        self.by_order_id[at].insert(order.order_id, number);
        let hash = self.hash(account, of, &id);
        match before {
            Some(before) => self.by_client_order_id.replace(hash, before, number),
            None => self.by_client_order_id.insert(hash, number),
        }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        self.chain.write(out);
        write_length(self.orders.len(), out);
        self.orders.iter().for_each(|order| order.write(out));
    }

    pub fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.chain = Stored::read(from)?;
        for _ in 0..from.length()? {
            let order = Order::read(from)?;
            if order.order_id == 0 || self.by_order_id(order.symbol, order.order_id).is_some() {
                return Err("an order closed twice, or is none");
            }
            self.keep(order);
        }
        match self.orders.is_over() {
            true => Err("more closed orders are remembered than may be"),
            false => Ok(()),
        }
    }

    fn forget_first(&mut self) {
        let Some((number, order)) = self.orders.oldest() else {
            return;
        };
        let (account, symbol, id) = (order.account, order.symbol, order.client_order_id);
        self.by_order_id[symbol.0 as usize].remove(order.order_id);
        if self.find(account, symbol, id) == Some(number) {
            let hash = self.hash(account, symbol, &id);
            self.by_client_order_id.remove(hash, number);
        }
        self.orders.pop_oldest();
    }

    fn find(&self, account: u64, symbol: SymbolId, id: ClientOrderId) -> Option<u32> {
        let hash = self.hash(account, symbol, &id);
        self.by_client_order_id.find(hash, |number| {
            let order = self.orders.get(number);
            order.is_some_and(|order| {
                (order.account, order.symbol, order.client_order_id) == (account, symbol, id)
            })
        })
    }

    fn hash(&self, account: u64, symbol: SymbolId, id: &ClientOrderId) -> u32 {
        self.secret.hash(id.words(account, symbol.0))
    }
}
