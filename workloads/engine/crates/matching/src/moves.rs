//! A symbol from one shard to another. The source freezes it, and the funds behind its orders leave with that; the
//! target takes the record part by part and has the symbol with the last one; the source forgets it, or takes it back.
//!
//! Each shard decides its part of a move once: the target between imported and abandoned, the source between departed
//! and undone. Which of them may be asked for when is for whoever carries the move.

mod arriving;
mod leaving;

use crate::accounts::EXTERNAL_ACCOUNT;
use crate::command::MoveId;
use crate::event::{Effects, Movement};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::names::{AssetId, ShardName, SymbolId, SymbolName};
use crate::order::{Order, Side};
use crate::planted::{Bug, planted};
use crate::record::SymbolRecord;
use crate::refusal::Refusal;

pub use leaving::RecordPart;

/// Moves that are over and remembered, so that what comes late of them does nothing.
pub(crate) const MOVES_MOST: usize = 1_000;
const OF_A_RECORD: [AssetId; 2] = [AssetId::BASE_OF_A_RECORD, AssetId::QUOTE_OF_A_RECORD];

/// Why a symbol that is listed is not to be had.
#[derive(Clone)]
pub(crate) enum Away {
    Frozen(Box<Frozen>),
    Departed {
        move_id: MoveId,
        to_shard: ShardName,
    },
}

#[derive(Clone)]
pub(crate) struct Frozen {
    pub move_id: MoveId,
    pub to_shard: ShardName,
    pub record: SymbolRecord,
    pub record_sha256: [u8; 32],
    /// Of base and quote, in min-units: what left with it.
    pub held: [i64; 2],
}

/// A record that is not here in full.
#[derive(Clone)]
pub(crate) struct Arriving {
    pub move_id: MoveId,
    pub from_shard: ShardName,
    pub next_part: u32,
    pub parts: u32,
    pub record_sha256: [u8; 32],
    pub record: SymbolRecord,
}

/// How a shard's part of a move ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveEnd {
    Departed,
    Undone,
    Imported,
    Abandoned,
}

impl Symbol {
    pub fn has_departed(&self) -> bool {
        matches!(self.away, Some(Away::Departed { .. }))
    }

    /// Neither frozen nor departed.
    pub fn check_here(&self) -> Result<(), Refusal> {
        match &self.away {
            None => Ok(()),
            Some(Away::Frozen(frozen)) => Err(Refusal::SymbolMoving(frozen.to_shard)),
            Some(Away::Departed { to_shard, .. }) => Err(Refusal::SymbolMoved(*to_shard)),
        }
    }
}

impl Kernel {
    /// Also counts what may come back with a symbol that is frozen.
    pub(crate) fn can_deposit(&self, asset: AssetId, amount: i64) -> bool {
        let frozen = self
            .listings
            .symbols()
            .filter_map(|symbol| match &symbol.away {
                Some(Away::Frozen(frozen)) => Some((symbol, frozen.held)),
                _ => None,
            });
        let away: i128 = (frozen)
            .flat_map(|(symbol, held)| [(symbol.base, held[0]), (symbol.quote, held[1])])
            .filter(|(of, _)| *of == asset)
            .map(|(_, units)| i128::from(units))
            .sum();
        let Ok(amount) = i64::try_from(i128::from(amount) + away) else {
            return false;
        };
        self.accounts.can_deposit(asset, amount)
    }

    /// What an order holds, out of the shard or into it: which of base and quote, and how much of it.
    fn move_hold(
        &mut self,
        id: SymbolId,
        order: &Order,
        way: Way,
        effects: &mut Effects,
    ) -> (usize, i64) {
        let symbol = self.listings.symbol(id);
        let (asset, units) = (symbol.asset_held(order.side), symbol.hold_of(order));
        let hold_change = match way {
            Way::Out => -units,
            Way::In if planted(Bug::HoldsStayBehind) => return (0, 0),
            Way::In => units,
        };
        let movement = |account, available_change, hold_change| Movement {
            account,
            asset,
            available_change,
            hold_change,
        };
        for moved in [
            movement(order.account, 0, hold_change),
            movement(EXTERNAL_ACCOUNT, -hold_change, 0),
        ] {
            self.accounts.apply(moved, effects);
        }
        (usize::from(order.side == Side::Buy), units)
    }

    pub(crate) fn frozen_symbol(&self, move_id: MoveId) -> Option<SymbolId> {
        let mut symbols = self.listings.symbols();
        let found = symbols.find(|symbol| match &symbol.away {
            Some(Away::Frozen(frozen)) => frozen.move_id == move_id,
            _ => false,
        });
        found.map(|symbol| symbol.id)
    }

    fn move_end(&self, move_id: MoveId) -> Option<MoveEnd> {
        let ended = self.moves_over.iter().find(|(over, _)| *over == move_id);
        ended.map(|(_, end)| *end)
    }

    fn end_move(&mut self, move_id: MoveId, end: MoveEnd) {
        self.moves_over.push((move_id, end));
        if self.moves_over.len() > MOVES_MOST {
            self.moves_over.remove(0);
        }
    }
}

/// Which way holds go.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// Of which symbol a command is, if of one alone.
pub(crate) fn symbol_of_command(body: &crate::command::Body) -> Option<SymbolName> {
    use crate::command::Body;
    match body {
        Body::PlaceOrder(place) => Some(place.symbol),
        Body::CancelOrder(cancel) => Some(cancel.symbol),
        Body::AmendOrder(amend) => Some(amend.symbol),
        Body::ReplaceOrder(replace) => Some(replace.cancel.symbol),
        Body::CancelAllOrders(cancel) => cancel.symbol,
        Body::SetCountdown(set) => set.symbol,
        Body::ChangeSymbolState(change) => Some(change.symbol),
        _ => None,
    }
}
