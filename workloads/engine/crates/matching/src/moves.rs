//! A symbol from one shard to another. The source freezes it, and the funds behind its orders leave with that; the
//! target takes the record part by part and has the symbol with the last one; the source forgets it, or takes it back.
//!
//! Each shard decides its part of a move once: the target between imported and abandoned, the source between departed
//! and undone. Which of them may be asked for when is for whoever carries the move.

use std::collections::BTreeSet;

use crate::accounts::{EXTERNAL_ACCOUNT, OpenOrder};
use crate::bands::Minutes;
use crate::command::{FreezeSymbol, ImportSymbol, MoveId, Stamp};
use crate::countdowns::CountdownKey;
use crate::event::{Effects, EventBody, Movement, Origin};
use crate::kernel::Kernel;
use crate::listings::Symbol;
use crate::names::{AssetId, ShardName, SymbolId, SymbolName};
use crate::order::{Order, Side};
use crate::order_book::OrderBook;
use crate::planted::{Bug, planted};
use crate::record::{
    CLOSED_IDS_MOST, ORDERS_MOST, REPLIES_MOST, RecordCountdown, RecordReply, RecordTerms,
    Renumbered, SymbolRecord, check_orders,
};
use crate::refusal::{Refusal, Transition};
use crate::symbol_state::SymbolState;

