//! Queries to answers.

use openbourse_matching::Kernel;
use openbourse_matching::command::Target;
use openbourse_matching::refusal::Refusal;

use crate::v1::answer::Body as Answered;
use crate::v1::query::Body as Asked;
use crate::{decode, encode, moves, v1};

const LEVELS_MOST: usize = 5000;

pub(crate) fn answer(kernel: &Kernel, epoch: u64, query: &v1::Query) -> v1::Answer {
    let body = match &query.body {
        Some(Asked::Depth(asked)) => depth(kernel, asked),
        Some(Asked::Account(asked)) => Ok(Answered::Balances(v1::BalancesAnswer {
            balances: balances(kernel, asked.account).collect(),
        })),
        Some(Asked::Order(asked)) => order(kernel, asked),
        Some(Asked::OpenOrders(asked)) => open_orders(kernel, asked),
        Some(Asked::Listings(_)) => Ok(Answered::Listings(listings(kernel))),
        Some(Asked::Balances(_)) => Ok(Answered::Balances(v1::BalancesAnswer {
            balances: kernel
                .accounts()
                .flat_map(|account| balances(kernel, account))
                .collect(),
        })),
        Some(Asked::Totals(_)) => Ok(Answered::Totals(totals(kernel))),
        Some(Asked::AccountSafety(asked)) => account_safety(kernel, asked),
        Some(Asked::SymbolRecord(asked)) => symbol_record(kernel, asked),
        None => Err(Refusal::Invalid(
            "body: must be a query that this version knows",
        )),
    };
    let body = body.unwrap_or_else(|refusal| {
        Answered::Refused(v1::QueryRefused {
            reason: encode::reason(&refusal),
            detail: refusal.to_string(),
        })
    });
    v1::Answer {
        query_id: query.query_id,
        shard: kernel.shard().into(),
        epoch,
        seq: kernel.seq(),
        body: Some(body),
    }
}

fn depth(kernel: &Kernel, asked: &v1::DepthQuery) -> Result<Answered, Refusal> {
    let symbol = decode::symbol_name(&asked.symbol).map_err(Refusal::Invalid)?;
    let limit = usize::try_from(asked.limit).ok();
    let limit = limit.filter(|limit| (1..=LEVELS_MOST).contains(limit));
    let limit = limit.ok_or(Refusal::Invalid("limit: must be 1 to 5000"))?;
    let depth = kernel.depth(symbol, limit)?;
    let levels = |levels: Vec<(i64, i64)>| {
        let level = |(price_ticks, quantity_lots)| v1::Level {
            price_ticks,
            quantity_lots,
        };
        levels.into_iter().map(level).collect()
    };
    Ok(Answered::Depth(v1::DepthAnswer {
        last_update_id: depth.last_update_id,
        bids: levels(depth.bids),
        asks: levels(depth.asks),
    }))
}

fn order(kernel: &Kernel, asked: &v1::OrderQuery) -> Result<Answered, Refusal> {
    use v1::order_query::Target as Named;
    let account = decode::trader(asked.account).map_err(Refusal::Invalid)?;
    let symbol = decode::symbol_name(&asked.symbol).map_err(Refusal::Invalid)?;
    let target = match &asked.target {
        Some(Named::OrderId(order_id)) => Ok(Target::OrderId(*order_id)),
        Some(Named::ClientOrderId(id)) => decode::client_order_id(id).map(Target::ClientOrderId),
        None => Err("target: must be an order_id or a client_order_id"),
    };
    let target = target.map_err(Refusal::Invalid)?;
    let found = kernel.order(account.account(), symbol, target)?;
    Ok(Answered::Orders(v1::OrdersAnswer {
        orders: vec![encode::order(kernel, found)],
    }))
}

fn open_orders(kernel: &Kernel, asked: &v1::OpenOrdersQuery) -> Result<Answered, Refusal> {
    let account = decode::trader(asked.account).map_err(Refusal::Invalid)?;
    let symbol = match asked.symbol.as_str() {
        "" => None,
        name => Some(decode::symbol_name(name).map_err(Refusal::Invalid)?),
    };
    let orders = kernel.open_orders(account.account(), symbol)?;
    Ok(Answered::Orders(v1::OrdersAnswer {
        orders: orders
            .into_iter()
            .map(|found| encode::order(kernel, found))
            .collect(),
    }))
}

fn account_safety(kernel: &Kernel, asked: &v1::AccountSafetyQuery) -> Result<Answered, Refusal> {
    let account = decode::trader(asked.account).map_err(Refusal::Invalid)?;
    let safety = kernel.account_safety(account.account());
    let countdowns = safety.countdowns.into_iter();
    Ok(Answered::AccountSafety(v1::AccountSafetyAnswer {
        account: asked.account,
        killed: safety.killed,
        open_orders: safety.open_orders as u64,
        countdowns: countdowns
            .map(|countdown| v1::Countdown {
                symbol: (countdown.symbol)
                    .map(|name| name.to_string())
                    .unwrap_or_default(),
                end_us: countdown.end_us,
                guard: countdown.guard,
            })
            .collect(),
    }))
}

fn symbol_record(kernel: &Kernel, asked: &v1::SymbolRecordQuery) -> Result<Answered, Refusal> {
    let move_id = decode::move_id(&asked.move_id).map_err(Refusal::Invalid)?;
    let part = kernel.record_of(move_id, asked.part as usize)?;
    Ok(Answered::SymbolRecord(v1::SymbolRecordAnswer {
        record: Some(moves::encode_record(&part.definition, &part.record)),
        parts: u32::try_from(part.parts).expect("a record has at most a thousand parts"),
        record_sha256: part.record_sha256.to_vec(),
    }))
}

fn listings(kernel: &Kernel) -> v1::ListingsAnswer {
    let assets = kernel.assets().map(|asset| v1::DefineAsset {
        asset: asset.asset.to_string(),
        scale: asset.scale,
    });
    let symbols = kernel.symbols().map(|listing| v1::SymbolListing {
        definition: Some(encode::symbol_definition(&listing.definition)),
        state: encode::symbol_state(listing.state).into(),
        reason: listing
            .decider
            .map(|decider| decider.to_string())
            .unwrap_or_default(),
        last_price_ticks: listing.last_price_ticks.unwrap_or(0),
        indicated: listing.indicated.as_ref().map(encode::indication),
        moving_to: listing
            .moving_to
            .map(|to| to.to_string())
            .unwrap_or_default(),
        moved_to: listing
            .moved_to
            .map(|to| to.to_string())
            .unwrap_or_default(),
    });
    v1::ListingsAnswer {
        assets: assets.collect(),
        symbols: symbols.collect(),
    }
}

fn totals(kernel: &Kernel) -> v1::TotalsAnswer {
    let totals = kernel.totals().into_iter().map(|total| v1::AssetTotal {
        asset: total.asset.to_string(),
        available: total.available,
        hold: total.hold,
        deposited: total.deposited,
    });
    v1::TotalsAnswer {
        totals: totals.collect(),
    }
}

fn balances(kernel: &Kernel, account: u64) -> impl Iterator<Item = v1::Balance> {
    let balances = kernel.balances_of(account).into_iter();
    balances.map(move |(asset, balance)| v1::Balance {
        account,
        asset: asset.to_string(),
        available: balance.available,
        hold: balance.hold,
    })
}
