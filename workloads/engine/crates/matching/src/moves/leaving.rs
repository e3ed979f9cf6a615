//! The source's part: freezes the symbol, gives its record away, and forgets the symbol or takes it back.

use std::collections::BTreeSet;

use super::{Away, Frozen, MoveEnd, OF_A_RECORD, Way};
use crate::command::{FreezeSymbol, MoveId, Stamp};
use crate::event::{Effects, EventBody};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::names::{AssetId, ShardName, SymbolId};
use crate::order::{Order, Side};
use crate::order_book::OrderBook;
use crate::record::{
    CLOSED_IDS_MOST, ORDERS_MOST, REPLIES_MOST, RecordCountdown, RecordReply, RecordTerms,
    Renumbered, SymbolRecord,
};
use crate::refusal::{Refusal, Transition};
use crate::symbol_state::SymbolState;

/// Of a symbol that is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPart {
    /// What its numbers stand for.
    pub definition: crate::listings::SymbolDefinition,
    pub record: SymbolRecord,
    pub parts: usize,
    pub record_sha256: [u8; 32],
}

impl Symbol {
    fn orders(&self) -> Vec<Order> {
        let sides = [Side::Buy, Side::Sell].map(|side| self.book.orders(side));
        sides.into_iter().flatten().copied().collect()
    }
}

impl Kernel {
    pub(crate) fn freeze_symbol(
        &mut self,
        stamp: Stamp,
        freeze: &FreezeSymbol,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let FreezeSymbol {
            move_id, to_shard, ..
        } = *freeze;
        match self.move_end(move_id) {
            Some(MoveEnd::Departed) => return Ok(()),
            Some(_) => {
                return Err(Refusal::MoveRefused(
                    "move_id: is that of a move that is over",
                ));
            }
            None => {}
        }
        let id = self.listings.symbol_id(freeze.symbol)?;
        let symbol = self.listings.symbol(id);
        if let Some(Away::Frozen(frozen)) = &symbol.away
            && (frozen.move_id, frozen.to_shard) == (move_id, to_shard)
        {
            return Ok(());
        }
        symbol.check_here()?;
        if to_shard.as_str() == self.shard {
            return Err(Refusal::Invalid("to_shard: must be another shard"));
        }
        if symbol.uncrossing_at.is_some() {
            return Err(Refusal::InvalidTransition(Transition::Uncrossing));
        }
        let orders = symbol.orders();
        if orders.len() > ORDERS_MOST {
            return Err(Refusal::MoveRefused(
                "symbol: has more open orders than can move, 50000",
            ));
        }
        if self.frozen_symbol(move_id).is_some() {
            return Err(Refusal::MoveRefused(
                "move_id: is that of another symbol's move",
            ));
        }
        let shard = ShardName::shard(&self.shard).ok_or(Refusal::MoveRefused(
            "shard: has a name that its answers cannot be told under",
        ))?;
        let record = self.record(stamp, id, shard, orders.clone());
        let mut frozen = Frozen {
            move_id,
            to_shard,
            record_sha256: record.digest(),
            record,
            held: [0; 2],
        };
        let told = EventBody::SymbolFrozen {
            move_id,
            to_shard,
            record_sha256: frozen.record_sha256,
            open_orders: orders.len() as u64,
            last_update_id: self.listings.symbol(id).updates,
        };
        effects.happened(Some(id), told);
        for order in &orders {
            let (side, units) = self.move_hold(id, order, Way::Out, effects);
            frozen.held[side] += units;
            let order = *order;
            effects.happened(Some(id), EventBody::OrderDeparted { move_id, order });
        }
        self.listings.symbol_mut(id).away = Some(Away::Frozen(Box::new(frozen)));
        Ok(())
    }

    pub(crate) fn undo_freeze(
        &mut self,
        move_id: MoveId,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        match self.move_end(move_id) {
            Some(MoveEnd::Undone) => return Ok(()),
            Some(_) => {
                return Err(Refusal::MoveRefused(
                    "move_id: is that of a move that is over",
                ));
            }
            None => {}
        }
        // Of a move that never began it makes sure that it never will.
        if let Some(id) = self.frozen_symbol(move_id) {
            let orders = self.listings.symbol(id).orders();
            for order in orders {
                self.move_hold(id, &order, Way::In, effects);
                effects.happened(Some(id), EventBody::OrderReturned { move_id, order });
            }
            self.listings.symbol_mut(id).away = None;
            effects.happened(Some(id), EventBody::SymbolUnfrozen { move_id });
            effects.to_indicate.push(id);
        }
        self.end_move(move_id, MoveEnd::Undone);
        Ok(())
    }

