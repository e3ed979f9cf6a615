//! Who has what: available and hold for each account and asset, and which orders an account has open.
//!
//! Money moves here and nowhere else, and only as a movement that is written into the effects in the same breath.

use std::collections::BTreeSet;

use crate::account_limits::Limits;
use crate::digests::Digests;
use crate::event::{Effects, Movement};
use crate::foresight::look_at;
use crate::index::{Index, Secret};
use crate::listings::Listings;
use crate::names::{AssetId, AssetName, ClientOrderId, SymbolId};
use crate::table::Table;

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

#[derive(Clone)]
pub(crate) struct Account {
    pub number: u64,
    balances: Balances,
    /// The first and the last of its open orders, by order id.
    first_open: u32,
    last_open: u32,
    open_orders: u32,
    pub killed: bool,
    /// None: never configured.
    limits: Option<Box<Limits>>,
}

/// In the order of first use; an asset is here once a movement touched it. A handful, so a search is quick, and most
/// accounts need no more than what lies in place.
#[derive(Clone, Default)]
struct Balances {
    first: [Option<(AssetId, Balance)>; 2],
    others: Vec<(AssetId, Balance)>,
}

impl Balances {
    fn iter(&self) -> impl Iterator<Item = &(AssetId, Balance)> {
        self.first.iter().flatten().chain(&self.others)
    }

    fn get_mut(&mut self, asset: AssetId) -> &mut Balance {
        let Self { first, others } = self;
        for place in first {
            let (held, balance) = place.get_or_insert((asset, Balance::default()));
            if *held == asset {
                return balance;
            }
        }
        let place = others.iter().position(|(held, _)| *held == asset);
        let place = place.unwrap_or_else(|| {
            others.push((asset, Balance::default()));
            others.len() - 1
        });
        &mut others[place].1
    }
}

impl Account {
    fn new(number: u64) -> Self {
        Self {
            number,
            balances: Balances::default(),
            first_open: NONE,
            last_open: NONE,
            open_orders: 0,
            killed: false,
            limits: None,
        }
    }

    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_deref()
    }

    pub fn balances(&self) -> impl Iterator<Item = &(AssetId, Balance)> {
        self.balances.iter()
    }

    pub fn balances_by_name(&self, listings: &Listings) -> Vec<(AssetName, Balance)> {
        let mut named: Vec<_> = (self.balances())
            .map(|(asset, balance)| (listings.asset(*asset).asset, *balance))
            .collect();
        named.sort_unstable_by_key(|(asset, _)| *asset);
        named
    }

    /// How many.
    pub fn open_orders(&self) -> u32 {
        self.open_orders
    }

    fn balance(&self, asset: AssetId) -> Option<&Balance> {
        let found = self.balances().find(|(held, _)| *held == asset);
        found.map(|(_, balance)| balance)
    }
}

/// An open order as its account knows it, linked to those before and after it.
#[derive(Clone, Copy)]
struct Open {
    account: u64,
    id: ClientOrderId,
    order: OpenOrder,
    before: u32,
    after: u32,
}

/// No place.
const NONE: u32 = u32::MAX;

#[derive(Clone)]
pub(crate) struct Accounts {
    secret: Secret,
    accounts: Vec<Account>,
    /// Of the accounts, by their place.
    digests: Digests,
    by_number: Table<u32>,
    open: Vec<Open>,
    /// The free places are linked by `after`.
    free: u32,
    by_client_order_id: Index,
    /// Killed, with orders that are still open.
    dying: BTreeSet<u64>,
}

impl Accounts {
    pub fn keyed(key: u64) -> Self {
        Self {
            secret: Secret::of(key),
            accounts: Vec::new(),
            digests: Digests::default(),
            by_number: Table::keyed(key),
            open: Vec::new(),
            free: NONE,
            by_client_order_id: Index::default(),
            dying: BTreeSet::new(),
        }
    }

    pub fn get(&self, account: u64) -> Option<&Account> {
        let at = self.by_number.get(account)?;
        Some(&self.accounts[at as usize])
    }

    pub fn foresee(&self, account: u64) {
        look_at(
            self.get(account)
                .map(|account| (account.killed, account.number)),
        );
    }

    pub fn foresee_id(&self, account: u64, id: ClientOrderId) {
        self.by_client_order_id.foresee(self.hash(account, &id));
    }

    fn get_or_add(&mut self, account: u64) -> &mut Account {
        let at = self.place_or_add(account);
        &mut self.accounts[at as usize]
    }

    /// To change what the state hash says of the account.
    fn change(&mut self, account: u64) -> &mut Account {
        let at = self.place_or_add(account);
        self.digests.change(at);
        &mut self.accounts[at as usize]
    }

    fn place_or_add(&mut self, account: u64) -> u32 {
        self.by_number.get(account).unwrap_or_else(|| {
            let at = u32::try_from(self.accounts.len()).expect("fewer than 2^32 accounts");
            self.accounts.push(Account::new(account));
            self.by_number.insert(account, at);
            self.digests.change(at);
            at
        })
    }

