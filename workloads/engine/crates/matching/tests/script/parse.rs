//! Commands of the transcripts. Words in capitals are values, those in brackets may be left out.
//!
//! | command | is |
//! |---|---|
//! | `asset NAME SCALE` | DefineAsset |
//! | `symbol NAME BASE QUOTE [OPTION...]` | DefineSymbol; the options are in `definitions`, each with its default |
//! | `credit ACCOUNT ASSET AMOUNT`, `debit ...` | CreditFunds, DebitFunds |
//! | `place ACCOUNT SYMBOL SIDE TERMS ID [stp=MODE]` | PlaceOrder; TERMS are `gtc PRICE LOTS`, so `ioc`, `fok` and `maker`, `market LOTS` or `amount UNITS` |
//! | `cancel ACCOUNT SYMBOL ID [only=new]` | CancelOrder; ID is `#7` or a client order id |
//! | `amend ACCOUNT SYMBOL ID LOTS [id=NEW]` | AmendOrder |
//! | `replace MODE ACCOUNT SYMBOL ID [only=new] with SIDE TERMS ID [stp=MODE]` | ReplaceOrder; MODE is `stop` or `allow` |
//! | `cancel-all ACCOUNT SYMBOL [REASON]` | CancelAllOrders; `*` are all |
//! | `countdown ACCOUNT SYMBOL MS` | SetCountdown; `*` are all |
//! | `guard ACCOUNT SYMBOL MS` | the same, of the connections that guard the account |
//! | `freeze MOVE SYMBOL SHARD`, `complete MOVE`, `undo MOVE`, `abandon MOVE` | FreezeSymbol, CompleteMove, UndoFreeze, AbandonImport; MOVE is a number |
//! | `halt NAME STATE SYMBOL,... [REASON]` | ImposeHalt; `*` are all |
//! | `lift NAME [reopen=STATE:MS] [REASON]` | LiftHalt |
//! | `phase SYMBOL STATE MS [REASON]` | ChangeSymbolState |
//! | `account ACCOUNT [group=N] [orders=N] [notional=ASSET:N,...] [rate=N/MS] [reuse]` | ConfigureAccount |
//! | `kill ACCOUNT on\|off [REASON]` | SetKillSwitch |
//! | `safety [lag=N/N/N] [unpublished=N/N/N] [orders=N]` | ConfigureSafety: from where on it throttles, cancels only, halts |
//! | `lag MS COMMANDS` | ReportLag |
//! | `tick`, `checkpoint`, `version N` | Tick, Checkpoint, ChangeVersion |

use openbourse_matching::command::{
    AmendOrder, Body, CancelAllOrders, CancelOrder, CancelReason, CancelRestriction,
    ChangeSymbolState, Checkpoint, DefineAsset, FreezeSymbol, ImposeHalt, LiftHalt, MoveId,
    PlaceOrder, Reopen, ReplaceOrder, SetCountdown, SetKillSwitch, Target, Terms, Transfer,
};
use openbourse_matching::names::{
    AssetName, ClientOrderId, HaltName, ShardName, SymbolName, Trader, TransferId,
};
use openbourse_matching::order::{SelfTradePrevention, Side, TimeInForce};
use openbourse_matching::safety::{Lag, SafetyConfiguration, SafetyLimits};
use openbourse_matching::symbol_state::SymbolState;

use super::definitions::{configuration, definition};

pub fn command(text: &str) -> Body {
    let words: Vec<_> = text.split(' ').collect();
    match words[0] {
        "asset" | "symbol" | "credit" | "debit" | "version" | "tick" | "checkpoint" => {
            listing_or_funds(&words)
        }
        "place" | "cancel" | "amend" | "replace" | "cancel-all" | "countdown" | "guard" => {
            trading(&words)
        }
        "freeze" | "complete" | "undo" | "abandon" => moving(&words),
        _ => operation(&words),
    }
}

fn listing_or_funds(words: &[&str]) -> Body {
    match *words {
        ["asset", name, scale] => Body::DefineAsset(DefineAsset {
            asset: asset(name),
            scale: number(scale),
        }),
        ["symbol", name, base, quote, ref options @ ..] => {
            Body::DefineSymbol(definition(name, base, quote, options))
        }
        ["credit", account, name, amount] => Body::CreditFunds(transfer(account, name, amount)),
        ["debit", account, name, amount] => Body::DebitFunds(transfer(account, name, amount)),
        ["version", version] => Body::ChangeVersion(number(version)),
        ["tick"] => Body::Tick,
        ["checkpoint"] => Body::Checkpoint(Checkpoint { previous: None }),
        _ => panic!("no such command: {words:?}"),
    }
}

