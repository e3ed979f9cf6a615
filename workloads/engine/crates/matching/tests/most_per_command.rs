//! What one command does at most: 32,768 matches, as many trades of an uncross, 10,000 cancels. Too long for transcripts.

#[allow(
    dead_code,
    reason = "commands are written in the language of the transcripts"
)]
mod script;

use openbourse_matching::command::Command;
use openbourse_matching::event::{EventBody, Outcome};
use openbourse_matching::order::OrderStatus;
use openbourse_matching::symbol_state::SymbolState;
use openbourse_matching::{Effects, Kernel, Stamp};
use script::parse;

const MATCHES: usize = 32_768;
const CANCELS: usize = 10_000;

struct Market {
    kernel: Kernel,
    effects: Effects,
}

impl Market {
    fn new() -> Self {
        let mut market = Self {
            kernel: Kernel::new("main"),
            effects: Effects::new(),
        };
        for command in [
            "asset BTC 0",
            "asset USDT 0",
            "symbol BTCUSDT BTC USDT max-quantity=100000",
            "credit 1000 BTC 1000000",
            "credit 1001 USDT 1000000",
            "account 1000 orders=100000",
        ] {
            market.step(command);
        }
        market
    }

    /// Account 1000 offers one lot at 5, so many times.
    fn with_offers(offers: usize) -> Self {
        let mut market = Self::new();
        market.offer(offers);
        market
    }

    fn offer(&mut self, offers: usize) {
        for number in 0..offers {
            self.step(&format!("place 1000 BTCUSDT sell gtc 5 1 s{number}"));
        }
    }

    fn step(&mut self, text: &str) -> Outcome {
        let seq = self.kernel.seq() + 1;
        let command = Command {
            id: Some(u128::from(seq).to_be_bytes()),
            body: parse::command(text),
        };
        let stamp = Stamp {
            seq,
            epoch: 1,
            time_us: seq.cast_signed(),
        };
        (self.kernel.step(stamp, &command, &mut self.effects)).unwrap();
        self.effects.reply.clone().unwrap().outcome
    }

    fn refused(&mut self, text: &str) -> (u32, String) {
        match self.step(text) {
            Outcome::Refused(refusal) => (refusal.reason(), refusal.to_string()),
            other => panic!("{text} is not refused: {other:?}"),
        }
    }

    fn told(&self, which: impl Fn(&EventBody) -> bool) -> usize {
        let events = self.effects.events();
        events.filter(|(event, _)| which(&event.body)).count()
    }

    fn trades(&self) -> usize {
        self.told(|body| matches!(body, EventBody::TradeExecuted(_)))
    }

    fn canceled(&self) -> usize {
        self.told(|body| matches!(body, EventBody::OrderCanceled { .. }))
    }

    fn open(&self) -> usize {
        self.kernel.open_orders(1000, None).unwrap().len()
    }

    fn state(&self) -> SymbolState {
        self.kernel.symbols().next().unwrap().state
    }
}

fn order_status(outcome: &Outcome) -> OrderStatus {
    match outcome {
        Outcome::Order(outcome) => outcome.order.status,
        other => panic!("no order: {other:?}"),
    }
}

#[test]
fn an_order_expires_at_32768_matches_though_it_could_rest() {
    let mut market = Market::with_offers(MATCHES + 1);
    let fok = market.step(&format!("place 1001 BTCUSDT buy fok 5 {} f", MATCHES + 1));
    assert_eq!(
        (order_status(&fok), market.trades()),
        (OrderStatus::Expired, 0)
    );
    let gtc = market.step(&format!("place 1001 BTCUSDT buy gtc 5 {} g", MATCHES + 1));
    assert_eq!(order_status(&gtc), OrderStatus::Expired);
    assert_eq!((market.trades(), market.open()), (MATCHES, 1));
    assert!(market.kernel.open_orders(1001, None).unwrap().is_empty());
}

#[test]
fn a_whole_order_of_32768_matches_is_filled() {
    let mut market = Market::with_offers(MATCHES);
    let fok = market.step(&format!("place 1001 BTCUSDT buy fok 5 {MATCHES} f"));
    assert_eq!(
        (order_status(&fok), market.trades()),
        (OrderStatus::Filled, MATCHES)
    );
}

