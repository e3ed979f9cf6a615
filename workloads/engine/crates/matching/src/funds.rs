//! Funds that come into the shard and leave it, as the ledger has recorded them.

use crate::accounts::EXTERNAL_ACCOUNT;
use crate::command::Transfer;
use crate::event::{Effects, EventBody, Movement};
use crate::kernel::Kernel;
use crate::names::AssetId;
use crate::refusal::Refusal;

impl Kernel {
    pub(crate) fn credit_funds(
        &mut self,
        credit: &Transfer,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let asset = self.check_transfer(credit)?;
        if !self.can_deposit(asset, credit.amount) {
            return Err(Refusal::Overflow(
                "amount: all deposits together would leave the range of a signed 64-bit integer",
            ));
        }
        let account = credit.account.account();
        self.move_available(
            effects,
            asset,
            [(EXTERNAL_ACCOUNT, -credit.amount), (account, credit.amount)],
        );
        effects.happened(None, EventBody::FundsCredited(credit.clone()));
        Ok(())
    }

    pub(crate) fn debit_funds(
        &mut self,
        debit: &Transfer,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let asset = self.check_transfer(debit)?;
        let account = debit.account.account();
        let available = self.accounts.balance(account, asset).available;
        if available < debit.amount {
            let refusal = Refusal::InsufficientFunds {
                asset: debit.asset,
                needed: i128::from(debit.amount),
                available,
            };
            let rejected = EventBody::FundsDebitRejected {
                transfer: debit.clone(),
                refusal: refusal.clone(),
            };
            effects.happened(None, rejected);
            return Err(refusal);
        }
        self.move_available(
            effects,
            asset,
            [(account, -debit.amount), (EXTERNAL_ACCOUNT, debit.amount)],
        );
        effects.happened(None, EventBody::FundsDebited(debit.clone()));
        Ok(())
    }

    fn check_transfer(&self, transfer: &Transfer) -> Result<AssetId, Refusal> {
        if transfer.amount < 1 {
            return Err(Refusal::Invalid("amount: must be at least 1"));
        }
        self.listings.asset_id(transfer.asset)
    }

    fn move_available(&mut self, effects: &mut Effects, asset: AssetId, changes: [(u64, i64); 2]) {
        for (account, available_change) in changes {
            let movement = Movement {
                account,
                asset,
                available_change,
                hold_change: 0,
            };
            self.accounts.apply(movement, effects);
        }
    }
}
