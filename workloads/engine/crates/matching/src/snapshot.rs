//! A kernel as bytes and back: all of its state that can make a difference later, so that a kernel made of them goes on
//! as the one that wrote them would have.
//!
//! | | |
//! |---|---|
//! | version | of this encoding, u32: 2, or from version 3 of the kernel on 3; another one is not read |
//! | state hash | 32 bytes, that of the kernel's version in force |
//! | state | shard, version, seq, last checkpoint, windows, assets and symbols by number with their books in the order in which they would trade, accounts, halts, countdowns, safety, what the windows hold, oldest first, and in encoding 3 the moves of symbols |
//!
//! Values lie as `stored` says. Which orders an account has open is not in it: they are those that rest. Whether the
//! bytes are those that were written is for whoever keeps them to say; here it is checked that they are a state, and
//! that it has the hash that was recorded.

use std::fmt;

use crate::account_limits::Limits;
use crate::accounts::{Accounts, Balance, EXTERNAL_ACCOUNT, OpenOrder};
use crate::bands::Minutes;
use crate::event::{Effects, Movement};
use crate::kernel::{Kernel, Windows};
use crate::listings::{Defined, Listings, Symbol};
use crate::moves::MOVES_MOST;
use crate::names::{AssetId, SymbolId};
use crate::order::{Order, Side};
use crate::order_book::OrderBook;
use crate::stored::{Damage, Input, Stored, write_length};
use crate::version::Version;

/// Of versions 1 and 2 of the kernel, so that a binary that carries no other reads it.
const BEFORE_MOVES: u32 = 2;
const ENCODING: u32 = 3;

/// Why bytes are no snapshot that this kernel can go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Written by another version of the kernel.
    Encoding(u32),
    Damaged(&'static str),
    StateHash {
        recorded: [u8; 32],
        computed: [u8; 32],
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoding(found) => write!(
                out,
                "its state is in encoding {found}; this kernel reads encodings {BEFORE_MOVES} and {ENCODING}"
            ),
            Self::Damaged(what) => write!(out, "its state is damaged: {what}"),
            Self::StateHash { .. } => {
                out.write_str("its state has another hash than the one that was recorded")
            }
        }
    }
}

impl Kernel {
    /// Appends the whole state. Costs time and bytes in proportion to it.
    pub fn write_snapshot(&mut self, out: &mut Vec<u8>) {
        let encoding = match self.version.moves_symbols() {
            true => ENCODING,
            false => BEFORE_MOVES,
        };
        encoding.write(out);
        self.state_hash().write(out);
        self.shard.write(out);
        self.version.write(out);
        self.seq.write(out);
        self.last_checkpoint.write(out);
        let windows = Windows {
            commands: self.recent.most(),
            closed_orders: self.closed.most(),
            closed_client_order_ids: self.closed_ids.most(),
        };
        windows.write(out);
        self.listings.write(out);
        write_accounts(&self.accounts, out);
        self.accounts.dying().write(out);
        self.halts.write(out);
        self.countdowns.write(encoding, out);
        self.safety.write(out);
        self.recent.write(encoding, out);
        self.closed.write(out);
        self.closed_ids.write(encoding, out);
        if encoding == ENCODING {
            self.write_moves(out);
        }
    }

    /// The kernel that wrote the snapshot, with another secret (see `keyed`). Whatever the bytes are: it does not panic,
    /// and allocates no more than in proportion to them.
    pub fn read_snapshot(snapshot: &[u8], key: u64) -> Result<Self, Unusable> {
        let mut from = Input::new(snapshot);
        let head = |from: &mut Input| Ok((u32::read(from)?, <[u8; 32]>::read(from)?));
        let (encoding, recorded) = head(&mut from).map_err(Unusable::Damaged)?;
        if ![BEFORE_MOVES, ENCODING].contains(&encoding) {
            return Err(Unusable::Encoding(encoding));
        }
        from.encoding = encoding;
        let mut kernel = Self::read(&mut from, key).map_err(Unusable::Damaged)?;
        let computed = kernel.state_hash();
        if computed != recorded {
            return Err(Unusable::StateHash { recorded, computed });
        }
        Ok(kernel)
    }

