// What a bot with npm's `binance` does in a minute, with nothing but its addresses changed. Says what it saw as JSON, and
// ends with 1 when something is not so. Arguments: host:port, API key, secret.
"use strict";
const assert = require("node:assert/strict");
const { MainClient, WebsocketAPIClient, WebsocketClient, WS_KEY_MAP } = require("binance");

const [at, apiKey, secret] = process.argv.slice(2);
const PAIR = "BTCUSDT";
const MOST_MS = 30_000;
const quiet = { trace() {}, info() {}, error: console.error };
const keys = { api_key: apiKey, api_secret: secret };

// Whoever signs with a secret stamps requests of the WebSocket API; the client does not.
const stamped = (parameters) => ({ ...parameters, timestamp: Date.now() });

/** What an event says, whatever it came wrapped in. */
const said = (message) => message.data ?? message.event ?? message;

/** Resolves with the first event of `client` that is wanted. */
function heard(client, wanted) {
  return new Promise((resolve) => {
    const hear = (message) => {
      const event = said(message);
      if (wanted(event)) {
        client.off("message", hear);
        resolve(event);
      }
    };
    client.on("message", hear);
  });
}

async function rest(client) {
  assert.deepEqual(await client.testConnectivity(), {});
  const info = await client.getExchangeInfo({ symbol: PAIR });
  assert.deepEqual(info.symbols.map((each) => each.symbol), [PAIR]);
  const terms = { symbol: PAIR, side: "BUY", type: "LIMIT", timeInForce: "GTC", quantity: 0.01 };
  const placed = await client.submitNewOrder({ ...terms, price: 20000, newClientOrderId: "node-rest" });
  assert.equal(placed.status, "NEW");
  const found = await client.getOrder({ symbol: PAIR, origClientOrderId: "node-rest" });
  assert.equal(found.orderId, placed.orderId);
  const replaced = await client.replaceOrder({
    ...terms, price: 20001, cancelReplaceMode: "STOP_ON_FAILURE", cancelOrderId: placed.orderId,
  });
  const open = await client.getOpenOrders({ symbol: PAIR });
  assert.deepEqual(open.map((each) => each.orderId), [replaced.newOrderResponse.orderId]);
  const canceled = await client.cancelOrder({ symbol: PAIR, orderId: open[0].orderId });
  assert.equal(canceled.status, "CANCELED");
  await assert.rejects(client.cancelOrder({ symbol: PAIR, orderId: 1 }), (error) => error.code === -2011);
  const account = await client.getAccountInformation();
  assert.ok(account.balances.some((each) => each.asset === "USDT" && Number(each.free) > 0));
  return { version: info.timezone, makerCommission: account.makerCommission };
}

/** The book as Binance says that it is kept, and the engine's at its end. */
async function book(client, streams, api) {
  const diffs = [];
  const last = { u: 0 };
  streams.on("message", (message) => {
    const diff = said(message);
    if (diff.e === "depthUpdate") {
      assert.ok(last.u === 0 || diff.U === last.u + 1, `a gap: ${diff.U} after ${last.u}`);
      last.u = diff.u;
      diffs.push(diff);
    }
  });
  const first = heard(streams, (event) => event.e === "depthUpdate");
  await streams.subscribe([`${PAIR.toLowerCase()}@depth@100ms`, `${PAIR.toLowerCase()}@trade`], WS_KEY_MAP.main);
  // A diff comes when something happens.
  const trading = (async () => {
    for (let number = 0; number < 60; number += 1) {
      const placed = await api.submitNewSpotOrder(stamped({
        symbol: PAIR, side: number % 2 ? "BUY" : "SELL", type: "LIMIT", timeInForce: "GTC", quantity: 0.01,
        price: number % 2 ? 20000 - number : 60000 + number,
      }));
      if (number % 3 === 0) {
        await api.cancelSpotOrder(stamped({ symbol: PAIR, orderId: placed.result.orderId }));
      }
    }
  })();
  await first;
  const begin = await client.getOrderBook({ symbol: PAIR, limit: 1000 });
  await trading;
  const end = await client.getOrderBook({ symbol: PAIR, limit: 1000 });
  while (last.u < end.lastUpdateId) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const sides = { b: new Map(begin.bids), a: new Map(begin.asks) };
  for (const diff of diffs.filter((each) => each.u > begin.lastUpdateId)) {
    for (const side of ["b", "a"]) {
      for (const [price, quantity] of diff[side]) {
        Number(quantity) === 0 ? sides[side].delete(price) : sides[side].set(price, quantity);
      }
    }
  }
  const sorted = (side, sign) => [...side].sort((one, other) => sign * (Number(one[0]) - Number(other[0])));
  assert.deepEqual(sorted(sides.b, -1), end.bids);
  assert.deepEqual(sorted(sides.a, 1), end.asks);
  return { diffs: diffs.length, levels: end.bids.length + end.asks.length, lastUpdateId: end.lastUpdateId };
}

async function userStream(api) {
  const ws = api.getWSClient();
  const began = heard(ws, (event) => event.c === "node-ws");
  await api.subscribeUserDataStream(WS_KEY_MAP.mainWSAPI);
  const placed = await api.submitNewSpotOrder(stamped({
    symbol: PAIR, side: "BUY", type: "LIMIT", timeInForce: "GTC", quantity: 0.01, price: 20000,
    newClientOrderId: "node-ws",
  }));
  const report = await began;
  assert.deepEqual([report.e, report.x, report.i], ["executionReport", "NEW", placed.result.orderId]);
  const ended = heard(ws, (event) => event.x === "CANCELED");
  await api.cancelSpotOrder(stamped({ symbol: PAIR, orderId: placed.result.orderId }));
  assert.equal((await ended).C, "node-ws");
  return report.i;
}

async function main() {
  const client = new MainClient({ ...keys, baseUrl: `http://${at}`, beautifyResponses: false });
  const api = new WebsocketAPIClient({ ...keys, wsUrl: `ws://${at}`, attachEventListeners: false }, quiet);
  const streams = new WebsocketClient({ wsUrl: `ws://${at}`, beautify: false }, quiet);
  const seen = { rest: await rest(client), order: await userStream(api), book: await book(client, streams, api) };
  await client.cancelAllSymbolOrders({ symbol: PAIR });
  console.log(JSON.stringify(seen));
}

setTimeout(() => {
  console.error(`not done within ${MOST_MS} ms`);
  process.exit(2);
}, MOST_MS);
main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
