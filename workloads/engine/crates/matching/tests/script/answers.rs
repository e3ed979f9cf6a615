//! Questions of the transcripts: `balances [ACCOUNT]`, `depth SYMBOL`, `open ACCOUNT`, `order ACCOUNT SYMBOL ID`,
//! `listings`, `halts`, `due`, `forgotten`, `hash`.

use openbourse_matching::Kernel;
use openbourse_matching::names::SymbolName;

use super::{parse, print};

pub fn answer(kernel: &mut Kernel, question: &str) -> Vec<String> {
    let words: Vec<_> = question.split(' ').collect();
    match words[..] {
        ["balances"] => kernel
            .accounts()
            .flat_map(|of| balances(kernel, of))
            .collect(),
        ["balances", account] => balances(kernel, account.parse().unwrap()),
        ["depth", name] => depth(kernel, parse::symbol(name)),
        ["open", account] => {
            let orders = kernel.open_orders(account.parse().unwrap(), None);
            let orders = orders.unwrap().into_iter();
            orders.map(print::order).collect()
        }
        ["order", account, name, id] => {
            let account = account.parse().unwrap();
            match kernel.order(account, parse::symbol(name), parse::target(id)) {
                Ok(order) => vec![print::order(order)],
                Err(refusal) => vec![print::refused(&refusal)],
            }
        }
        ["listings"] => listings(kernel),
        ["halts"] => (kernel.halts())
            .map(|(name, halt)| {
                let symbols: Vec<_> = halt.terms.symbols.iter().map(ToString::to_string).collect();
                let symbols = if symbols.is_empty() {
                    "*".into()
                } else {
                    symbols.join(",")
                };
                format!(
                    "{name} {:?} {symbols}: {}",
                    halt.terms.state, halt.terms.reason
                )
            })
            .collect(),
        ["due"] => vec![match kernel.next_due_us() {
            None => "nothing is due".into(),
            Some(i64::MIN) => "at once".into(),
            Some(due_us) => format!("at {} ms", due_us / 1000),
        }],
        ["hash"] => {
            let state_hash = kernel.state_hash();
            vec![
                state_hash
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
            ]
        }
        ["forgotten"] => vec![kernel.client_order_ids_forgotten_early().to_string()],
        _ => panic!("no such question: {question}"),
    }
}

fn balances(kernel: &Kernel, account: u64) -> Vec<String> {
    let balances = kernel.balances_of(account).into_iter();
    balances
        .map(|(asset, has)| format!("{account} {asset} {} {}", has.available, has.hold))
        .collect()
}

fn depth(kernel: &Kernel, symbol: SymbolName) -> Vec<String> {
    let depth = kernel.depth(symbol, 5000).unwrap();
    let level = |side: &str, (price, lots)| format!("{side} {price} x {lots}");
    let asks = depth.asks.into_iter().rev().map(|at| level("ask", at));
    asks.chain(depth.bids.into_iter().map(|at| level("bid", at)))
        .collect()
}

fn listings(kernel: &Kernel) -> Vec<String> {
    let line = |listing: openbourse_matching::queries::Listing| {
        let mut line = format!("{} {:?}", listing.definition.symbol, listing.state);
        if let Some(price) = listing.last_price_ticks {
            line += &format!(", last price {price}");
        }
        if let Some(indicated) = listing.indicated {
            line += &format!(", {}", print::indication(&indicated));
        }
        if let Some(decider) = listing.decider {
            line += &format!(", {decider}");
        }
        line
    };
    kernel.symbols().map(line).collect()
}
