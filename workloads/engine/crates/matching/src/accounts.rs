//! Who has what: available and hold for each account and asset, and which orders an account has open.
//!
//! Money moves here and nowhere else, and only as a movement that is written into the effects in the same breath.

use std::collections::{BTreeMap, BTreeSet};

use crate::account_limits::Limits;
use crate::event::{Effects, Movement};
use crate::names::{AssetId, ClientOrderId, SymbolId};

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
    /// None: never configured.
    limits: Option<Box<Limits>>,
    pub killed: bool,
}

impl Account {
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_deref()
    }

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
    /// Killed, with orders that are still open.
    dying: BTreeSet<u64>,
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

    /// Whether two accounts do not trade with each other.
    pub fn are_one_party(&self, one: u64, other: u64) -> bool {
        one == other || self.group(one).is_some_and(|group| self.group(other) == Some(group))
    }

    fn group(&self, account: u64) -> Option<u64> {
        let group = self.limits(account)?.configuration.trade_group;
        (group > 0).then_some(group)
    }

    pub fn limits(&self, account: u64) -> Option<&Limits> {
        self.get(account)?.limits()
    }

    pub fn limits_mut(&mut self, account: u64) -> Option<&mut Limits> {
        self.by_number.get_mut(&account)?.limits.as_deref_mut()
    }

    pub fn configure(&mut self, account: u64, limits: Limits) {
        self.by_number.entry(account).or_default().limits = Some(Box::new(limits));
    }

    pub fn is_killed(&self, account: u64) -> bool {
        self.get(account).is_some_and(|account| account.killed)
    }

    /// Whether that was news.
    pub fn set_killed(&mut self, account: u64, killed: bool) -> bool {
        if self.is_killed(account) == killed {
            return false;
        }
        self.by_number.entry(account).or_default().killed = killed;
        true
    }

    /// By number.
    pub fn dying(&self) -> &BTreeSet<u64> {
        &self.dying
    }

    pub fn set_dying(&mut self, account: u64, dying: bool) {
        if dying {
            self.dying.insert(account);
        } else {
            self.dying.remove(&account);
        }
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

    pub fn renamed(&mut self, account: u64, id: ClientOrderId, new: ClientOrderId) {
        let open = self.open_order(account, id);
        self.closed(account, id);
        self.opened(account, new, open.expect("it was open until now"));
    }
}