fn trading(words: &[&str]) -> Body {
    match *words {
        ["place", account, name, ref order @ ..] => Body::PlaceOrder(place(account, name, order)),
        ["cancel", account, name, id, ref options @ ..] => {
            Body::CancelOrder(cancel(account, name, id, options))
        }
        ["amend", account, name, id, lots, ref options @ ..] => Body::AmendOrder(AmendOrder {
            account: trader(account),
            symbol: symbol(name),
            target: target(id),
            quantity_lots: number(lots),
            new_client_order_id: option(options, "id").map(client_order_id),
        }),
        ["replace", mode, account, name, id, ref rest @ ..] => {
            let with = rest.iter().position(|word| *word == "with").unwrap();
            Body::ReplaceOrder(ReplaceOrder {
                cancel: cancel(account, name, id, &rest[..with]),
                place: place(account, name, &rest[with + 1..]),
                allow_failure: one_of(mode, &[("stop", false), ("allow", true)]),
            })
        }
        ["cancel-all", account, name, ref reason @ ..] => Body::CancelAllOrders(CancelAllOrders {
            account: (account != "*").then(|| trader(account)),
            symbol: (name != "*").then(|| symbol(name)),
            reason: one_of(
                reason.first().unwrap_or(&"request"),
                &[
                    ("request", CancelReason::Request),
                    ("disconnect", CancelReason::Disconnect),
                    ("operator", CancelReason::Operator),
                ],
            ),
        }),
        ["countdown", account, name, countdown_ms] => Body::SetCountdown(SetCountdown {
            account: trader(account),
            symbol: (name != "*").then(|| symbol(name)),
            countdown_ms: number(countdown_ms),
            guard: false,
        }),
        ["guard", account, name, countdown_ms] => Body::SetCountdown(SetCountdown {
            account: trader(account),
            symbol: (name != "*").then(|| symbol(name)),
            countdown_ms: number(countdown_ms),
            guard: true,
        }),
        _ => panic!("no such command: {words:?}"),
    }
}

fn moving(words: &[&str]) -> Body {
    match *words {
        ["freeze", of, name, shard] => Body::FreezeSymbol(FreezeSymbol {
            move_id: move_id(of),
            symbol: symbol(name),
            to_shard: ShardName::shard(shard).unwrap(),
        }),
        ["complete", of] => Body::CompleteMove(move_id(of)),
        ["undo", of] => Body::UndoFreeze(move_id(of)),
        ["abandon", of] => Body::AbandonImport(move_id(of)),
        _ => panic!("no such command: {words:?}"),
    }
}

pub fn move_id(number: &str) -> MoveId {
    number.parse::<u128>().unwrap().to_be_bytes()
}

fn operation(words: &[&str]) -> Body {
    match *words {
        ["halt", name, named, symbols, ref reason @ ..] => Body::ImposeHalt(ImposeHalt {
            halt: HaltName::new(name).unwrap(),
            symbols: match symbols {
                "*" => Vec::new(),
                names => names.split(',').map(symbol).collect(),
            },
            state: state(named),
            reason: reason.join(" "),
        }),
        ["lift", name, ref rest @ ..] => {
            let reopen = option(rest, "reopen");
            Body::LiftHalt(LiftHalt {
                halt: HaltName::new(name).unwrap(),
                reason: rest[usize::from(reopen.is_some())..].join(" "),
                reopen: reopen.map(|reopen| {
                    let (phase, duration_ms) = reopen.split_once(':').unwrap();
                    Reopen {
                        phase: state(phase),
                        duration_ms: number(duration_ms),
                    }
                }),
            })
        }
        ["phase", name, phase, duration_ms, ref reason @ ..] => {
            Body::ChangeSymbolState(ChangeSymbolState {
                symbol: symbol(name),
                phase: state(phase),
                reason: reason.join(" "),
                duration_ms: number(duration_ms),
            })
        }
        ["account", account, ref options @ ..] => {
            Body::ConfigureAccount(configuration(account, options))
        }
        ["kill", account, on, ref reason @ ..] => Body::SetKillSwitch(SetKillSwitch {
            account: trader(account),
            on: one_of(on, &[("on", true), ("off", false)]),
            reason: reason.join(" "),
        }),
        ["safety", ref options @ ..] => Body::ConfigureSafety(SafetyConfiguration {
            settlement_lag_ms: safety_limits(option(options, "lag")),
            unpublished_commands: safety_limits(option(options, "unpublished")),
            throttled_orders_per_second: option(options, "orders").map_or(0, number),
        }),
        ["lag", settlement_lag_ms, unpublished_commands] => Body::ReportLag(Lag {
            settlement_lag_ms: number(settlement_lag_ms),
            unpublished_commands: number(unpublished_commands),
        }),
        _ => panic!("no such command: {words:?}"),
    }
}

