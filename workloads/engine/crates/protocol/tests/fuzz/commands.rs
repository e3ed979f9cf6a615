//! Commands of every kind whose fields are mostly plausible and now and then wild.

use openbourse_protocol::v1::{self, command::Body};

use crate::numbers::Numbers;

/// What makes the other commands mean something, first; None when that is over.
pub fn setup(number: u64) -> Option<v1::Command> {
    let asset = |asset: &str| v1::DefineAsset {
        asset: asset.into(),
        scale: 0,
    };
    let credit = |account: u64, asset: &str| v1::CreditFunds {
        transfer_id: "t".into(),
        account,
        asset: asset.into(),
        amount: 1_000_000,
    };
    let definition = v1::SymbolDefinition {
        symbol: "AB".into(),
        base_asset: "A".into(),
        quote_asset: "B".into(),
        tick_units: 1,
        lot_units: 1,
        max_price_ticks: 1000,
        max_quantity_lots: 1000,
        taker_fee_ppm: 20_000,
        ..Default::default()
    };
    let body = match number {
        0 => Body::DefineAsset(asset("A")),
        1 => Body::DefineAsset(asset("B")),
        2 => Body::DefineSymbol(v1::DefineSymbol {
            definition: Some(definition),
        }),
        3 => Body::CreditFunds(credit(1000, "A")),
        4 => Body::CreditFunds(credit(1000, "B")),
        5 => Body::CreditFunds(credit(1001, "A")),
        6 => Body::CreditFunds(credit(1001, "B")),
        _ => return None,
    };
    Some(command(number, body))
}

fn command(number: u64, body: Body) -> v1::Command {
    v1::Command {
        command_id: u128::from(number).to_be_bytes().to_vec(),
        correlation_id: "request".into(),
        causation_id: String::new(),
        traceparent: String::new(),
        body: Some(body),
    }
}

/// Mostly orders.
pub fn wild(of: &mut Numbers, number: u64) -> v1::Command {
    let body = match of.below(40) {
        0..20 => Body::PlaceOrder(place(of)),
        20..23 => Body::CancelOrder(cancel(of)),
        23..26 => Body::AmendOrder(v1::AmendOrder {
            account: account(of),
            symbol: symbol(of),
            target: Some(v1::amend_order::Target::ClientOrderId(id(of))),
            quantity_lots: amount(of),
            new_client_order_id: if of.below(2) == 0 {
                id(of)
            } else {
                String::new()
            },
        }),
        26 | 27 => Body::ReplaceOrder(v1::ReplaceOrder {
            cancel: Some(cancel(of)),
            place: Some(place(of)),
            mode: number_of_a_name(of, 3),
        }),
        28 => Body::CancelAllOrders(v1::CancelAllOrders {
            account: of.one_of(&[0, 1000, 1001]),
            symbol: of.one_of(&["", "AB", "CD"]).into(),
            reason: number_of_a_name(of, 7),
        }),
        29 => Body::SetCountdown(v1::SetCountdown {
            account: account(of),
            symbol: of.one_of(&["", "AB", "CD"]).into(),
            countdown_ms: amount(of),
            guard: of.below(3) == 0,
        }),
        30 => Body::CreditFunds(v1::CreditFunds {
            transfer_id: "t".into(),
            account: account(of),
            asset: asset(of),
            amount: amount(of),
        }),
        31 => Body::DebitFunds(v1::DebitFunds {
            transfer_id: "t".into(),
            account: account(of),
            asset: asset(of),
            amount: amount(of),
        }),
        32 => Body::DefineSymbol(v1::DefineSymbol {
            definition: Some(definition(of)),
        }),
        33..36 => Body::Tick(v1::Tick {}),
        _ => operation(of),
    };
    command(number, body)
}

fn move_id(of: &mut Numbers) -> Vec<u8> {
    vec![of.one_of(&[1, 2, 3]); of.one_of(&[16, 16, 16, 7])]
}

