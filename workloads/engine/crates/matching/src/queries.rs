//! Questions that change nothing.

use crate::accounts::{Balance, EXTERNAL_ACCOUNT};
use crate::auction::Indication;
use crate::command::{DefineAsset, Target};
use crate::kernel::Kernel;
use crate::listings::SymbolDefinition;
use crate::moves::Away;
use crate::names::{AssetId, AssetName, HaltName, Names, ShardName, SymbolId, SymbolName};
use crate::order::{Order, Side};
use crate::refusal::Refusal;
use crate::symbol_state::{Decider, Halt, SymbolState, decide};

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
    pub decider: Option<Decider>,
    /// Of the last trade.
    pub last_price_ticks: Option<i64>,
    /// In AUCTION what was told last.
    pub indicated: Option<Indication>,
    /// The shard that it is moving to, or has moved to.
    pub moving_to: Option<ShardName>,
    pub moved_to: Option<ShardName>,
}

/// All that an asset's accounts have together, the world outside left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub asset: AssetName,
    pub available: i64,
    pub hold: i64,
    /// Deposits less withdrawals: available and hold together.
    pub deposited: i64,
}

/// When the orders of an account are cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Countdown {
    /// None: of all symbols.
    pub symbol: Option<SymbolName>,
    /// Of the connections that guard them, not the account's own.
    pub guard: bool,
    pub end_us: i64,
}

/// What an account's safety switches are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSafety {
    pub killed: bool,
    pub open_orders: usize,
    /// By symbol name, that of all symbols first.
    pub countdowns: Vec<Countdown>,
}

impl Names for Kernel {
    fn symbol_of(&self, symbol: SymbolId) -> SymbolName {
        self.listings.symbol_of(symbol)
    }

    fn asset_of(&self, asset: AssetId) -> AssetName {
        self.listings.asset_of(asset)
    }
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
        if symbol.has_departed() {
            symbol.check_here()?;
        }
        Ok(Depth {
            last_update_id: symbol.updates,
            bids: symbol.book.levels(Side::Buy).take(levels).collect(),
            asks: symbol.book.levels(Side::Sell).take(levels).collect(),
        })
    }

    /// Of every asset that the account ever had, by name.
    pub fn balances_of(&self, account: u64) -> Vec<(AssetName, Balance)> {
        let account = self.accounts.get(account);
        account.map_or_else(Vec::new, |account| account.balances_by_name(&self.listings))
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
                Target::OrderId(order_id) => self.closed.by_order_id(symbol.id, order_id),
                Target::ClientOrderId(id) => self.closed.by_client_order_id(account, symbol.id, id),
            };
            closed
                .filter(|order| order.account == account)
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
        let mut orders: Vec<_> = (self.accounts.open_orders(account))
            .filter(|open| only.is_none_or(|symbol| symbol == open.symbol))
            .map(|open| {
                let order = self.listings.symbol(open.symbol).book.get(open.order_id);
                order.expect("an open order rests in the book")
            })
            .collect();
        orders.sort_unstable_by_key(|order| (self.symbol_name(order.symbol), order.order_id));
        Ok(orders)
    }

    pub fn account_safety(&self, account: u64) -> AccountSafety {
        AccountSafety {
            killed: self.accounts.is_killed(account),
            open_orders: self.accounts.open_orders(account).count(),
            countdowns: (self.countdowns.of(account))
                .map(|(key, end_us)| Countdown {
                    symbol: key.symbol,
                    guard: key.guard,
                    end_us,
                })
                .collect(),
        }
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
            decider: (!symbol.has_departed())
                .then(|| decide(symbol, &self.halts, self.safety.level).1)
                .flatten(),
            last_price_ticks: symbol.last_price_ticks,
            indicated: (symbol.state == SymbolState::Auction).then_some(symbol.indicated),
            moving_to: match &symbol.away {
                Some(Away::Frozen(frozen)) => Some(frozen.to_shard),
                _ => None,
            },
            moved_to: match symbol.away {
                Some(Away::Departed { to_shard, .. }) => Some(to_shard),
                _ => None,
            },
        })
    }

    /// By asset name.
    pub fn totals(&self) -> Vec<Total> {
        let of_asset = |asset: &DefineAsset| {
            let id = self.listings.asset_id(asset.asset).expect("it is defined");
            let mut total = Total {
                asset: asset.asset,
                available: 0,
                hold: 0,
                deposited: -self.accounts.balance(EXTERNAL_ACCOUNT, id).available,
            };
            for (number, _) in self.accounts.iter() {
                if number != EXTERNAL_ACCOUNT {
                    let balance = self.accounts.balance(number, id);
                    total.available += balance.available;
                    total.hold += balance.hold;
                }
            }
            total
        };
        self.listings.assets().map(of_asset).collect()
    }

    /// Closed client order ids that had to make room for others before their time.
    pub fn client_order_ids_forgotten_early(&self) -> u64 {
        self.closed_ids.forgotten_early()
    }

    /// In force, by name.
    pub fn halts(&self) -> impl Iterator<Item = (&HaltName, &Halt)> {
        self.halts.iter()
    }
}
