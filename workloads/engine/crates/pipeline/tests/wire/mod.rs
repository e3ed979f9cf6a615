//! Frames as a client sends and reads them.
//!
//! Each file of tests takes what it needs of it.
#![allow(dead_code)]

use openbourse_journal::Options;
use openbourse_journal::lossy::LossyDisk;
use openbourse_pipeline::{Fatal, ITSELF, Limits, Pipeline, Sender};
use openbourse_protocol::v1::{self, client_frame::Frame, command::Body, server_frame};
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const OPTIONS: Options = Options {
    segment_bytes: 12 << 10,
    ahead: false,
    retry: Duration::from_millis(1),
};
pub const GATEWAY: u64 = 7;
pub const LEDGER: u64 = 8;

pub fn frame(frame: Frame) -> Vec<u8> {
    let body = v1::ClientFrame { frame: Some(frame) }.encode_to_vec();
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

pub fn hello(shard: &str, highest_epoch: u64) -> Vec<u8> {
    frame(Frame::Hello(v1::Hello {
        shard: shard.into(),
        client: "test".into(),
        highest_epoch,
    }))
}

pub fn command(id: u64, body: Body) -> Vec<u8> {
    let mut command_id = [0; 16];
    command_id[..8].copy_from_slice(&id.to_be_bytes());
    frame(Frame::Command(v1::Command {
        command_id: command_id.to_vec(),
        body: Some(body),
        ..Default::default()
    }))
}

pub fn place(
    account: u64,
    side: v1::Side,
    price_ticks: i64,
    quantity_lots: i64,
    client_order_id: &str,
) -> Body {
    Body::PlaceOrder(v1::PlaceOrder {
        account,
        symbol: "BTCUSDT".into(),
        side: side.into(),
        r#type: v1::OrderType::Limit.into(),
        time_in_force: v1::TimeInForce::Gtc.into(),
        price_ticks,
        quantity_lots,
        client_order_id: client_order_id.into(),
        ..Default::default()
    })
}

pub fn credit(account: u64, asset: &str, amount: i64) -> Body {
    let transfer_id = format!("{account}{asset}");
    Body::CreditFunds(v1::CreditFunds {
        transfer_id,
        account,
        asset: asset.into(),
        amount,
    })
}

pub fn listings() -> Vec<Body> {
    let asset = |asset: &str| {
        Body::DefineAsset(v1::DefineAsset {
            asset: asset.into(),
            scale: 8,
        })
    };
    let definition = v1::SymbolDefinition {
        symbol: "BTCUSDT".into(),
        base_asset: "BTC".into(),
        quote_asset: "USDT".into(),
        tick_units: 1_000_000,
        lot_units: 1_000,
        max_price_ticks: 100_000_000,
        max_quantity_lots: 900_000_000,
        ..Default::default()
    };
    vec![
        asset("BTC"),
        asset("USDT"),
        Body::DefineSymbol(v1::DefineSymbol {
            definition: Some(definition),
        }),
    ]
}

/// What came in one turn, with its connections.
pub type Batch = Vec<(u64, Vec<u8>)>;

/// What a shard begins with: listings and funds.
pub fn opening() -> Vec<Batch> {
    let listings = (1..)
        .zip(listings())
        .map(|(id, body)| (ITSELF, command(id, body)));
    let funds = vec![
        (LEDGER, command(11, credit(1001, "BTC", 1_000_000_000))),
        (LEDGER, command(12, credit(1002, "USDT", 1_000_000_000_000))),
    ];
    vec![listings.collect(), funds]
}

/// An order that rests, and one that takes of it.
pub fn crossing(round: u64) -> [(u64, Vec<u8>); 2] {
    let price = 100 + round as i64 % 3;
    let sell = place(1001, v1::Side::Sell, price, 5, &format!("s{round}"));
    let buy = place(1002, v1::Side::Buy, price, 3, &format!("b{round}"));
    [
        (GATEWAY, command(100 + round, sell)),
        (GATEWAY, command(200 + round, buy)),
    ]
}

pub fn depth_query(query_id: u64) -> Vec<u8> {
    let depth = v1::DepthQuery {
        symbol: "BTCUSDT".into(),
        limit: 10,
    };
    frame(Frame::Query(v1::Query {
        query_id,
        body: Some(v1::query::Body::Depth(depth)),
    }))
}

pub fn read(mut bytes: &[u8]) -> Vec<server_frame::Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        frames.push(
            v1::ServerFrame::decode(&bytes[4..4 + length])
                .unwrap()
                .frame
                .unwrap(),
        );
        bytes = &bytes[4 + length..];
    }
    frames
}

pub fn open(disk: &LossyDisk, limits: Limits) -> Result<Pipeline, Fatal> {
    let mut pipeline = Pipeline::open(Arc::new(disk.clone()), "main", limits, OPTIONS)?;
    pipeline.lead(pipeline.last_epoch() + 1)?;
    commit(&mut pipeline)?;
    assert!(pipeline.welcome().is_empty());
    for (connection, sender) in [(GATEWAY, Sender::Gateway), (LEDGER, Sender::Ledger)] {
        pipeline.connect(connection, sender);
        let received = pipeline.receive(connection, &hello("main", 0));
        assert!(matches!(
            &read(&received.send)[..],
            [server_frame::Frame::Welcome(_)]
        ));
    }
    Ok(pipeline)
}

/// As a leader without standbys does: what is durable is committed.
pub fn commit(pipeline: &mut Pipeline) -> Result<(), Fatal> {
    let durable_seq = pipeline.durable_seq()?;
    pipeline.commit(durable_seq);
    Ok(())
}

/// Begins one batch and waits for it. A disk that refuses is an error.
pub fn turn(pipeline: &mut Pipeline) -> Result<Vec<(u64, Vec<u8>)>, Fatal> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        pipeline.begin(1_000_000)?;
        commit(pipeline)?;
        if let Some(frames) = pipeline.collect() {
            return Ok(frames);
        }
        if let Some(trouble) = pipeline.trouble() {
            return Err(Fatal::Writer(trouble.why().into()));
        }
        assert!(Instant::now() < deadline, "the batch never became durable");
        std::thread::sleep(Duration::from_micros(50));
    }
}
