//! The commands that change what symbols accept: halts, phases, and the shard's safety level.

use crate::command::{ChangeSymbolState, ImposeHalt, LiftHalt, Reopen, Stamp};
use crate::event::{Effects, EventBody};
use crate::kernel::Kernel;
use crate::names::{HaltName, SymbolId};
use crate::refusal::Refusal;
use crate::safety::{Lag, SafetyConfiguration};
use crate::symbol_state::{Halt, HaltTerms, SymbolState, decide};

/// Bytes of a reason.
pub const REASON_MOST: usize = 1024;
/// Symbols that one halt may name.
const HALT_SYMBOLS_MOST: usize = 1000;
const DURATION_MS_MOST: i64 = 86_400_000;

impl Kernel {
    pub(crate) fn impose_halt(
        &mut self,
        stamp: Stamp,
        impose: &ImposeHalt,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let with_post_only = self.version().knows_the_trading_core();
        let is_allowed = match impose.state {
            SymbolState::Halt | SymbolState::CancelOnly => true,
            SymbolState::PostOnly => with_post_only,
            SymbolState::Trading | SymbolState::Auction => false,
        };
        if !is_allowed {
            return Err(Refusal::Invalid(if with_post_only {
                "state: must be HALT, CANCEL_ONLY or POST_ONLY"
            } else {
                "state: must be HALT or CANCEL_ONLY"
            }));
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
        let before = self.halts.get(&impose.halt);
        if before.is_some_and(|halt| halt.terms == terms) {
            return Ok(());
        }
        let halt = Halt {
            terms,
            seq: stamp.seq,
            epoch: stamp.epoch,
        };
        self.halts.impose(impose.halt.clone(), halt);
        self.update_states(Some(&impose.halt), &impose.reason, effects);
        Ok(())
    }

    pub(crate) fn lift_halt(
        &mut self,
        stamp: Stamp,
        lift: &LiftHalt,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        check_reason(&lift.reason)?;
        if let Some(reopen) = lift.reopen {
            check_reopen(reopen)?;
        }
        let lifted = self.halts.lift(&lift.halt)?;
        if let Some(reopen) = lift.reopen {
            self.reopen(stamp, &lifted, reopen);
        }
        self.update_states(Some(&lift.halt), &lift.reason, effects);
        Ok(())
    }

    /// Sets the phase of each symbol that the halt named and that nothing holds back any more.
    fn reopen(&mut self, stamp: Stamp, lifted: &Halt, reopen: Reopen) {
        let ends_us = Some(stamp.time_us + reopen.duration_ms * 1000);
        for id in self.listings.symbol_ids() {
            let symbol = self.listings.symbol(id);
            let (state, _) = decide(symbol, &self.halts, self.safety.level);
            let held_back = matches!(state, SymbolState::CancelOnly | SymbolState::Halt);
            if held_back || symbol.away.is_some() || !lifted.terms.names(symbol.definition.symbol) {
                continue;
            }
            let phase = match symbol.phase {
                SymbolState::Auction => SymbolState::Auction,
                _ => reopen.phase,
            };
            self.listings.symbol_mut(id).set_phase(phase, ends_us);
        }
    }

    pub(crate) fn change_symbol_state(
        &mut self,
        stamp: Stamp,
        change: &ChangeSymbolState,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if matches!(change.phase, SymbolState::CancelOnly | SymbolState::Halt) {
            return Err(Refusal::Invalid(
                "state: must be TRADING, POST_ONLY or AUCTION",
            ));
        }
        check_reason(&change.reason)?;
        if !(0..=DURATION_MS_MOST).contains(&change.duration_ms) {
            return Err(Refusal::Invalid("duration_ms: must be 0 to 86400000"));
        }
        if change.phase == SymbolState::Trading && change.duration_ms != 0 {
            return Err(Refusal::Invalid("duration_ms: must be 0 for TRADING"));
        }
        let id = self.listings.symbol_id(change.symbol)?;
        let symbol = self.listings.symbol_mut(id);
        symbol.check_here()?;
        symbol.check_phase(change.phase)?;
        if change.phase == SymbolState::Trading {
            self.end_phase(id, stamp, &change.reason, effects);
            return Ok(());
        }
        let ends_us = (change.duration_ms > 0).then_some(stamp.time_us + change.duration_ms * 1000);
        symbol.set_phase(change.phase, ends_us);
        self.update_state(id, None, &change.reason, effects);
        effects.to_indicate.push(id);
        Ok(())
    }

    /// Of POST_ONLY, or of an auction, which is uncrossed.
    pub(crate) fn end_phase(
        &mut self,
        symbol: SymbolId,
        stamp: Stamp,
        reason: &str,
        effects: &mut Effects,
    ) {
        match self.listings.symbol(symbol).phase {
            SymbolState::Auction => self.uncross(symbol, stamp, reason, effects),
            _ => {
                let of = self.listings.symbol_mut(symbol);
                of.set_phase(SymbolState::Trading, None);
                self.update_state(symbol, None, reason, effects);
            }
        }
    }

    /// A trade would have left the volatility bands.
    pub(crate) fn interrupt(&mut self, symbol: SymbolId, stamp: Stamp, effects: &mut Effects) {
        let of = self.listings.symbol_mut(symbol);
        let ends_us = stamp.time_us + of.definition.volatility_auction_ms * 1000;
        of.set_phase(SymbolState::Auction, Some(ends_us));
        self.update_state(symbol, None, "volatility interruption", effects);
        effects.to_indicate.push(symbol);
    }

    pub(crate) fn configure_safety(
        &mut self,
        configuration: SafetyConfiguration,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.safety.configure(configuration)?;
        self.update_safety(effects);
        Ok(())
    }

    pub(crate) fn report_lag(&mut self, lag: Lag, effects: &mut Effects) {
        self.safety.lag = lag;
        self.update_safety(effects);
    }

    fn update_safety(&mut self, effects: &mut Effects) {
        let Some(previous_level) = self.safety.update() else {
            return;
        };
        let level = self.safety.level;
        let Lag {
            settlement_lag_ms,
            unpublished_commands,
        } = self.safety.lag;
        let changed = EventBody::SafetyLevelChanged {
            level,
            previous_level,
            reason: format!(
                "settlement lag is {settlement_lag_ms} ms, {unpublished_commands} commands are unpublished"
            ),
        };
        effects.happened(None, changed);
        let reason = format!("the shard's safety level is {level}");
        self.update_states(None, &reason, effects);
    }

    /// After a change of what may hold every symbol back, by symbol name.
    fn update_states(&mut self, halt: Option<&HaltName>, reason: &str, effects: &mut Effects) {
        for symbol in self.listings.symbol_ids() {
            self.update_state(symbol, halt, reason, effects);
            self.indicate(symbol, effects);
        }
    }

    pub(crate) fn update_state(
        &mut self,
        symbol: SymbolId,
        halt: Option<&HaltName>,
        reason: &str,
        effects: &mut Effects,
    ) {
        let (state, _) = decide(self.listings.symbol(symbol), &self.halts, self.safety.level);
        let symbol = self.listings.symbol_mut(symbol);
        let previous_state = symbol.state;
        if state == previous_state || symbol.has_departed() {
            return;
        }
        assert!(
            previous_state.may_become(state),
            "there is no transition from {previous_state} to {state}"
        );
        symbol.state = state;
        let changed = EventBody::SymbolStateChanged {
            state,
            previous_state,
            halt: halt.cloned(),
            reason: reason.into(),
        };
        effects.happened(Some(symbol.id), changed);
    }
}

fn check_reopen(reopen: Reopen) -> Result<(), Refusal> {
    if !matches!(reopen.phase, SymbolState::PostOnly | SymbolState::Auction) {
        return Err(Refusal::Invalid(
            "reopen: must be TRADING, POST_ONLY or AUCTION, or not given",
        ));
    }
    if !(1..=DURATION_MS_MOST).contains(&reopen.duration_ms) {
        return Err(Refusal::Invalid("reopen_ms: must be 1 to 86400000"));
    }
    Ok(())
}

pub(crate) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.len() > REASON_MOST {
        return Err(Refusal::Invalid("reason: must be at most 1024 bytes"));
    }
    Ok(())
}
