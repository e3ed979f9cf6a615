//! Who has what: available and hold for each account and asset, and which orders an account has open.
//!
//! Money moves here and nowhere else, and only as a movement that is written into the effects in the same breath.

use std::collections::BTreeMap;

use crate::event::{AssetId, Effects, Movement, SymbolId};
use crate::names::ClientOrderId;

/// Receives the fees of all trades.
pub const FEES_ACCOUNT: u64 = 1;
/// The world outside: what was deposited is missing here, so that every asset sums to zero.
pub const EXTERNAL_ACCOUNT: u64 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub available: i64,
    pub hold: i64,
}

/// Where an open order rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenOrder {
    pub symbol: SymbolId,
    pub order_id: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Account {
    /// In the order of first use; an asset is here once a movement touched it. A handful, so a search is quick.
    balances: Vec<(AssetId, Balance)>,
    open_orders: BTreeMap<ClientOrderId, OpenOrder>,
}

impl Account {
    pub fn balances(&self) -> &[(AssetId, Balance)] {
        &self.balances
    }

    /// By client order id.
    pub fn open_orders(&self) -> impl Iterator<Item = OpenOrder> {
        self.open_orders.values().copied()
    }

    fn balance(&self, asset: AssetId) -> Option<&Balance> {
        let found = self.balances.iter().find(|(held, _)| *held == asset);
        found.map(|(_, balance)| balance)
    }

    fn balance_mut(&mut self, asset: AssetId) -> &mut Balance {
        let place = self.balances.iter().position(|(held, _)| *held == asset);
        let place = place.unwrap_or_else(|| {
            self.balances.push((asset, Balance::default()));
            self.balances.len() - 1
        });
        &mut self.balances[place].1
    }
}

#[derive(Clone, Default)]
pub(crate) struct Accounts {
    by_number: BTreeMap<u64, Account>,
}

impl Accounts {
    pub fn get(&self, account: u64) -> Option<&Account> {
        self.by_number.get(&account)
    }

    /// By number.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Account)> {
        self.by_number
            .iter()
            .map(|(number, account)| (*number, account))
    }

    pub fn balance(&self, account: u64, asset: AssetId) -> Balance {
        let balance = self.get(account).and_then(|account| account.balance(asset));
        balance.copied().unwrap_or_default()
    }

    /// Carries out a movement of the event that happens next. One that changes nothing is none.
    pub fn apply(&mut self, movement: Movement, effects: &mut Effects) {
        if movement.available_change == 0 && movement.hold_change == 0 {
            return;
        }
        let account = self.by_number.entry(movement.account).or_default();
        let balance = account.balance_mut(movement.asset);
        balance.available = (balance.available.checked_add(movement.available_change))
            .expect("deposits are bounded, so every sum is");
        balance.hold = (balance.hold.checked_add(movement.hold_change))
            .expect("deposits are bounded, so every sum is");
        assert!(
            balance.hold >= 0 && (balance.available >= 0 || movement.account == EXTERNAL_ACCOUNT),
            "account {} is overdrawn: {balance:?}",
            movement.account
        );
        effects.moved(movement);
    }

    /// Whether the world outside can give that much more without any sum of balances leaving the range of an i64.
    pub fn can_deposit(&self, asset: AssetId, amount: i64) -> bool {
        let outside = self.balance(EXTERNAL_ACCOUNT, asset).available;
        (outside.checked_sub(amount)).is_some_and(|left| left >= -i64::MAX)
    }

    pub fn open_order(&self, account: u64, id: ClientOrderId) -> Option<OpenOrder> {
        self.get(account)?.open_orders.get(&id).copied()
    }

    pub fn opened(&mut self, account: u64, id: ClientOrderId, order: OpenOrder) {
        let before = (self.by_number.entry(account).or_default())
            .open_orders
            .insert(id, order);
        assert_eq!(
            before, None,
            "two open orders of account {account} are called {id}"
        );
    }

    pub fn closed(&mut self, account: u64, id: ClientOrderId) {
        let open =
            (self.by_number.get_mut(&account)).and_then(|account| account.open_orders.remove(&id));
        assert!(open.is_some(), "account {account} has no open order {id}");
    }
}