/// Moves that are over and remembered, so that what comes late of them does nothing.
pub(crate) const MOVES_MOST: usize = 1_000;
/// Of a record; more is not one.
const PARTS_MOST: u32 = 1_000;

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

    pub(crate) fn abandon_import(&mut self, move_id: MoveId) -> Result<(), Refusal> {
        match self.move_end(move_id) {
            Some(MoveEnd::Abandoned) => Ok(()),
            Some(_) => Err(Refusal::MoveRefused(
                "move_id: is that of a move that is over",
            )),
            None => {
                if (self.arriving.as_ref()).is_some_and(|arriving| arriving.move_id == move_id) {
                    self.arriving = None;
                }
                self.end_move(move_id, MoveEnd::Abandoned);
                Ok(())
            }
        }
    }

    pub(crate) fn import_symbol(
        &mut self,
        stamp: Stamp,
        import: &ImportSymbol,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        match self.move_end(import.move_id) {
            Some(MoveEnd::Imported) if !planted(Bug::ImportComesTwice) => return Ok(()),
            Some(MoveEnd::Imported) | None => {}
            Some(_) => {
                return Err(Refusal::MoveRefused(
                    "move_id: is that of a move that is over",
                ));
            }
        }
        let mut arriving = self.take_part(import)?;
        if arriving.next_part < arriving.parts {
            self.arriving = Some(arriving);
            return Ok(());
        }
        let record = std::mem::take(&mut arriving.record);
        let id = self.settle_in(stamp, &arriving, &record, effects)?;
        self.end_move(import.move_id, MoveEnd::Imported);
        effects.to_indicate.push(id);
        Ok(())
    }

    /// What is here with this part; of one that came before, without it. What is here is kept where a part is refused.
    fn take_part(&mut self, import: &ImportSymbol) -> Result<Box<Arriving>, Refusal> {
        if !(1..=PARTS_MOST).contains(&import.parts) || import.part >= import.parts {
            return Err(Refusal::Invalid(
                "part: must be below parts, which are 1 to 1000",
            ));
        }
        let whose = (
            import.move_id,
            import.from_shard,
            import.parts,
            import.record_sha256,
        );
        let refused = |what| Err(Refusal::MoveRefused(what));
        match &self.arriving {
            None if import.part != 0 => return refused("part: must be the next one"),
            None => {}
            Some(before) => {
                let of = (
                    before.move_id,
                    before.from_shard,
                    before.parts,
                    before.record_sha256,
                );
                if of != whose {
                    return refused("move_id: another symbol is arriving");
                }
                if import.part > before.next_part {
                    return refused("part: must be the next one");
                }
            }
        }
        if import.record.terms.is_some() != (import.part == 0) {
            return Err(Refusal::Invalid(
                "record: must have terms in the first part alone",
            ));
        }
        let mut arriving = self.arriving.take().unwrap_or_else(|| {
            let (move_id, from_shard, parts, record_sha256) = whose;
            Box::new(Arriving {
                move_id,
                from_shard,
                next_part: 0,
                parts,
                record_sha256,
                record: SymbolRecord::default(),
            })
        });
        if import.part == arriving.next_part {
            arriving.record.append(import.record.clone());
            arriving.next_part += 1;
        }
        Ok(arriving)
    }

    /// All checks first: what is refused has touched nothing but what was arriving, which is gone.
    fn settle_in(
        &mut self,
        stamp: Stamp,
        arriving: &Arriving,
        record: &SymbolRecord,
        effects: &mut Effects,
    ) -> Result<SymbolId, Refusal> {
        let terms = (record.terms.as_ref()).expect("the first part has them");
        let held = self.check_record(arriving, record, terms)?;
        let (move_id, from_shard) = (arriving.move_id, arriving.from_shard);
        let definition = &terms.definition;
        if let Ok(listed) = self.listings.symbol_id(definition.symbol) {
            self.listings.symbol_mut(listed).away = None;
        }
        self.listings
            .define_symbol(definition, self.version)
            .expect("it was checked");
        let id = (self.listings.symbol_id(definition.symbol)).expect("it is listed");
        let symbol = self.listings.symbol_mut(id);
        symbol.state = SymbolState::Trading;
        symbol.set_phase(terms.phase, terms.phase_ends_us);
        symbol.trades = terms.trades;
        symbol.prevented_matches = terms.prevented_matches;
        symbol.updates = terms.updates;
        symbol.last_price_ticks = terms.last_price_ticks;
        symbol.auction_price_ticks = terms.auction_price_ticks;
        symbol.minutes = Minutes::of(terms.minutes.iter().map(Into::into).collect());
        symbol.fee_schedules.clone_from(&terms.fee_schedules);
        let renumbered = Renumbered {
            symbol: id,
            before: OF_A_RECORD,
            now: [symbol.base, symbol.quote],
        };
        let ahead = terms.last_order_id.saturating_sub(stamp.seq);
        self.order_ids_ahead = self.order_ids_ahead.max(ahead);
        let fee_schedule = self.listings.symbol(id).fee_schedule();
        let defined = EventBody::SymbolDefined {
            definition: *definition,
            fee_schedule,
        };
        effects.happened(Some(id), defined);
        let imported = EventBody::SymbolImported {
            move_id,
            from_shard,
            record_sha256: arriving.record_sha256,
            open_orders: record.orders.len() as u64,
            last_update_id: terms.updates,
            last_trade_id: terms.trades,
            last_prevented_match_id: terms.prevented_matches,
            last_order_id: stamp.seq + self.order_ids_ahead,
        };
        effects.happened(Some(id), imported);
        let mut moved = [0; 2];
        for order in in_order(&record.orders) {
            let order = renumbered.order(order);
            let (side, units) = self.move_hold(id, &order, Way::In, effects);
            moved[side] += units;
            effects.happened(Some(id), EventBody::OrderArrived { move_id, order });
            self.listings.symbol_mut(id).book.rest(order);
            let open = OpenOrder {
                symbol: id,
                order_id: order.order_id,
            };
            (self.accounts).opened(order.account, order.client_order_id, open);
            if self.accounts.is_killed(order.account) {
                self.accounts.set_dying(order.account, true);
            }
        }
        assert!(
            moved == held || planted(Bug::HoldsStayBehind),
            "what an order holds was checked"
        );
        self.remember_all(stamp, id, record, &renumbered);
        let reason = format!("moved from shard {from_shard}");
        self.update_state(id, None, &reason, effects);
        let symbol = self.listings.symbol(id);
        let levels: Vec<_> = ([Side::Buy, Side::Sell].into_iter())
            .flat_map(|side| {
                symbol
                    .book
                    .levels(side)
                    .map(move |(price, _)| (side, price))
            })
            .collect();
        let mut market = self.market(id, stamp, effects);
        for (side, price_ticks) in levels {
            market.tell_level(side, price_ticks);
        }
        Ok(id)
    }

    /// What its orders hold of base and quote.
    fn check_record(
        &self,
        arriving: &Arriving,
        record: &SymbolRecord,
        terms: &RecordTerms,
    ) -> Result<[i64; 2], Refusal> {
        let refused = |what| Err(Refusal::MoveRefused(what));
        if record.digest() != arriving.record_sha256 {
            return refused("record: is not the one that was frozen");
        }
        if record.orders.len() > ORDERS_MOST {
            return refused("record: has more orders than can move, 50000");
        }
        let definition = &terms.definition;
        let base = self.listings.asset_id(definition.base_asset)?;
        let quote = self.listings.asset_id(definition.quote_asset)?;
        let scale = |asset: AssetId| self.listings.asset(asset).scale;
        if (scale(base), scale(quote)) != (terms.base_scale, terms.quote_scale) {
            return refused("record: an asset has another scale here");
        }
        if let Ok(listed) = self.listings.symbol_id(definition.symbol)
            && !self.listings.symbol(listed).has_departed()
        {
            return refused("symbol: is here already");
        }
        let units = self.listings.check_definition(definition)?;
        if terms.fee_schedules.last() != Some(&definition.fees()) {
            return refused("record: the last fee schedule is not the definition's");
        }
        if terms.last_order_id >= 1 << 53
            || matches!(terms.phase, SymbolState::CancelOnly | SymbolState::Halt)
        {
            return refused("record: an order id or the phase is none");
        }
        let held = check_orders(terms, &record.orders, units).map_err(Refusal::MoveRefused)?;
        for (asset, units) in [base, quote].into_iter().zip(held) {
            if !self.can_deposit(asset, units) {
                return Err(Refusal::Overflow(
                    "amount: all deposits together would leave the range of a signed 64-bit integer",
                ));
            }
        }
        Ok(held)
    }

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

    fn remember_all(
        &mut self,
        stamp: Stamp,
        id: SymbolId,
        record: &SymbolRecord,
        renumbered: &Renumbered,
    ) {
        let name = self.symbol_name(id);
        if !planted(Bug::IdWindowStaysBehind) {
            for of in &record.closed_ids {
                (self.closed_ids).take_over(of, (id, name), stamp.time_us);
            }
            for of in &record.replies {
                let origin = Origin {
                    shard: of.shard,
                    imported_seq: stamp.seq,
                };
                let mut reply = renumbered.reply(&of.reply, Some(Box::new(origin)));
                reply.command_id = Some(of.command_id);
                (self.recent).take_over(of.command_id, &reply, id, &self.listings, self.version);
            }
        }
        for of in &record.countdowns {
            let symbol = (!of.of_all_symbols).then_some(name);
            let key = CountdownKey {
                account: of.account,
                symbol,
                guard: of.guard,
            };
            if symbol.is_some() || self.countdowns.end_us(&key).is_none() {
                self.countdowns.set(key, Some(of.end_us));
            }
        }
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
}

/// Of a symbol that is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPart {
    /// What its numbers stand for.
    pub definition: crate::listings::SymbolDefinition,
    pub record: SymbolRecord,
    pub parts: usize,
    pub record_sha256: [u8; 32],
}

/// Which way holds go.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// As they come, unless a bug is planted.
fn in_order(orders: &[Order]) -> Vec<&Order> {
    let mut orders: Vec<_> = orders.iter().collect();
    if planted(Bug::QueueIsReversed) {
        orders.reverse();
    }
    orders
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
