//! One shard's state, moved on by one command at a time. Each command is decided first and carried out afterwards: what
//! is refused has touched nothing.

use crate::accounts::{Accounts, EXTERNAL_ACCOUNT, OpenOrder};
use crate::closed_orders::ClosedOrders;
use crate::command::{
    Body, CancelOrder, Checkpoint, Command, CommandId, CreditFunds, DefineAsset, ImposeHalt,
    LiftHalt, PlaceOrder, Stamp, Target,
};
use crate::event::{AssetId, Effects, EventBody, Movement, Outcome, Reply, SymbolId};
use crate::ids::RecentCommands;
use crate::listings::{Defined, Listings, Symbol, SymbolDefinition};
use crate::matching::Market;
use crate::names::HaltName;
use crate::order::{Order, OrderStatus, Side, TimeInForce};
use crate::refusal::{HaltNotice, Refusal};
use crate::symbol_state::{Halt, HaltTerms, Halts, SymbolState};

/// Bytes of a halt's reason.
const REASON_MOST: usize = 1024;
/// Symbols that one halt may name.
const HALT_SYMBOLS_MOST: usize = 1000;

#[derive(Clone)]
pub struct Kernel {
    shard: String,
    seq: u64,
    pub(crate) listings: Listings,
    pub(crate) accounts: Accounts,
    pub(crate) halts: Halts,
    pub(crate) recent: RecentCommands,
    pub(crate) closed: ClosedOrders,
    last_checkpoint: Option<(u64, [u8; 32])>,
}

/// How far back a shard remembers. Part of its state: the same log gives the same state only with the same windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Command ids with their replies.
    pub commands: usize,
    pub closed_orders: usize,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            commands: 100_000,
            closed_orders: 100_000,
        }
    }
}

/// A checkpoint in the log names another state than the one that this kernel had there: it must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Diverged {
    /// Of the checkpoint that was recorded.
    pub seq: u64,
    pub recorded: [u8; 32],
    /// None: this kernel's last checkpoint was at another seq.
    pub computed: Option<[u8; 32]>,
}

impl Kernel {
    pub fn new(shard: &str) -> Self {
        Self::with_windows(shard, Windows::default())
    }

    pub fn with_windows(shard: &str, windows: Windows) -> Self {
        Self {
            shard: shard.into(),
            seq: 0,
            listings: Listings::default(),
            accounts: Accounts::default(),
            halts: Halts::default(),
            recent: RecentCommands::new(windows.commands),
            closed: ClosedOrders::new(windows.closed_orders),
            last_checkpoint: None,
        }
    }

    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// The last command's; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Seq and state hash of the last EngineCheckpoint.
    pub fn last_checkpoint(&self) -> Option<(u64, [u8; 32])> {
        self.last_checkpoint
    }

    /// Carries out the next command, or answers a resent one as it was answered first. `effects` then holds what it
    /// did, and nothing of what was in it before. After `Diverged` the state is that of before the command.
    ///
    /// # Panics
    /// When `stamp.seq` is not the next one: the caller lost or doubled a command.
    pub fn step(
        &mut self,
        stamp: Stamp,
        command: &Command,
        effects: &mut Effects,
    ) -> Result<(), Diverged> {
        assert_eq!(
            Some(stamp.seq),
            self.seq.checked_add(1),
            "a command is missing or came twice"
        );
        effects.clear();
        match command.id {
            Some(id) => self.answer_once(stamp, id, &command.body, effects)?,
            None => {
                let what = match &command.body {
                    Body::Invalid(what) => what,
                    _ => "command_id: must be 16 bytes",
                };
                effects.reply = Some(Reply {
                    command_id: None,
                    stamp,
                    outcome: Outcome::Refused(Refusal::Invalid(what)),
                });
            }
        }
        self.seq = stamp.seq;
        Ok(())
    }

