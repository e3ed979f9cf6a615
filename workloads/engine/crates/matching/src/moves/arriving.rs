//! The target's part: takes the record part by part, and has the symbol with the last one, or never.

use super::{Arriving, MoveEnd, OF_A_RECORD, Way};
use crate::accounts::OpenOrder;
use crate::bands::Minutes;
use crate::command::{ImportSymbol, MoveId, Stamp};
use crate::countdowns::CountdownKey;
use crate::event::{Effects, EventBody, Origin};
use crate::kernel::Kernel;
use crate::names::{AssetId, SymbolId};
use crate::order::{Order, Side};
use crate::planted::{Bug, planted};
use crate::record::{ORDERS_MOST, RecordTerms, Renumbered, SymbolRecord, check_orders};
use crate::refusal::Refusal;
use crate::symbol_state::SymbolState;

/// Of a record; more is not one.
const PARTS_MOST: u32 = 1_000;

impl Kernel {
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
}

/// As they come, unless a bug is planted.
fn in_order(orders: &[Order]) -> Vec<&Order> {
    let mut orders: Vec<_> = orders.iter().collect();
    if planted(Bug::QueueIsReversed) {
        orders.reverse();
    }
    orders
}