    fn read(from: &mut Input, key: u64) -> Result<Self, Damage> {
        let shard = String::read(from)?;
        let version = Version::read(from)?;
        if version.moves_symbols() != (from.encoding == ENCODING) {
            return Err("its encoding is that of another version of the kernel");
        }
        let seq = u64::read(from)?;
        let last_checkpoint = Option::read(from)?;
        let windows = Windows::read(from)?;
        let mut kernel = Self::keyed(version, &shard, windows, key);
        (kernel.seq, kernel.last_checkpoint) = (seq, last_checkpoint);
        kernel.listings.read(from, version)?;
        read_accounts(&mut kernel.accounts, from)?;
        open(&kernel.listings, &mut kernel.accounts)?;
        for account in std::collections::BTreeSet::read(from)? {
            kernel.accounts.set_dying(account, true);
        }
        kernel.halts.read(from)?;
        kernel.countdowns.read(from)?;
        kernel.safety = Stored::read(from)?;
        kernel.recent.read(from)?;
        kernel.closed.read(from)?;
        kernel.closed_ids.read(from)?;
        if from.encoding == ENCODING {
            kernel.read_moves(from)?;
        }
        from.end()?;
        Ok(kernel)
    }
}

impl Kernel {
    fn write_moves(&self, out: &mut Vec<u8>) {
        self.order_ids_ahead.write(out);
        let symbols = self.listings.symbols().count();
        for number in 0..symbols {
            (self.listings.symbol(SymbolId(number as u32)).away).write(out);
        }
        self.arriving.write(out);
        self.moves_over.write(out);
    }

    fn read_moves(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.order_ids_ahead = Stored::read(from)?;
        let listed = (from.symbols, from.assets);
        for number in 0..listed.0 {
            self.listings.symbol_mut(SymbolId(number as u32)).away = Stored::read(from)?;
        }
        // A record has numbers of its own: one symbol, and two assets.
        (from.symbols, from.assets) = (1, 2);
        self.arriving = Stored::read(from)?;
        (from.symbols, from.assets) = listed;
        self.moves_over = Stored::read(from)?;
        match self.moves_over.len() > MOVES_MOST {
            true => Err("more moves are remembered than may be"),
            false => Ok(()),
        }
    }
}

impl Listings {
    fn write(&self, out: &mut Vec<u8>) {
        // By number, which orders and balances refer to.
        let assets = self.assets().count();
        write_length(assets, out);
        for number in 0..assets {
            self.asset(AssetId(number as u32)).write(out);
        }
        let symbols = self.symbols().count();
        write_length(symbols, out);
        for number in 0..symbols {
            self.symbol(SymbolId(number as u32)).write(out);
        }
    }

    fn read(&mut self, from: &mut Input, version: Version) -> Result<(), Damage> {
        for _ in 0..from.length()? {
            if self.define_asset(Stored::read(from)?) != Ok(Defined::New) {
                return Err("an asset could not be defined like that");
            }
            from.assets += 1;
        }
        for _ in 0..from.length()? {
            let definition = Stored::read(from)?;
            if self.define_symbol(&definition, version) != Ok(Defined::New) {
                return Err("a symbol could not be defined like that");
            }
            let id = SymbolId(from.symbols as u32);
            from.symbols += 1;
            self.symbol_mut(id).read(from)?;
        }
        Ok(())
    }
}

impl Symbol {
    fn write(&self, out: &mut Vec<u8>) {
        let Self {
            id: _,
            definition,
            base: _,
            quote: _,
            phase,
            phase_ends_us,
            state,
            quote_units_per_tick_lot: _,
            book,
            trades,
            prevented_matches,
            updates,
            last_price_ticks,
            auction_price_ticks,
            minutes,
            fee_schedules,
            indicated,
            uncrossing_at,
            away: _,
        } = self;
        definition.write(out);
        phase.write(out);
        phase_ends_us.write(out);
        state.write(out);
        trades.write(out);
        prevented_matches.write(out);
        updates.write(out);
        last_price_ticks.write(out);
        auction_price_ticks.write(out);
        write_length(minutes.iter().len(), out);
        minutes.iter().for_each(|minute| minute.write(out));
        fee_schedules.write(out);
        indicated.write(out);
        uncrossing_at.write(out);
        for side in [Side::Buy, Side::Sell] {
            write_length(book.len(side), out);
            book.orders(side).for_each(|order| order.write(out));
        }
    }

    /// What its definition does not say.
    fn read(&mut self, from: &mut Input) -> Result<(), Damage> {
        self.phase = Stored::read(from)?;
        self.phase_ends_us = Stored::read(from)?;
        self.state = Stored::read(from)?;
        self.trades = Stored::read(from)?;
        self.prevented_matches = Stored::read(from)?;
        self.updates = Stored::read(from)?;
        self.last_price_ticks = Stored::read(from)?;
        self.auction_price_ticks = Stored::read(from)?;
        self.minutes = Minutes::of(Vec::read(from)?);
        self.fee_schedules = Stored::read(from)?;
        self.indicated = Stored::read(from)?;
        self.uncrossing_at = Stored::read(from)?;
        for side in [Side::Buy, Side::Sell] {
            let mut before = None;
            for _ in 0..from.length()? {
                let order = Order::read(from)?;
                let schedules = self.fee_schedules.len();
                if (order.symbol, order.side) != (self.id, side)
                    || order.fee_schedule as usize > schedules
                {
                    return Err("an order rests where it does not belong");
                }
                rest(&mut self.book, order, before)?;
                before = Some(order.price_ticks);
            }
        }
        Ok(())
    }
}