    fn answer_once(
        &mut self,
        stamp: Stamp,
        id: CommandId,
        body: &Body,
        effects: &mut Effects,
    ) -> Result<(), Diverged> {
        if let Some(first) = self.recent.reply(&id) {
            effects.reply = Some(first.clone());
            return Ok(());
        }
        if let Body::Checkpoint(checkpoint) = body {
            self.compare(checkpoint)?;
        }
        let outcome = match self.carry_out(stamp, body, effects) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome::Refused(refusal),
        };
        let reply = Reply {
            command_id: Some(id),
            stamp,
            outcome,
        };
        self.recent.remember(id, reply.clone(), &self.listings);
        effects.reply = Some(reply);
        if let Body::Checkpoint(_) = body {
            let state_hash = self.state_hash();
            self.last_checkpoint = Some((stamp.seq, state_hash));
            effects.happened(None, EventBody::EngineCheckpoint { state_hash });
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        stamp: Stamp,
        body: &Body,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        match body {
            Body::PlaceOrder(place) => self.place_order(stamp, place, effects),
            Body::CancelOrder(cancel) => self.cancel_order(stamp, cancel, effects),
            Body::CreditFunds(credit) => self.credit_funds(credit, effects),
            Body::DefineAsset(asset) => self.define_asset(asset, effects),
            Body::DefineSymbol(definition) => self.define_symbol(definition, effects),
            Body::ImposeHalt(impose) => self.impose_halt(stamp, impose, effects),
            Body::LiftHalt(lift) => self.lift_halt(lift, effects),
            Body::Checkpoint(_) => Ok(Outcome::Done),
            Body::Invalid(what) => Err(Refusal::Invalid(what)),
        }
    }

    fn place_order(
        &mut self,
        stamp: Stamp,
        place: &PlaceOrder,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let account = place.account.account();
        let listed = self.listings.symbol_id(place.symbol);
        match listed.and_then(|symbol| self.reserve(place, symbol)) {
            Ok(hold) => Ok(self.execute(stamp, place, hold, effects)),
            Err(refusal) => {
                let rejected = EventBody::OrderRejected {
                    account,
                    client_order_id: place.client_order_id,
                    refusal: refusal.clone(),
                };
                effects.happened(self.listings.symbol_id(place.symbol).ok(), rejected);
                Err(refusal)
            }
        }
    }

    /// Every check of an order, in this order; what it must hold if it passes.
    fn reserve(&self, place: &PlaceOrder, symbol: SymbolId) -> Result<Reservation, Refusal> {
        let listed = self.listings.symbol(symbol);
        let definition = &listed.definition;
        match listed.state {
            SymbolState::Trading => {}
            SymbolState::Halt => return Err(Refusal::SymbolHalted(self.notice(listed))),
            SymbolState::CancelOnly => return Err(Refusal::SymbolCancelOnly(self.notice(listed))),
        }
        if !(1..=definition.max_price_ticks).contains(&place.price_ticks) {
            return Err(Refusal::PriceOutOfRange {
                most: definition.max_price_ticks,
            });
        }
        if !(1..=definition.max_quantity_lots).contains(&place.quantity_lots) {
            return Err(Refusal::QuantityOutOfRange {
                most: definition.max_quantity_lots,
            });
        }
        let notional_units = listed.quote_units(place.price_ticks, place.quantity_lots);
        if notional_units < definition.min_notional_units {
            return Err(Refusal::NotionalTooSmall {
                least: definition.min_notional_units,
            });
        }
        let account = place.account.account();
        if self
            .accounts
            .open_order(account, place.client_order_id)
            .is_some()
        {
            return Err(Refusal::DuplicateClientOrderId(place.client_order_id));
        }
        let (asset, units) = held(listed, place.side, place.price_ticks, place.quantity_lots);
        let available = self.accounts.balance(account, asset).available;
        if available < units {
            return Err(Refusal::InsufficientFunds {
                asset: self.listings.asset(asset).asset,
                needed: units,
                available,
            });
        }
        Ok(Reservation {
            symbol,
            asset,
            units,
        })
    }

    fn execute(
        &mut self,
        stamp: Stamp,
        place: &PlaceOrder,
        hold: Reservation,
        effects: &mut Effects,
    ) -> Outcome {
        let mut order = Order {
            order_id: stamp.seq,
            client_order_id: place.client_order_id,
            account: place.account.account(),
            symbol: hold.symbol,
            side: place.side,
            time_in_force: place.time_in_force,
            price_ticks: place.price_ticks,
            quantity_lots: place.quantity_lots,
            executed_lots: 0,
            executed_quote_units: 0,
            status: OrderStatus::New,
            created_at_us: stamp.time_us,
            updated_at_us: stamp.time_us,
        };
        let reserved = Movement {
            account: order.account,
            asset: hold.asset,
            available_change: -hold.units,
            hold_change: hold.units,
        };
        self.accounts.apply(reserved, effects);
        effects.happened(Some(order.symbol), EventBody::OrderAccepted(order));

        let mut market = Market {
            symbol: self.listings.symbol_mut(order.symbol),
            accounts: &mut self.accounts,
            closed: &mut self.closed,
            effects,
            time_us: stamp.time_us,
        };
        let sweep = market.sweep(&mut order);

        let symbol = self.listings.symbol_mut(order.symbol);
        let rests =
            order.leaves_lots() > 0 && order.time_in_force == TimeInForce::GoodTillCancelled;
        if rests {
            symbol.book.rest(order);
            let open = OpenOrder {
                symbol: order.symbol,
                order_id: order.order_id,
            };
            self.accounts
                .opened(order.account, order.client_order_id, open);
        } else {
            if order.leaves_lots() > 0 {
                order.close(OrderStatus::Expired, stamp.time_us);
                self.accounts.apply(release(symbol, &order), effects);
                effects.happened(Some(order.symbol), EventBody::OrderExpired(order));
            }
            self.closed
                .remember(order, symbol.definition.symbol.as_str());
        }
        for price_ticks in sweep.prices {
            book_delta(symbol, order.side.opposite(), price_ticks, effects);
        }
        if rests {
            book_delta(symbol, order.side, order.price_ticks, effects);
        }
        Outcome::Order {
            order,
            fills: sweep.fills,
        }
    }

