//! Bugs to plant on purpose: that the tests find each of them is how we know that they would find another.
//!
//! Without the feature `planted-bugs` none can be planted, and asking for one costs nothing.

use crate::order::Order;
use crate::order_book::OrderBook;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    BuyersFeeIsRoundedUp = 1,
    FeesAreThoseOfTheTradesTime,
    PartialFillLosesItsPlace,
    AmendmentLosesItsPlace,
    RestOfIocStaysHeld,
    PriceImprovementStaysHeld,
    FokCountsOwnOrders,
    DecrementTakesFromTheMakerOnly,
    AmountIgnoresTheCollar,
    BandsFollowEachTrade,
    AuctionTakesTheOtherPrice,
    OlderOrderIsTheTakerOfAnAuction,
    StateHashIgnoresTheQueue,
    StateHashIgnoresClosedClientOrderIds,
    StateHashIgnoresReplies,
    CommandIdsAreForgotten,
    ClientOrderIdsAreForgottenAtTheClose,
    SafetyHasNoHysteresis,
    QueueIsReversed,
    HoldsStayBehind,
    IdWindowStaysBehind,
    ImportComesTwice,
}

impl Bug {
    pub const ALL: [Self; 22] = [
        Self::BuyersFeeIsRoundedUp,
        Self::FeesAreThoseOfTheTradesTime,
        Self::PartialFillLosesItsPlace,
        Self::AmendmentLosesItsPlace,
        Self::RestOfIocStaysHeld,
        Self::PriceImprovementStaysHeld,
        Self::FokCountsOwnOrders,
        Self::DecrementTakesFromTheMakerOnly,
        Self::AmountIgnoresTheCollar,
        Self::BandsFollowEachTrade,
        Self::AuctionTakesTheOtherPrice,
        Self::OlderOrderIsTheTakerOfAnAuction,
        Self::StateHashIgnoresTheQueue,
        Self::StateHashIgnoresClosedClientOrderIds,
        Self::StateHashIgnoresReplies,
        Self::CommandIdsAreForgotten,
        Self::ClientOrderIdsAreForgottenAtTheClose,
        Self::SafetyHasNoHysteresis,
        Self::QueueIsReversed,
        Self::HoldsStayBehind,
        Self::IdWindowStaysBehind,
        Self::ImportComesTwice,
    ];
}

#[cfg(feature = "planted-bugs")]
mod of_this_process {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    /// 0: none.
    static PLANTED: AtomicU8 = AtomicU8::new(0);

    /// In every kernel of this process, instead of the one before. None: as it should be.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::Relaxed);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use of_this_process::plant;
#[cfg(feature = "planted-bugs")]
pub(crate) use of_this_process::planted;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

/// What no order that keeps its place may do: it goes to the end of its level's queue.
pub(crate) fn lose_place(book: &mut OrderBook<Order>, order_id: u64) {
    if let Some(order) = book.remove(order_id) {
        book.rest(order);
    }
}
