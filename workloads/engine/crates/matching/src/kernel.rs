//! One shard's state, moved on by one command at a time. Each command is decided first and carried out afterwards: what
//! is refused has touched nothing.

use crate::accounts::Accounts;
use crate::closed_orders::ClosedOrders;
use crate::command::{Body, Checkpoint, Command, CommandId, DefineAsset, MoveId, Stamp};
use crate::countdowns::Countdowns;
use crate::event::{Effects, EventBody, Outcome, Reply};
use crate::ids::{ClosedClientIds, RecentCommands};
use crate::listings::{Defined, Listings, SymbolDefinition};
use crate::matching::Market;
use crate::moves::{Arriving, MoveEnd, symbol_of_command};
use crate::names::SymbolId;
use crate::planted::{Bug, planted};
use crate::refusal::Refusal;
use crate::safety::{Lag, Safety, SafetyConfiguration, SafetyLevel};
use crate::symbol_state::{Decider, Halts, decide};
use crate::version::Version;

#[derive(Clone)]
pub struct Kernel {
    pub(crate) shard: String,
    pub(crate) version: Version,
    pub(crate) seq: u64,
    pub(crate) listings: Listings,
    pub(crate) accounts: Accounts,
    pub(crate) halts: Halts,
    pub(crate) safety: Safety,
    pub(crate) countdowns: Countdowns,
    pub(crate) recent: RecentCommands,
    pub(crate) closed: ClosedOrders,
    pub(crate) closed_ids: ClosedClientIds,
    pub(crate) last_checkpoint: Option<(u64, [u8; 32])>,
    /// Of the books.
    pub(crate) key: u64,
    /// How much higher an order's id is than the seq of its command: ids that came from another shard are lower.
    pub(crate) order_ids_ahead: u64,
    pub(crate) arriving: Option<Box<Arriving>>,
    /// The latest, in the order of their ends.
    pub(crate) moves_over: Vec<(MoveId, MoveEnd)>,
}