/// The end of a move, or a part of a record that nobody made.
fn moved(of: &mut Numbers) -> Body {
    let move_id = move_id(of);
    match of.below(4) {
        0 => Body::CompleteMove(v1::CompleteMove { move_id }),
        1 => Body::AbandonImport(v1::AbandonImport { move_id }),
        _ => {
            let record = v1::SymbolRecord {
                terms: (of.below(2) == 0).then(|| v1::SymbolTerms {
                    definition: Some(definition(of)),
                    last_order_id: of.below(1000),
                    phase: number_of_a_name(of, 6),
                    ..Default::default()
                }),
                orders: vec![v1::Order {
                    account: account(of),
                    order_id: of.below(9),
                    client_order_id: id(of),
                    price_ticks: amount(of),
                    quantity_lots: amount(of),
                    side: number_of_a_name(of, 3),
                    ..Default::default()
                }],
                ..Default::default()
            };
            Body::ImportSymbol(v1::ImportSymbol {
                move_id,
                from_shard: of.one_of(&["second", "?"]).into(),
                part: of.one_of(&[0, 0, 1]),
                parts: of.one_of(&[1, 2, 0]),
                record_sha256: vec![7; of.one_of(&[32, 32, 31])],
                record: prost::Message::encode_to_vec(&record),
            })
        }
    }
}

fn operation(of: &mut Numbers) -> Body {
    match of.below(10) {
        0 => Body::ImposeHalt(v1::ImposeHalt {
            halt: of.one_of(&["one", "two"]).into(),
            symbols: of
                .one_of(&[&[][..], &["AB"], &["CD", "AB"]])
                .iter()
                .map(ToString::to_string)
                .collect(),
            state: number_of_a_name(of, 6),
            reason: "because".into(),
        }),
        1..4 => Body::LiftHalt(v1::LiftHalt {
            halt: of.one_of(&["one", "two"]).into(),
            reason: "over".into(),
            reopen: number_of_a_name(of, 6),
            reopen_ms: amount(of),
        }),
        4 | 5 => Body::ChangeSymbolState(v1::ChangeSymbolState {
            symbol: symbol(of),
            state: number_of_a_name(of, 6),
            reason: "because".into(),
            duration_ms: of.one_of(&[0, 0, 1, 1000, i64::MAX]),
        }),
        6 => Body::ConfigureAccount(v1::ConfigureAccount {
            account: account(of),
            trade_group: of.below(2),
            max_open_orders: of.one_of(&[0, 5, u32::MAX]),
            max_open_notional: (0..of.below(3))
                .map(|_| v1::AssetAmount {
                    asset: asset(of),
                    amount: amount(of),
                })
                .collect(),
            max_orders_per_interval: of.one_of(&[0, 5, u32::MAX]),
            interval_ms: of.one_of(&[0, 1000, i64::MAX]),
            reuse_client_order_ids: of.below(2) == 0,
        }),
        7 => Body::SetKillSwitch(v1::SetKillSwitch {
            account: account(of),
            on: of.below(3) == 0,
            reason: "because".into(),
        }),
        8 => match of.below(3) {
            0 => Body::ConfigureSafety(v1::ConfigureSafety {
                settlement_lag_ms: Some(v1::SafetyLimits {
                    throttle: of.below(20),
                    cancel_only: of.below(40),
                    halt: u64::MAX,
                }),
                unpublished_commands: None,
                throttled_orders_per_second: of.one_of(&[0, 1, u32::MAX]),
            }),
            _ => Body::ReportLag(v1::ReportLag {
                settlement_lag_ms: of.one_of(&[0, 0, 5, 50, u64::MAX]),
                unpublished_commands: of.below(5),
            }),
        },
        _ => match of.below(7) {
            0 => Body::ChangeVersion(v1::ChangeVersion {
                version: of.one_of(&[0, 1, 2, 3, 3, u32::MAX]),
            }),
            1 => Body::DefineAsset(v1::DefineAsset {
                asset: asset(of),
                scale: of.one_of(&[0, 18, 19, u32::MAX]),
            }),
            3 => Body::FreezeSymbol(v1::FreezeSymbol {
                move_id: move_id(of),
                symbol: symbol(of),
                to_shard: of.one_of(&["second", "main", ""]).into(),
            }),
            4 => Body::UndoFreeze(v1::UndoFreeze {
                move_id: move_id(of),
            }),
            5 => moved(of),
            _ => Body::Checkpoint(v1::Checkpoint {
                previous_seq: of.one_of(&[0, 0, 7]),
                previous_state_hash: vec![7; of.one_of(&[0, 32])],
            }),
        },
    }
}