    /// Asks `digest` of the accounts that changed since the digests were brought up to date last. It must be the same
    /// each time.
    pub fn bring_digests_up_to_date(&mut self, mut digest: impl FnMut(&Account) -> u128) {
        let accounts = &self.accounts;
        self.digests.bring_up_to_date(accounts.len(), |at| {
            accounts.get(at as usize).map(&mut digest)
        });
    }

    /// Of the digests of all accounts, as of when they were brought up to date.
    pub fn sum_of_digests(&self) -> u128 {
        self.digests.sum()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// By number: for questions about all of them, since it sorts them first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Account)> {
        let mut sorted: Vec<&Account> = self.accounts.iter().collect();
        sorted.sort_unstable_by_key(|account| account.number);
        sorted.into_iter().map(|account| (account.number, account))
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
        let account = self.change(movement.account);
        let balance = account.balances.get_mut(movement.asset);
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
        one == other
            || self
                .group(one)
                .is_some_and(|group| self.group(other) == Some(group))
    }

    fn group(&self, account: u64) -> Option<u64> {
        let group = self.limits(account)?.configuration.trade_group;
        (group > 0).then_some(group)
    }

    pub fn limits(&self, account: u64) -> Option<&Limits> {
        self.get(account)?.limits()
    }

    pub fn limits_mut(&mut self, account: u64) -> Option<&mut Limits> {
        let at = self.by_number.get(account)?;
        let limits = self.accounts[at as usize].limits.as_deref_mut()?;
        self.digests.change(at);
        Some(limits)
    }

    pub fn configure(&mut self, account: u64, limits: Limits) {
        self.change(account).limits = Some(Box::new(limits));
    }

    pub fn is_killed(&self, account: u64) -> bool {
        self.get(account).is_some_and(|account| account.killed)
    }