/// Behind one at the price `before`, which trades no later.
fn rest(book: &mut OrderBook<Order>, order: Order, before: Option<i64>) -> Result<(), Damage> {
    let Order {
        order_id,
        side,
        price_ticks,
        ..
    } = order;
    let in_order = before.is_none_or(|before| match side {
        Side::Buy => price_ticks <= before,
        Side::Sell => price_ticks >= before,
    });
    let left = (order.quantity_lots.checked_sub(order.executed_lots))
        .and_then(|left| left.checked_sub(order.prevented_lots));
    let level = left
        .filter(|left| *left >= 1)
        .and_then(|left| book.quantity_lots(side, price_ticks).checked_add(left));
    if order_id == 0 || price_ticks < 1 || level.is_none() || !in_order {
        return Err("an order cannot rest like that");
    }
    if book.get(order_id).is_some() {
        return Err("an order rests twice");
    }
    book.rest(order);
    Ok(())
}

/// By number, and of each its balances in the order of their first use.
fn write_accounts(accounts: &Accounts, out: &mut Vec<u8>) {
    write_length(accounts.iter().count(), out);
    for (number, account) in accounts.iter() {
        number.write(out);
        account.killed.write(out);
        let limits = account.limits();
        limits.is_some().write(out);
        if let Some(limits) = limits {
            limits.write(out);
        }
        write_length(account.balances().count(), out);
        for (asset, balance) in account.balances() {
            asset.write(out);
            balance.write(out);
        }
    }
}

fn read_accounts(accounts: &mut Accounts, from: &mut Input) -> Result<(), Damage> {
    let mut effects = Effects::new();
    let mut before = 0;
    for _ in 0..from.length()? {
        let number = u64::read(from)?;
        if number <= before {
            return Err("accounts are not in order");
        }
        before = number;
        // Also one that has nothing any more is there.
        accounts.set_killed(number, true);
        accounts.set_killed(number, bool::read(from)?);
        if let Some(limits) = Option::<Limits>::read(from)? {
            accounts.configure(number, limits);
        }
        let mut held = Vec::new();
        for _ in 0..from.length()? {
            let (asset, balance) = <(AssetId, Balance)>::read(from)?;
            if held.contains(&asset) {
                return Err("an account has two balances of one asset");
            }
            held.push(asset);
            receive(accounts, (number, asset), balance, &mut effects)?;
        }
    }
    Ok(())
}

/// The first movements of an account in an asset.
fn receive(
    accounts: &mut Accounts,
    (account, asset): (u64, AssetId),
    balance: Balance,
    effects: &mut Effects,
) -> Result<(), Damage> {
    if balance.hold < 0 || (balance.available < 0 && account != EXTERNAL_ACCOUNT) {
        return Err("an account is overdrawn");
    }
    let mut moved = |available_change, hold_change| {
        let movement = Movement {
            account,
            asset,
            available_change,
            hold_change,
        };
        accounts.apply(movement, effects);
    };
    match balance {
        // It had something once, so that the asset is there.
        Balance {
            available: 0,
            hold: 0,
        } => [1, -1].map(|change| moved(change, 0)),
        Balance { available, hold } => [moved(available, hold), ()],
    };
    effects.clear();
    Ok(())
}

/// Tells the accounts which orders they have open: all that rest, by order id.
fn open(listings: &Listings, accounts: &mut Accounts) -> Result<(), Damage> {
    let mut resting: Vec<&Order> = (listings.symbols())
        .flat_map(|symbol| [Side::Buy, Side::Sell].map(|side| symbol.book.orders(side)))
        .flatten()
        .collect();
    resting.sort_unstable_by_key(|order| (order.order_id, order.symbol));
    for order in resting {
        let Order {
            account,
            client_order_id,
            symbol,
            order_id,
            ..
        } = *order;
        if account == 0 || (accounts.open_order_in(symbol, account, client_order_id)).is_some() {
            return Err("an account has two open orders of one name, or is none");
        }
        accounts.opened(account, client_order_id, OpenOrder { symbol, order_id });
    }
    Ok(())
}