#[test]
fn an_amount_that_reaches_32768_matches_is_not_used_up() {
    let mut market = Market::with_offers(MATCHES + 1);
    let amount = market.step(&format!(
        "place 1001 BTCUSDT buy amount {} a",
        5 * (MATCHES + 1)
    ));
    assert_eq!(
        (order_status(&amount), market.trades()),
        (OrderStatus::Expired, MATCHES)
    );
    let used_up = Market::with_offers(MATCHES + 1)
        .step(&format!("place 1001 BTCUSDT buy amount {} a", 5 * MATCHES));
    assert_eq!(order_status(&used_up), OrderStatus::Filled);
}

#[test]
fn an_uncross_goes_on_with_ticks_and_takes_nothing_until_it_is_through() {
    let mut market = Market::new();
    market.step("phase BTCUSDT auction 0 open");
    market.offer(MATCHES + 1);
    market.step(&format!("place 1001 BTCUSDT buy gtc 6 {} b", MATCHES + 2));
    market.step("phase BTCUSDT trading 0 go");
    assert_eq!(
        (market.trades(), market.state()),
        (MATCHES, SymbolState::Auction)
    );
    assert_eq!(
        market.told(|body| matches!(body, EventBody::BookDelta { .. })),
        2
    );
    assert_eq!(market.kernel.next_due_us(), Some(i64::MIN));

    let uncrossed = (19, "the auction is being uncrossed".to_owned());
    for text in [
        "place 1001 BTCUSDT buy gtc 4 1 c",
        "amend 1001 BTCUSDT b 32769",
        "cancel 1001 BTCUSDT b",
        "cancel-all 1001 BTCUSDT",
    ] {
        assert_eq!(market.refused(text), uncrossed, "{text}");
    }
    let invalid_transition = (27, uncrossed.1);
    assert_eq!(
        market.refused("phase BTCUSDT trading 0"),
        invalid_transition
    );
    assert_eq!(
        market.refused("phase BTCUSDT auction 9"),
        invalid_transition
    );
    let (canceled, remaining) = (0, 0);
    let none = Outcome::CanceledAll {
        canceled,
        remaining,
    };
    assert_eq!(market.step("cancel-all 1001 *"), none);

    market.step("halt stop cancel-only *");
    market.step("tick");
    assert_eq!((market.trades(), market.kernel.next_due_us()), (0, None));
    market.step("lift stop");
    assert_eq!(
        market.told(|body| matches!(body, EventBody::AuctionIndicated(_))),
        0
    );
    market.step("tick");
    assert_eq!((market.trades(), market.state()), (1, SymbolState::Trading));
    assert_eq!((market.open(), market.kernel.next_due_us()), (0, None));
    market.step("cancel 1001 BTCUSDT b");
    assert_eq!(market.canceled(), 1);
}

#[test]
fn an_operator_cancels_in_an_unfinished_uncross() {
    let mut market = Market::new();
    market.step("phase BTCUSDT auction 0 open");
    market.offer(MATCHES + 1);
    market.step(&format!("place 1001 BTCUSDT buy gtc 6 {} b", MATCHES + 2));
    market.step("phase BTCUSDT trading 0 go");
    market.step("cancel-all * BTCUSDT operator");
    assert_eq!(market.canceled(), 2);
    market.step("tick");
    assert_eq!((market.trades(), market.state()), (0, SymbolState::Trading));
}

#[test]
fn ten_thousand_orders_are_cancelled_at_once_and_the_others_counted() {
    let mut market = Market::with_offers(CANCELS + 1);
    let (canceled, remaining) = (10_000, 1);
    let first = Outcome::CanceledAll {
        canceled,
        remaining,
    };
    assert_eq!(market.step("cancel-all 1000 *"), first);
    assert_eq!((market.canceled(), market.open()), (CANCELS, 1));
}

#[test]
fn a_countdown_and_a_kill_switch_go_on_with_the_next_tick() {
    for command in ["countdown 1000 * 1", "kill 1000 on"] {
        let mut market = Market::with_offers(2 * CANCELS + 1);
        market.step(command);
        let mut canceled = vec![market.canceled()];
        for _ in 0..1_010 {
            // A microsecond for each command: the countdown ends with the thousandth.
            market.step("tick");
            canceled.push(market.canceled());
        }
        canceled.retain(|canceled| *canceled > 0);
        assert_eq!(canceled, [CANCELS, CANCELS, 1], "{command}");
        assert_eq!(market.kernel.next_due_us(), None);
    }
}