/// How far back a shard remembers. Part of its state: the same log gives the same state only with the same windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Command ids with their replies.
    pub commands: usize,
    pub closed_orders: usize,
    pub closed_client_order_ids: usize,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            commands: 100_000,
            closed_orders: 100_000,
            closed_client_order_ids: 2_000_000,
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
    /// Of the latest version.
    pub fn new(shard: &str) -> Self {
        Self::at_version(Version::LATEST, shard, Windows::default())
    }

    /// A log begins with version 1.
    pub fn at_version(version: Version, shard: &str, windows: Windows) -> Self {
        Self::keyed(version, shard, windows, 0)
    }

    /// With a key that is a secret nobody can choose ids or prices for which the kernel is slow. It changes no result, and
    /// need not be the same in another process.
    pub fn keyed(version: Version, shard: &str, windows: Windows, key: u64) -> Self {
        Self {
            shard: shard.into(),
            version,
            seq: 0,
            listings: Listings::keyed(key),
            accounts: Accounts::keyed(key),
            halts: Halts::default(),
            safety: Safety::default(),
            countdowns: Countdowns::default(),
            recent: RecentCommands::new(windows.commands, key),
            closed: ClosedOrders::new(windows.closed_orders, key),
            closed_ids: ClosedClientIds::new(windows.closed_client_order_ids, key),
            last_checkpoint: None,
            key,
            order_ids_ahead: 0,
            arriving: None,
            moves_over: Vec::new(),
        }
    }

    pub fn shard(&self) -> &str {
        &self.shard
    }

    /// In force for the next command.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The last command's; 0 before the first.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn safety_configuration(&self) -> &SafetyConfiguration {
        &self.safety.configuration
    }

    pub fn safety_level(&self) -> SafetyLevel {
        self.safety.level
    }

    /// The safety level that ReportLag would bring: whoever measures reports only what changes it.
    pub fn safety_level_at(&self, lag: Lag) -> SafetyLevel {
        self.safety.level_at(lag)
    }

    /// What a command with this id would be answered by, if it was carried out not too long ago.
    pub fn first_reply(&self, id: &CommandId) -> Option<&Reply> {
        self.recent.reply(id)
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
                    origin: None,
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
        self.foresee(&id, body);
        if let Some(first) = self.recent.reply(&id)
            && !planted(Bug::CommandIdsAreForgotten)
        {
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
        self.indicate_all(effects);
        let reply = effects.reply.insert(Reply {
            command_id: Some(id),
            stamp,
            outcome,
            origin: None,
        });
        if matches!(&reply.outcome, Outcome::Refused(refusal) if refusal.is_not_remembered()) {
            return Ok(());
        }
        let invalid = matches!(&reply.outcome, Outcome::Refused(Refusal::Invalid(_)));
        let symbol = symbol_of_command(body).filter(|_| !invalid);
        let symbol = symbol.and_then(|symbol| self.listings.symbol_id(symbol).ok());
        (self.recent).remember(id, reply, symbol, &self.listings, self.version);
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
        if !self.version.knows_the_trading_core() && body.is_of_the_trading_core() {
            return Err(Refusal::Invalid(
                "body: must be a command that this version knows",
            ));
        }
        if !self.version.moves_symbols() && body.is_of_moves() {
            return Err(Refusal::Invalid(
                "body: must be a command that this version knows",
            ));
        }
        match body {
            Body::PlaceOrder(place) => {
                (self.place_order(stamp, place, effects)).map(Outcome::Order)
            }
            Body::CancelOrder(cancel) => self.cancel_order(stamp, cancel, effects),
            Body::AmendOrder(amend) => self.amend_order(stamp, amend, effects),
            Body::ReplaceOrder(replace) => self.replace_order(stamp, replace, effects),
            Body::CancelAllOrders(cancel) => self.cancel_all_orders(stamp, cancel, effects),
            Body::SetCountdown(set) => self.set_countdown(stamp, set).map(done),
            Body::CreditFunds(credit) => self.credit_funds(credit, effects).map(done),
            Body::DebitFunds(debit) => self.debit_funds(debit, effects).map(done),
            Body::DefineAsset(asset) => self.define_asset(asset, effects).map(done),
            Body::DefineSymbol(definition) => self.define_symbol(definition, effects).map(done),
            Body::ImposeHalt(impose) => self.impose_halt(stamp, impose, effects).map(done),
            Body::LiftHalt(lift) => self.lift_halt(stamp, lift, effects).map(done),
            Body::ChangeSymbolState(change) => {
                (self.change_symbol_state(stamp, change, effects)).map(done)
            }
            Body::ConfigureAccount(of) => self.configure_account(of, effects).map(done),
            Body::SetKillSwitch(set) => self.set_kill_switch(stamp, set, effects).map(done),
            Body::ConfigureSafety(of) => self.configure_safety(*of, effects).map(done),
            Body::ReportLag(lag) => {
                self.report_lag(*lag, effects);
                Ok(Outcome::Done)
            }
            Body::Checkpoint(_) => Ok(Outcome::Done),
            Body::Tick => {
                self.tick(stamp, effects);
                Ok(Outcome::Done)
            }
            Body::ChangeVersion(number) => self.change_version(*number, effects).map(done),
            Body::FreezeSymbol(freeze) => self.freeze_symbol(stamp, freeze, effects).map(done),
            Body::ImportSymbol(import) => self.import_symbol(stamp, import, effects).map(done),
            Body::CompleteMove(move_id) => self.complete_move(*move_id, effects).map(done),
            Body::UndoFreeze(move_id) => self.undo_freeze(*move_id, effects).map(done),
            Body::AbandonImport(move_id) => self.abandon_import(*move_id).map(done),
            Body::Invalid(what) => Err(Refusal::Invalid(what)),
        }
    }

    /// One symbol's book and all that a match touches beside it.
    pub(crate) fn market<'a>(
        &'a mut self,
        symbol: SymbolId,
        stamp: Stamp,
        effects: &'a mut Effects,
    ) -> Market<'a> {
        Market {
            symbol: self.listings.symbol_mut(symbol),
            accounts: &mut self.accounts,
            closed: &mut self.closed,
            closed_ids: &mut self.closed_ids,
            effects,
            version: self.version,
            time_us: stamp.time_us,
            touched: Vec::new(),
            fills: Vec::new(),
        }
    }

    /// Of what the command touched, by symbol name.
    fn indicate_all(&mut self, effects: &mut Effects) {
        let mut symbols = std::mem::take(&mut effects.to_indicate);
        symbols.sort_unstable_by_key(|symbol| self.symbol_name(*symbol));
        symbols.dedup();
        for symbol in &symbols {
            self.indicate(*symbol, effects);
        }
        symbols.clear();
        effects.to_indicate = symbols;
    }

    fn define_asset(&mut self, asset: &DefineAsset, effects: &mut Effects) -> Result<(), Refusal> {
        if self.listings.define_asset(*asset)? != Defined::AsBefore {
            let defined = EventBody::AssetDefined {
                asset: asset.asset,
                scale: asset.scale,
            };
            effects.happened(None, defined);
        }
        Ok(())
    }

    fn define_symbol(
        &mut self,
        definition: &SymbolDefinition,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let defined = self.listings.define_symbol(definition, self.version)?;
        if defined == Defined::AsBefore {
            return Ok(());
        }
        let id = self.listings.symbol_id(definition.symbol)?;
        let symbol = self.listings.symbol(id);
        let event = EventBody::SymbolDefined {
            definition: *definition,
            fee_schedule: symbol.fee_schedule(),
        };
        effects.happened(Some(id), event);
        // A new symbol begins as TRADING, and what keeps the shard's symbols back takes hold of it at once.
        match decide(symbol, &self.halts, self.safety.level) {
            (_, Some(Decider::Halt { halt, reason })) => {
                self.update_state(id, Some(&halt), &reason, effects);
            }
            (_, Some(decider)) => self.update_state(id, None, &decider.to_string(), effects),
            (_, None) => {}
        }
        effects.to_indicate.push(id);
        Ok(())
    }

    fn change_version(&mut self, number: u32, effects: &mut Effects) -> Result<(), Refusal> {
        let version = Version::of_number(number)
            .filter(|version| *version >= self.version && *version > Version::One)
            .ok_or(Refusal::UnknownVersion(number))?;
        if version == self.version {
            return Ok(());
        }
        let previous_version = std::mem::replace(&mut self.version, version);
        if !previous_version.keeps_fee_schedules() {
            self.listings.begin_fee_schedules();
        }
        let changed = EventBody::VersionChanged {
            version,
            previous_version,
        };
        effects.happened(None, changed);
        Ok(())
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

fn done((): ()) -> Outcome {
    Outcome::Done
}

impl Body {
    fn is_of_the_trading_core(&self) -> bool {
        match self {
            Self::PlaceOrder(_)
            | Self::CancelOrder(_)
            | Self::CreditFunds(_)
            | Self::DefineAsset(_)
            | Self::DefineSymbol(_)
            | Self::ImposeHalt(_)
            | Self::LiftHalt(_)
            | Self::Checkpoint(_)
            | Self::ChangeVersion(_)
            | Self::Invalid(_) => false,
            Self::AmendOrder(_)
            | Self::ReplaceOrder(_)
            | Self::CancelAllOrders(_)
            | Self::SetCountdown(_)
            | Self::DebitFunds(_)
            | Self::ChangeSymbolState(_)
            | Self::ConfigureAccount(_)
            | Self::SetKillSwitch(_)
            | Self::ConfigureSafety(_)
            | Self::ReportLag(_)
            | Self::Tick => true,
            // By their own question.
            Self::FreezeSymbol(_)
            | Self::ImportSymbol(_)
            | Self::CompleteMove(_)
            | Self::UndoFreeze(_)
            | Self::AbandonImport(_) => true,
        }
    }

    fn is_of_moves(&self) -> bool {
        matches!(
            self,
            Self::FreezeSymbol(_)
                | Self::ImportSymbol(_)
                | Self::CompleteMove(_)
                | Self::UndoFreeze(_)
                | Self::AbandonImport(_)
        )
    }
}