    fn cancel_order(
        &mut self,
        stamp: Stamp,
        cancel: &CancelOrder,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let account = cancel.account.account();
        let symbol_id = self.listings.symbol_id(cancel.symbol)?;
        let symbol = self.listings.symbol(symbol_id);
        if symbol.state == SymbolState::Halt {
            return Err(Refusal::SymbolHalted(self.notice(symbol)));
        }
        let order_id = self.open_order(account, symbol, cancel.target)?.order_id;

        let symbol = self.listings.symbol_mut(symbol_id);
        let mut order = symbol
            .book
            .remove(order_id)
            .expect("an open order rests in the book");
        order.close(OrderStatus::Canceled, stamp.time_us);
        self.accounts.closed(account, order.client_order_id);
        self.closed
            .remember(order, symbol.definition.symbol.as_str());
        self.accounts.apply(release(symbol, &order), effects);
        effects.happened(Some(symbol_id), EventBody::OrderCanceled(order));
        book_delta(symbol, order.side, order.price_ticks, effects);
        Ok(Outcome::Order {
            order,
            fills: Vec::new(),
        })
    }

    /// Somebody else's order is unknown.
    pub(crate) fn open_order<'a>(
        &self,
        account: u64,
        symbol: &'a Symbol,
        target: Target,
    ) -> Result<&'a Order, Refusal> {
        let order_id = match target {
            Target::OrderId(order_id) => Some(order_id),
            Target::ClientOrderId(id) => {
                let open = self.accounts.open_order(account, id);
                open.filter(|open| open.symbol == symbol.id)
                    .map(|open| open.order_id)
            }
        };
        let order = order_id.and_then(|order_id| symbol.book.get(order_id));
        order
            .filter(|order| order.account == account)
            .ok_or(Refusal::UnknownOrder)
    }

    fn credit_funds(
        &mut self,
        credit: &CreditFunds,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        if credit.amount < 1 {
            return Err(Refusal::Invalid("amount: must be at least 1"));
        }
        let asset = self.listings.asset_id(credit.asset)?;
        if !self.accounts.can_deposit(asset, credit.amount) {
            return Err(Refusal::Overflow(
                "amount: all deposits together would leave the range of a signed 64-bit integer",
            ));
        }
        let account = credit.account.account();
        for (account, available_change) in
            [(EXTERNAL_ACCOUNT, -credit.amount), (account, credit.amount)]
        {
            let movement = Movement {
                account,
                asset,
                available_change,
                hold_change: 0,
            };
            self.accounts.apply(movement, effects);
        }
        let credited = EventBody::FundsCredited {
            transfer_id: credit.transfer_id,
            account,
            asset,
            amount: credit.amount,
        };
        effects.happened(None, credited);
        Ok(Outcome::Done)
    }

    fn define_asset(
        &mut self,
        asset: &DefineAsset,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        if self.listings.define_asset(*asset)? != Defined::AsBefore {
            let defined = EventBody::AssetDefined {
                asset: asset.asset,
                scale: asset.scale,
            };
            effects.happened(None, defined);
        }
        Ok(Outcome::Done)
    }

    fn define_symbol(
        &mut self,
        definition: &SymbolDefinition,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        let defined = self.listings.define_symbol(definition)?;
        if defined == Defined::AsBefore {
            return Ok(Outcome::Done);
        }
        let symbol = self.listings.symbol_id(definition.symbol)?;
        effects.happened(Some(symbol), EventBody::SymbolDefined(*definition));
        // A new symbol begins as TRADING, and a halt that was waiting for it takes hold at once.
        if let (_, Some(HaltNotice { halt, reason })) = self.halts.deciding(definition.symbol) {
            self.update_state(symbol, &halt, &reason, effects);
        }
        Ok(Outcome::Done)
    }

    fn impose_halt(
        &mut self,
        stamp: Stamp,
        impose: &ImposeHalt,
        effects: &mut Effects,
    ) -> Result<Outcome, Refusal> {
        if impose.state == SymbolState::Trading {
            return Err(Refusal::Invalid("state: must be HALT or CANCEL_ONLY"));
        }
        check_reason(&impose.reason)?;
        if impose.symbols.len() > HALT_SYMBOLS_MOST {
            return Err(Refusal::Invalid("symbols: must be at most 1000"));
        }
        let terms = HaltTerms {
            symbols: impose.symbols.iter().copied().collect(),
            state: impose.state,
            reason: impose.reason.clone(),
        };
        if self
            .halts
            .get(&impose.halt)
            .is_some_and(|halt| halt.terms == terms)
        {
            return Ok(Outcome::Done);
        }
        let halt = Halt {
            terms,
            seq: stamp.seq,
            epoch: stamp.epoch,
        };
        self.halts.impose(impose.halt.clone(), halt);
        self.update_states(&impose.halt, &impose.reason, effects);
        Ok(Outcome::Done)
    }

    fn lift_halt(&mut self, lift: &LiftHalt, effects: &mut Effects) -> Result<Outcome, Refusal> {
        check_reason(&lift.reason)?;
        self.halts.lift(&lift.halt)?;
        self.update_states(&lift.halt, &lift.reason, effects);
        Ok(Outcome::Done)
    }

    /// After a change of one halt, by symbol name.
    fn update_states(&mut self, halt: &HaltName, reason: &str, effects: &mut Effects) {
        for symbol in self.listings.symbol_ids() {
            self.update_state(symbol, halt, reason, effects);
        }
    }

    fn update_state(
        &mut self,
        symbol: SymbolId,
        halt: &HaltName,
        reason: &str,
        effects: &mut Effects,
    ) {
        let symbol = self.listings.symbol_mut(symbol);
        let (state, _) = self.halts.deciding(symbol.definition.symbol);
        if state != symbol.state {
            let changed = EventBody::SymbolStateChanged {
                state,
                previous_state: symbol.state,
                halt: halt.clone(),
                reason: reason.into(),
            };
            symbol.state = state;
            effects.happened(Some(symbol.id), changed);
        }
    }

    fn notice(&self, symbol: &Symbol) -> Box<HaltNotice> {
        let (_, notice) = self.halts.deciding(symbol.definition.symbol);
        Box::new(notice.expect("a symbol that does not trade is halted by something"))
    }

    fn compare(&self, checkpoint: &Checkpoint) -> Result<(), Diverged> {
        let Some((seq, recorded)) = checkpoint.previous else {
            return Ok(());
        };
        let own = self.last_checkpoint.filter(|(own_seq, _)| *own_seq == seq);
        let computed = own.map(|(_, state_hash)| state_hash);
        if computed == Some(recorded) {
            Ok(())
        } else {
            Err(Diverged {
                seq,
                recorded,
                computed,
            })
        }
    }
}