fn place(account: &str, name: &str, order: &[&str]) -> PlaceOrder {
    let [side, ref terms_and_id @ ..] = *order else {
        panic!("no side: {order:?}");
    };
    let (terms, id, options) = match *terms_and_id {
        ["market", lots, id, ref options @ ..] => {
            let quantity_lots = number(lots);
            (Terms::MarketByLots { quantity_lots }, id, options)
        }
        ["amount", units, id, ref options @ ..] => {
            let quote_units = number(units);
            (Terms::MarketByAmount { quote_units }, id, options)
        }
        [kind, price, lots, id, ref options @ ..] => {
            (limited(kind, number(price), number(lots)), id, options)
        }
        _ => panic!("no such order: {order:?}"),
    };
    PlaceOrder {
        account: trader(account),
        symbol: symbol(name),
        side: one_of(side, &[("buy", Side::Buy), ("sell", Side::Sell)]),
        terms,
        client_order_id: client_order_id(id),
        self_trade_prevention: option(options, "stp").map(prevention),
    }
}

fn limited(kind: &str, price_ticks: i64, quantity_lots: i64) -> Terms {
    if kind == "maker" {
        return Terms::LimitMaker {
            price_ticks,
            quantity_lots,
        };
    }
    Terms::Limit {
        price_ticks,
        quantity_lots,
        time_in_force: one_of(
            kind,
            &[
                ("gtc", TimeInForce::GoodTillCancelled),
                ("ioc", TimeInForce::ImmediateOrCancel),
                ("fok", TimeInForce::FillOrKill),
            ],
        ),
    }
}

fn cancel(account: &str, name: &str, id: &str, options: &[&str]) -> CancelOrder {
    CancelOrder {
        account: trader(account),
        symbol: symbol(name),
        target: target(id),
        restriction: one_of(
            option(options, "only").unwrap_or("any"),
            &[
                ("any", CancelRestriction::Any),
                ("new", CancelRestriction::OnlyNew),
                ("partially-filled", CancelRestriction::OnlyPartiallyFilled),
            ],
        ),
    }
}

fn transfer(account: &str, name: &str, amount: &str) -> Transfer {
    Transfer {
        transfer_id: TransferId::transfer_id("t").unwrap(),
        account: trader(account),
        asset: asset(name),
        amount: number(amount),
    }
}

fn safety_limits(limits: Option<&str>) -> SafetyLimits {
    let limits: Vec<u64> = limits.map_or_else(
        || vec![0; 3],
        |limits| limits.split('/').map(number).collect(),
    );
    SafetyLimits {
        throttle: limits[0],
        cancel_only: limits[1],
        halt: limits[2],
    }
}

pub(super) fn prevention(mode: &str) -> SelfTradePrevention {
    one_of(
        mode,
        &[
            ("none", SelfTradePrevention::None),
            ("expire-taker", SelfTradePrevention::ExpireTaker),
            ("expire-maker", SelfTradePrevention::ExpireMaker),
            ("expire-both", SelfTradePrevention::ExpireBoth),
            ("decrement", SelfTradePrevention::Decrement),
            ("transfer", SelfTradePrevention::Transfer),
        ],
    )
}

fn state(state: &str) -> SymbolState {
    one_of(
        state,
        &[
            ("trading", SymbolState::Trading),
            ("auction", SymbolState::Auction),
            ("post-only", SymbolState::PostOnly),
            ("cancel-only", SymbolState::CancelOnly),
            ("halt", SymbolState::Halt),
        ],
    )
}

pub fn target(id: &str) -> Target {
    match id.strip_prefix('#') {
        Some(order_id) => Target::OrderId(number(order_id)),
        None => Target::ClientOrderId(client_order_id(id)),
    }
}

fn client_order_id(id: &str) -> ClientOrderId {
    ClientOrderId::client_order_id(id).unwrap()
}

pub(super) fn trader(account: &str) -> Trader {
    Trader::new(number(account)).unwrap()
}

pub fn symbol(name: &str) -> SymbolName {
    SymbolName::symbol(name).unwrap()
}

pub(super) fn asset(name: &str) -> AssetName {
    AssetName::asset(name).unwrap()
}

/// `tick=100` among the words.
pub(super) fn option<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

pub(super) fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().unwrap()
}

pub(super) fn one_of<T: Copy>(word: &str, known: &[(&str, T)]) -> T {
    let found = known.iter().find(|(name, _)| *name == word);
    let found = found.unwrap_or_else(|| panic!("no such word: {word}"));
    found.1
}