    /// Whether that was news.
    pub fn set_killed(&mut self, account: u64, killed: bool) -> bool {
        if self.is_killed(account) == killed {
            return false;
        }
        self.change(account).killed = killed;
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

    /// In whichever symbol; of several the one that is found first.
    pub fn open_order(&self, account: u64, id: ClientOrderId) -> Option<OpenOrder> {
        let at = self.find_open(account, id, None)?;
        Some(self.open[at as usize].order)
    }

    pub fn open_order_in(
        &self,
        symbol: SymbolId,
        account: u64,
        id: ClientOrderId,
    ) -> Option<OpenOrder> {
        let at = self.find_open(account, id, Some(symbol))?;
        Some(self.open[at as usize].order)
    }

    /// By order id.
    pub fn open_orders(&self, account: u64) -> impl Iterator<Item = OpenOrder> {
        let mut next = self.get(account).map_or(NONE, |account| account.first_open);
        std::iter::from_fn(move || {
            let open = self.open.get(next as usize)?;
            next = open.after;
            Some(open.order)
        })
    }

    /// The newest of the account's orders, or one that came from another shard: it has its place by its order id, of
    /// two that are the same by symbol.
    pub fn opened(&mut self, account: u64, id: ClientOrderId, order: OpenOrder) {
        assert_eq!(
            self.find_open(account, id, Some(order.symbol)),
            None,
            "two open orders of account {account} are called {id}"
        );
        let at = self.free_place();
        let (before, after) = self.neighbours(account, order);
        let open = Open {
            account,
            id,
            order,
            before,
            after,
        };
        match self.open.get_mut(at as usize) {
            Some(place) => {
                self.free = place.after;
                *place = open;
            }
            None => self.open.push(open),
        }
        if let Some(before) = self.open.get_mut(before as usize) {
            before.after = at;
        }
        if let Some(after) = self.open.get_mut(after as usize) {
            after.before = at;
        }
        let of = self.get_or_add(account);
        if before == NONE {
            of.first_open = at;
        }
        if after == NONE {
            of.last_open = at;
        }
        of.open_orders += 1;
        self.by_client_order_id.insert(self.hash(account, &id), at);
    }

    /// Between which of the account's orders it belongs. A new order is the last, and found at once.
    fn neighbours(&mut self, account: u64, order: OpenOrder) -> (u32, u32) {
        let key = |order: OpenOrder| (order.order_id, order.symbol);
        let (mut before, mut after) = (self.get_or_add(account).last_open, NONE);
        while let Some(open) = self.open.get(before as usize)
            && key(open.order) > key(order)
        {
            (before, after) = (open.before, before);
        }
        (before, after)
    }

    pub fn closed(&mut self, symbol: SymbolId, account: u64, id: ClientOrderId) {
        let at = self.find_open(account, id, Some(symbol));
        let at = at.unwrap_or_else(|| panic!("account {account} has no open order {id}"));
        self.by_client_order_id.remove(self.hash(account, &id), at);
        let Open { before, after, .. } = self.open[at as usize];
        self.open[at as usize].after = self.free;
        self.free = at;
        if let Some(before) = self.open.get_mut(before as usize) {
            before.after = after;
        }
        if let Some(after) = self.open.get_mut(after as usize) {
            after.before = before;
        }
        let of = self.get_or_add(account);
        if of.first_open == at {
            of.first_open = after;
        }
        if of.last_open == at {
            of.last_open = before;
        }
        of.open_orders -= 1;
    }

    pub fn renamed(
        &mut self,
        symbol: SymbolId,
        account: u64,
        id: ClientOrderId,
        new: ClientOrderId,
    ) {
        let at = (self.find_open(account, id, Some(symbol))).expect("it is open");
        assert_eq!(
            self.find_open(account, new, Some(symbol)),
            None,
            "two open orders of account {account} are called {new}"
        );
        self.by_client_order_id.remove(self.hash(account, &id), at);
        self.by_client_order_id.insert(self.hash(account, &new), at);
        self.open[at as usize].id = new;
    }

    fn free_place(&self) -> u32 {
        if self.free == NONE {
            u32::try_from(self.open.len()).expect("fewer than 2^32 open orders")
        } else {
            self.free
        }
    }

    fn find_open(&self, account: u64, id: ClientOrderId, symbol: Option<SymbolId>) -> Option<u32> {
        let hash = self.hash(account, &id);
        self.by_client_order_id.find(hash, |at| {
            let open = &self.open[at as usize];
            open.account == account
                && open.id == id
                && symbol.is_none_or(|symbol| open.order.symbol == symbol)
        })
    }

    fn hash(&self, account: u64, id: &ClientOrderId) -> u32 {
        self.secret.hash(id.words(account, 0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::account_limits::AccountConfiguration;
    use crate::names::Trader;

    /// Against lists by account: what is open, in which order, under which names.
    #[test]
    fn open_orders_are_those_that_were_opened_and_not_closed() {
        let mut seed = 1_u64;
        let mut below = |bound: u64| {
            seed = (seed.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
            (seed >> 33) % bound
        };
        let id = |number: u64| ClientOrderId::client_order_id(&format!("id-{number}")).unwrap();
        let mut accounts = Accounts::keyed(7);
        let mut naive: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for order_id in 1..20_000 {
            let (account, name, other) = (1000 + below(5), below(8), below(8));
            let open = naive.entry(account).or_default();
            let place = open.iter().position(|(of, _)| *of == name);
            let taken = open.iter().any(|(of, _)| *of == other);
            match place {
                None => {
                    let symbol = SymbolId(0);
                    accounts.opened(account, id(name), OpenOrder { symbol, order_id });
                    open.push((name, order_id));
                }
                Some(place) if !taken => {
                    accounts.renamed(SymbolId(0), account, id(name), id(other));
                    open[place].0 = other;
                }
                Some(place) => {
                    accounts.closed(SymbolId(0), account, id(name));
                    open.remove(place);
                }
            }
            for (account, open) in &naive {
                let ids: Vec<_> = (accounts.open_orders(*account))
                    .map(|open| open.order_id)
                    .collect();
                assert_eq!(
                    ids,
                    open.iter()
                        .map(|(_, order_id)| *order_id)
                        .collect::<Vec<_>>()
                );
                assert_eq!(
                    accounts.get(*account).unwrap().open_orders() as usize,
                    open.len()
                );
                for name in 0..8 {
                    let there = open.iter().find(|(of, _)| *of == name);
                    let found = accounts.open_order(*account, id(name));
                    assert_eq!(
                        found.map(|open| open.order_id),
                        there.map(|(_, order_id)| *order_id)
                    );
                }
            }
        }
    }
    #[test]
    fn an_account_is_digested_anew_after_each_change_of_it_and_not_before() {
        let mut accounts = Accounts::keyed(7);
        let digested = |accounts: &mut Accounts| {
            let mut numbers = Vec::new();
            accounts.bring_digests_up_to_date(|account| {
                numbers.push(account.number);
                1
            });
            numbers
        };
        let id = ClientOrderId::client_order_id("id").unwrap();
        for account in [1000, 1001] {
            let (symbol, order_id) = (SymbolId(0), account);
            accounts.opened(account, id, OpenOrder { symbol, order_id });
            assert_eq!(digested(&mut accounts), [account]);
        }
        let limits = Limits {
            configuration: AccountConfiguration {
                max_orders_per_interval: 9,
                interval_ms: 1000,
                ..AccountConfiguration::of_nobody(Trader::new(1000).unwrap())
            },
            interval: 0,
            accepted: 0,
        };
        accounts.configure(1000, limits);
        assert_eq!(digested(&mut accounts), [1000]);
        accounts.count_accepted(1000, 5);
        assert_eq!(digested(&mut accounts), [1000]);
        accounts.set_killed(1001, true);
        assert_eq!(digested(&mut accounts), [1001]);
        accounts.set_killed(1001, true);
        accounts.closed(SymbolId(0), 1001, id);
        assert_eq!(digested(&mut accounts), [0; 0]);
        assert_eq!(accounts.sum_of_digests(), 2);
    }
}
