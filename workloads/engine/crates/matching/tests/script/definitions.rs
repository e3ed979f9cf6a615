//! Symbols and accounts of the transcripts: `name=value` for each option, and what is not said is not limited.

use openbourse_matching::account_limits::AccountConfiguration;
use openbourse_matching::bands::PriceBand;
use openbourse_matching::fees::FeeCharge;
use openbourse_matching::listings::SymbolDefinition;

use super::parse::{asset, number, one_of, option, prevention, symbol, trader};

pub(super) fn definition(
    name: &str,
    base: &str,
    quote: &str,
    options: &[&str],
) -> SymbolDefinition {
    const OPTIONS: [&str; 21] = [
        "tick",
        "lot",
        "max-price",
        "max-quantity",
        "min-notional",
        "maker",
        "taker",
        "charge",
        "min-price",
        "min-quantity",
        "market-max",
        "max-notional",
        "stp",
        "bids",
        "asks",
        "average",
        "collar",
        "static",
        "dynamic",
        "auction-ms",
        "reference",
    ];
    for word in options {
        let (option, _) = word.split_once('=').unwrap();
        assert!(OPTIONS.contains(&option), "no such option: {word}");
    }
    let of = |name, otherwise: i64| option(options, name).map_or(otherwise, number);
    let ppm = |name| option(options, name).map_or(0, number::<u32>);
    let plain = SymbolDefinition::plain(
        (symbol(name), asset(base), asset(quote)),
        of("tick", 1),
        of("lot", 1),
        of("max-price", 1000),
        of("max-quantity", 1000),
        of("min-notional", 0),
        ppm("maker"),
        ppm("taker"),
    );
    SymbolDefinition {
        fee_charge: option(options, "charge").map(|charge| {
            one_of(
                charge,
                &[
                    ("received", FeeCharge::Received),
                    ("quote", FeeCharge::Quote),
                ],
            )
        }),
        min_price_ticks: of("min-price", 0),
        min_quantity_lots: of("min-quantity", 0),
        market_max_quantity_lots: of("market-max", 0),
        max_notional_units: of("max-notional", 0),
        self_trade_prevention: option(options, "stp").map(prevention),
        bid_band: band(option(options, "bids")),
        ask_band: band(option(options, "asks")),
        average_minutes: ppm("average"),
        market_collar_ppm: ppm("collar"),
        static_band_ppm: ppm("static"),
        dynamic_band_ppm: ppm("dynamic"),
        volatility_auction_ms: of("auction-ms", 0),
        reference_price_ticks: of("reference", 0),
        ..plain
    }
}

/// `900000..1100000`, both in ppm.
fn band(band: Option<&str>) -> PriceBand {
    band.map_or_else(PriceBand::default, |band| {
        let (lowest, highest) = band.split_once("..").unwrap();
        PriceBand {
            lowest_ppm: number(lowest),
            highest_ppm: number(highest),
        }
    })
}

pub(super) fn configuration(account: &str, options: &[&str]) -> AccountConfiguration {
    let (orders, interval_ms) = match option(options, "rate") {
        Some(rate) => rate.split_once('/').unwrap(),
        None => ("0", "0"),
    };
    let notionals = option(options, "notional").into_iter();
    AccountConfiguration {
        trade_group: option(options, "group").map_or(0, number),
        max_open_orders: option(options, "orders").map_or(0, number),
        max_open_notional: notionals
            .flat_map(|notionals| notionals.split(','))
            .map(|notional| {
                let (name, most) = notional.split_once(':').unwrap();
                (asset(name), number(most))
            })
            .collect(),
        max_orders_per_interval: number(orders),
        interval_ms: number(interval_ms),
        reuse_client_order_ids: options.contains(&"reuse"),
        ..AccountConfiguration::of_nobody(trader(account))
    }
}