fn place(of: &mut Numbers) -> v1::PlaceOrder {
    let (order_type, time_in_force) = of.one_of(&[
        (1, 1),
        (1, 1),
        (1, 1),
        (1, 2),
        (1, 3),
        (2, 2),
        (2, 2),
        (3, 1),
        (0, 0),
        (9, -9),
    ]);
    let market = order_type == 2;
    let by_amount = market && of.below(2) == 0;
    v1::PlaceOrder {
        account: account(of),
        symbol: symbol(of),
        side: of.one_of(&[1, 2, 1, 2, 1, 2, 0, 3]),
        r#type: order_type,
        time_in_force,
        price_ticks: if market { 0 } else { price(of) },
        quantity_lots: if by_amount { 0 } else { amount(of) },
        client_order_id: id(of),
        quote_units: if by_amount { amount(of) } else { 0 },
        self_trade_prevention: number_of_a_name(of, 7),
    }
}

fn cancel(of: &mut Numbers) -> v1::CancelOrder {
    v1::CancelOrder {
        account: account(of),
        symbol: symbol(of),
        target: match of.below(5) {
            0 => None,
            1 => Some(v1::cancel_order::Target::OrderId(of.below(400))),
            _ => Some(v1::cancel_order::Target::ClientOrderId(id(of))),
        },
        restriction: of.one_of(&[0, 0, 1, 2, 3]),
    }
}

/// Of AB as it is, but for what may change.
fn definition(of: &mut Numbers) -> v1::SymbolDefinition {
    let band = of.one_of(&[0, 0, 50_000, 1_000_000]);
    let wild = of.below(10) == 0;
    v1::SymbolDefinition {
        symbol: symbol(of),
        base_asset: "A".into(),
        quote_asset: "B".into(),
        tick_units: if wild { amount(of) } else { 1 },
        lot_units: if wild { amount(of) } else { 1 },
        max_price_ticks: of.one_of(&[1000, 1000, 50, i64::MAX]),
        max_quantity_lots: of.one_of(&[1000, 1000, 50, i64::MAX]),
        maker_fee_ppm: of.one_of(&[0, 1, 100_000]),
        taker_fee_ppm: of.one_of(&[0, 1, 100_000, u32::MAX]),
        fee_charge: of.one_of(&[0, 1, 2, 2, 9]),
        self_trade_prevention: number_of_a_name(of, 7),
        average_minutes: of.one_of(&[0, 1, 60]),
        market_collar_ppm: of.one_of(&[0, 100_000]),
        static_band_ppm: band,
        dynamic_band_ppm: of.one_of(&[0, band]),
        volatility_auction_ms: if band > 0 { 1000 } else { 0 },
        reference_price_ticks: of.one_of(&[0, 10, 20]),
        ..Default::default()
    }
}

fn account(of: &mut Numbers) -> u64 {
    of.one_of(&[
        1000,
        1000,
        1000,
        1000,
        1001,
        1001,
        1001,
        1001,
        1002,
        0,
        999,
        u64::MAX,
    ])
}

fn symbol(of: &mut Numbers) -> String {
    of.one_of(&["AB", "AB", "AB", "AB", "AB", "AB", "AB", "CD", "ab"])
        .into()
}

fn asset(of: &mut Numbers) -> String {
    of.one_of(&["A", "B", "C"]).into()
}

fn id(of: &mut Numbers) -> String {
    format!("id-{}", of.below(60))
}

fn price(of: &mut Numbers) -> i64 {
    match of.below(20) {
        0 => of.one_of(&[0, -1, 1001, i64::MAX, i64::MIN]),
        _ => 8 + i64::try_from(of.below(6)).expect("small"),
    }
}

fn amount(of: &mut Numbers) -> i64 {
    match of.below(20) {
        0 => of.one_of(&[0, -1, 1001, i64::MAX, i64::MIN]),
        _ => i64::try_from(of.below(60)).expect("small"),
    }
}

/// One more than there are, now and then.
fn number_of_a_name(of: &mut Numbers, names: u64) -> i32 {
    i32::try_from(of.below(names + 1)).expect("few names")
}
