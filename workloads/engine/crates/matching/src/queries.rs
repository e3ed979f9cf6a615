//! Questions that change nothing.

use crate::accounts::Balance;
use crate::command::{DefineAsset, Target};
use crate::event::{AssetId, SymbolId};
use crate::kernel::Kernel;
use crate::listings::SymbolDefinition;
use crate::names::{AssetName, HaltName, SymbolName};
use crate::order::{Order, Side};
use crate::refusal::{HaltNotice, Refusal};
use crate::symbol_state::{Halt, SymbolState};

/// The best levels of a book, best first, each a price and a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The book delta that this is the state after; 0 before the first.
    pub last_update_id: u64,
    pub bids: Vec<(i64, i64)>,
    pub asks: Vec<(i64, i64)>,
}

/// A listed symbol, and why it does not trade if it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub definition: SymbolDefinition,
    pub state: SymbolState,
    pub notice: Option<HaltNotice>,
}

impl Kernel {
    pub fn symbol_name(&self, symbol: SymbolId) -> SymbolName {
        self.listings.symbol(symbol).definition.symbol
    }

    pub fn asset_name(&self, asset: AssetId) -> AssetName {
        self.listings.asset(asset).asset
    }

    /// At most `levels` a side.
    pub fn depth(&self, symbol: SymbolName, levels: usize) -> Result<Depth, Refusal> {
        let symbol = self.listings.symbol(self.listings.symbol_id(symbol)?);
        Ok(Depth {
            last_update_id: symbol.updates,
            bids: symbol.book.levels(Side::Buy).take(levels).collect(),
            asks: symbol.book.levels(Side::Sell).take(levels).collect(),
        })
    }

    /// Of every asset that the account ever had, by name.
    pub fn balances_of(&self, account: u64) -> Vec<(AssetName, Balance)> {
        let balances = (self.accounts.get(account)).map_or(&[][..], |account| account.balances());
        let mut named: Vec<_> = (balances.iter())
            .map(|(asset, balance)| (self.asset_name(*asset), *balance))
            .collect();
        named.sort_unstable_by_key(|(asset, _)| *asset);
        named
    }

    /// Every account that ever had something, or an order, by number.
    pub fn accounts(&self) -> impl Iterator<Item = u64> {
        self.accounts.iter().map(|(number, _)| number)
    }

    /// An open order, or one closed lately.
    pub fn order(
        &self,
        account: u64,
        symbol: SymbolName,
        target: Target,
    ) -> Result<&Order, Refusal> {
        let symbol = self.listings.symbol(self.listings.symbol_id(symbol)?);
        self.open_order(account, symbol, target).or_else(|unknown| {
            let closed = match target {
                Target::OrderId(order_id) => self.closed.by_order_id(order_id),
                Target::ClientOrderId(id) => self.closed.by_client_order_id(account, symbol.id, id),
            };
            closed
                .filter(|order| order.account == account && order.symbol == symbol.id)
                .ok_or(unknown)
        })
    }

    /// By symbol name and then order id. None: of all symbols.
    pub fn open_orders(
        &self,
        account: u64,
        symbol: Option<SymbolName>,
    ) -> Result<Vec<&Order>, Refusal> {
        let only = symbol
            .map(|name| self.listings.symbol_id(name))
            .transpose()?;
        let Some(account) = self.accounts.get(account) else {
            return Ok(Vec::new());
        };
        let mut orders: Vec<_> = (account.open_orders())
            .filter(|open| only.is_none_or(|symbol| symbol == open.symbol))
            .map(|open| {
                let order = self.listings.symbol(open.symbol).book.get(open.order_id);
                order.expect("an open order rests in the book")
            })
            .collect();
        orders.sort_unstable_by_key(|order| (self.symbol_name(order.symbol), order.order_id));
        Ok(orders)
    }

    /// By name.
    pub fn assets(&self) -> impl Iterator<Item = &DefineAsset> {
        self.listings.assets()
    }

    /// By name.
    pub fn symbols(&self) -> impl Iterator<Item = Listing> {
        self.listings.symbols().map(|symbol| Listing {
            definition: symbol.definition,
            state: symbol.state,
            notice: self.halts.deciding(symbol.definition.symbol).1,
        })
    }

    /// In force, by name.
    pub fn halts(&self) -> impl Iterator<Item = (&HaltName, &Halt)> {
        self.halts.iter()
    }
}
