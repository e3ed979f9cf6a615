//! What an account may do beside what it can pay for: how many orders, how large, how fast, and whether any at all.

use std::collections::BTreeSet;

use crate::accounts::Accounts;
use crate::event::{Effects, EventBody};
use crate::kernel::Kernel;
use crate::names::{AssetName, Trader};
use crate::order::Order;
use crate::refusal::Refusal;

const OPEN_ORDERS_MOST: u32 = 10_000;
const NOTIONALS_MOST: usize = 16;
const INTERVAL_MS_MOST: i64 = 86_400_000;

/// All that is configured for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountConfiguration {
    pub account: Trader,
    /// 0: none.
    pub trade_group: u64,
    /// 0: 10,000.
    pub max_open_orders: u32,
    /// By asset name once it was carried out.
    pub max_open_notional: Vec<(AssetName, i64)>,
    /// 0: no limit.
    pub max_orders_per_interval: u32,
    pub interval_ms: i64,
    pub reuse_client_order_ids: bool,
}

impl AccountConfiguration {
    /// Of an account that nobody configured.
    pub fn of_nobody(account: Trader) -> Self {
        Self {
            account,
            trade_group: 0,
            max_open_orders: 0,
            max_open_notional: Vec::new(),
            max_orders_per_interval: 0,
            interval_ms: 0,
            reuse_client_order_ids: false,
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let notionals = &self.max_open_notional;
        let names: BTreeSet<_> = notionals.iter().map(|(asset, _)| asset).collect();
        let limited = self.max_orders_per_interval > 0;
        let rules = [
            (
                notionals.len() <= NOTIONALS_MOST,
                "max_open_notional: must be at most 16",
            ),
            (
                notionals.iter().all(|(_, amount)| *amount >= 0),
                "max_open_notional: amount must be at least 0",
            ),
            (
                names.len() == notionals.len(),
                "max_open_notional: must name each asset once",
            ),
            (
                !limited || (1..=INTERVAL_MS_MOST).contains(&self.interval_ms),
                "interval_ms: must be 1 to 86400000 with max_orders_per_interval",
            ),
            (
                limited || self.interval_ms == 0,
                "interval_ms: must be 0 without max_orders_per_interval",
            ),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(Refusal::Invalid(rule)),
            None => Ok(()),
        }
    }

    fn most_open_orders(&self) -> u32 {
        match self.max_open_orders {
            0 => OPEN_ORDERS_MOST,
            most => most,
        }
    }

    fn interval(&self, time_us: i64) -> i64 {
        time_us.div_euclid(self.interval_ms * 1000)
    }
}

/// An account's configuration, and what is counted for it.
#[derive(Clone)]
pub(crate) struct Limits {
    pub configuration: AccountConfiguration,
    /// The interval in which orders were counted last.
    pub interval: i64,
    pub accepted: u32,
}

impl Accounts {
    /// The rate of orders, before anything of the order is looked at.
    pub fn check_rate(&self, account: u64, time_us: i64) -> Result<(), Refusal> {
        let Some(limits) = self.limits(account) else {
            return Ok(());
        };
        let configured = &limits.configuration;
        let most = configured.max_orders_per_interval;
        if most > 0 && limits.accepted >= most && limits.interval == configured.interval(time_us) {
            return Err(Refusal::OrderRateExceeded {
                most,
                interval_ms: configured.interval_ms,
            });
        }
        Ok(())
    }

    pub fn count_accepted(&mut self, account: u64, time_us: i64) {
        let Some(limits) = self.limits_mut(account) else {
            return;
        };
        if limits.configuration.max_orders_per_interval == 0 {
            return;
        }
        let interval = limits.configuration.interval(time_us);
        if limits.interval != interval {
            (limits.interval, limits.accepted) = (interval, 0);
        }
        limits.accepted += 1;
    }
}

impl Kernel {
    /// Whether the account may have one more order open, as it would rest.
    pub(crate) fn check_open(&self, order: &Order) -> Result<(), Refusal> {
        let Some(account) = self.accounts.get(order.account) else {
            return Ok(());
        };
        let limits = self.accounts.limits(order.account);
        let most = limits.map_or(OPEN_ORDERS_MOST, |limits| {
            limits.configuration.most_open_orders()
        });
        if account.open_orders() >= most {
            return Err(Refusal::TooManyOpenOrders { most });
        }
        let quote = self.listings.symbol(order.symbol).quote;
        let asset = self.listings.asset(quote).asset;
        let notionals = limits.map(|limits| &limits.configuration.max_open_notional);
        let limit = notionals
            .into_iter()
            .flatten()
            .find(|(named, _)| *named == asset);
        let Some((_, most)) = limit else {
            return Ok(());
        };
        let notional = |order: &Order| {
            let symbol = self.listings.symbol(order.symbol);
            i128::from(symbol.quote_units(order.price_ticks, order.leaves_lots()))
        };
        let open: i128 = (self.accounts.open_orders(order.account))
            .map(|open| (self.listings.symbol(open.symbol), open.order_id))
            .filter(|(symbol, _)| symbol.quote == quote)
            .map(|(symbol, order_id)| notional(symbol.book.get(order_id).expect("it rests")))
            .sum();
        if open + notional(order) > i128::from(*most) {
            return Err(Refusal::OpenNotionalExceeded { asset, most: *most });
        }
        Ok(())
    }

    pub(crate) fn configure_account(
        &mut self,
        configuration: &AccountConfiguration,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        configuration.check()?;
        for (asset, _) in &configuration.max_open_notional {
            self.listings.asset_id(*asset)?;
        }
        let mut configuration = configuration.clone();
        configuration.max_open_notional.sort_unstable();
        let account = configuration.account.account();
        let before = self.accounts.limits(account).cloned();
        let configured = before.as_ref().map_or_else(
            || AccountConfiguration::of_nobody(configuration.account),
            |limits| limits.configuration.clone(),
        );
        if configured == configuration {
            return Ok(());
        }
        let same_rate = (configured.max_orders_per_interval, configured.interval_ms)
            == (
                configuration.max_orders_per_interval,
                configuration.interval_ms,
            );
        let counted = before.filter(|_| same_rate);
        let limits = Limits {
            configuration: configuration.clone(),
            interval: counted.as_ref().map_or(0, |limits| limits.interval),
            accepted: counted.as_ref().map_or(0, |limits| limits.accepted),
        };
        self.accounts.configure(account, limits);
        effects.happened(None, EventBody::AccountConfigured(configuration));
        Ok(())
    }
}