/// What an order that passed every check must hold.
struct Reservation {
    symbol: SymbolId,
    asset: AssetId,
    units: i64,
}

/// What an order of that size must hold: the most that it can cost.
fn held(symbol: &Symbol, side: Side, price_ticks: i64, quantity_lots: i64) -> (AssetId, i64) {
    match side {
        Side::Buy => (symbol.quote, symbol.quote_units(price_ticks, quantity_lots)),
        Side::Sell => (symbol.base, symbol.base_units(quantity_lots)),
    }
}

/// What an order still holds, given back.
fn release(symbol: &Symbol, order: &Order) -> Movement {
    let (asset, units) = held(symbol, order.side, order.price_ticks, order.leaves_lots());
    Movement {
        account: order.account,
        asset,
        available_change: units,
        hold_change: -units,
    }
}

fn book_delta(symbol: &mut Symbol, side: Side, price_ticks: i64, effects: &mut Effects) {
    symbol.updates += 1;
    let delta = EventBody::BookDelta {
        update_id: symbol.updates,
        side,
        price_ticks,
        quantity_lots: symbol.book.quantity_lots(side, price_ticks),
    };
    effects.happened(Some(symbol.id), delta);
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > REASON_MOST {
        return Err(Refusal::Invalid("reason: must be at most 1024 bytes"));
    }
    Ok(())
}