    pub(crate) fn complete_move(
        &mut self,
        move_id: MoveId,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        match self.move_end(move_id) {
            Some(MoveEnd::Departed) => return Ok(()),
            Some(_) => {
                return Err(Refusal::MoveRefused(
                    "move_id: is that of a move that is over",
                ));
            }
            None => {}
        }
        let id = (self.frozen_symbol(move_id)).ok_or(Refusal::MoveRefused(
            "move_id: is of no symbol that is frozen",
        ))?;
        let symbol = self.listings.symbol_mut(id);
        let name = symbol.definition.symbol;
        let Some(Away::Frozen(frozen)) = symbol.away.take() else {
            unreachable!("it was found frozen");
        };
        let to_shard = frozen.to_shard;
        for order in symbol.orders() {
            self.accounts
                .closed(id, order.account, order.client_order_id);
        }
        let symbol = self.listings.symbol_mut(id);
        symbol.book = OrderBook::keyed(self.key);
        symbol.set_phase(SymbolState::Trading, None);
        symbol.state = SymbolState::Trading;
        symbol.away = Some(Away::Departed { move_id, to_shard });
        self.countdowns.forget_symbol(name);
        effects.happened(Some(id), EventBody::SymbolDeparted { move_id, to_shard });
        self.end_move(move_id, MoveEnd::Departed);
        Ok(())
    }

    /// A part of the record of a symbol that is frozen, and how many there are.
    pub fn record_of(&self, move_id: MoveId, part: usize) -> Result<RecordPart, Refusal> {
        let id = (self.frozen_symbol(move_id)).ok_or(Refusal::MoveRefused(
            "move_id: is of no symbol that is frozen",
        ))?;
        let Some(Away::Frozen(frozen)) = &self.listings.symbol(id).away else {
            unreachable!("it was found frozen");
        };
        let record = frozen.record.part(part);
        Ok(RecordPart {
            definition: self.listings.symbol(id).definition,
            record: record.ok_or(Refusal::Invalid("part: must be below the number of parts"))?,
            parts: frozen.record.parts(),
            record_sha256: frozen.record_sha256,
        })
    }

    /// As of the command that freezes it.
    fn record(
        &self,
        stamp: Stamp,
        id: SymbolId,
        shard: ShardName,
        mut orders: Vec<Order>,
    ) -> SymbolRecord {
        let symbol = self.listings.symbol(id);
        let name = symbol.definition.symbol;
        let renumbered = Renumbered {
            symbol: SymbolId::OF_A_RECORD,
            before: [symbol.base, symbol.quote],
            now: OF_A_RECORD,
        };
        let accounts: BTreeSet<u64> = orders.iter().map(|order| order.account).collect();
        orders
            .iter_mut()
            .for_each(|order| order.symbol = SymbolId::OF_A_RECORD);
        let scale = |asset: AssetId| self.listings.asset(asset).scale;
        let terms = RecordTerms {
            definition: symbol.definition,
            base_scale: scale(symbol.base),
            quote_scale: scale(symbol.quote),
            phase: symbol.phase,
            phase_ends_us: symbol.phase_ends_us,
            trades: symbol.trades,
            prevented_matches: symbol.prevented_matches,
            updates: symbol.updates,
            last_price_ticks: symbol.last_price_ticks,
            auction_price_ticks: symbol.auction_price_ticks,
            minutes: symbol.minutes.iter().map(Into::into).collect(),
            fee_schedules: symbol.fee_schedules.clone(),
            last_order_id: stamp.seq + self.order_ids_ahead,
        };
        let countdowns = (self.countdowns.iter()).filter_map(|(key, end_us)| {
            let of_all_symbols = key.symbol.is_none();
            let goes =
                key.symbol == Some(name) || of_all_symbols && accounts.contains(&key.account);
            goes.then_some(RecordCountdown {
                account: key.account,
                of_all_symbols,
                guard: key.guard,
                end_us,
            })
        });
        let replies = self.recent.of_symbol(id, REPLIES_MOST);
        let replies = replies.into_iter().filter_map(|reply| {
            let told_by = reply.origin.as_ref().map_or(shard, |origin| origin.shard);
            let mut of_record = renumbered.reply(reply, None);
            Some(RecordReply {
                command_id: of_record.command_id.take()?,
                shard: told_by,
                reply: of_record,
            })
        });
        SymbolRecord {
            terms: Some(Box::new(terms)),
            orders,
            closed_ids: self
                .closed_ids
                .of_symbol(id, stamp.time_us, CLOSED_IDS_MOST),
            countdowns: countdowns.collect(),
            replies: replies.collect(),
        }
    }
}
