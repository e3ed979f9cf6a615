import assert from 'node:assert/strict'
import { test } from 'node:test'
import { units } from '../src/pure/decimal.ts'
import { checked, share, stepped, type Circumstances, type Draft } from '../src/pure/entry.ts'
import { BTCUSDT } from './markets.ts'

const DRAFT: Draft = { side: 'BUY', kind: 'LIMIT', timeInForce: 'GTC', price: '50000', quantity: '0.1', byAmount: false }
const NOW: Circumstances = {
  state: { status: 'TRADING', reason: '' },
  baseFree: units('2', 8),
  quoteFree: units('100000', 8),
  bestBid: units('49999', 8),
  bestAsk: units('50001', 8),
  sweep: (quantity) => (quantity > units('5', 8) ? null : quantity * 50_001n),
}

const said = (draft: Partial<Draft>, now: Partial<Circumstances> = {}): string => {
  const outcome = checked({ ...DRAFT, ...draft }, BTCUSDT, { ...NOW, ...now })
  return 'sentence' in outcome ? `${outcome.field}: ${outcome.sentence}` : JSON.stringify(outcome.terms)
}

test('a good order is the wire’s terms', () => {
  assert.equal(said({}), '{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT","quantity":"0.1","price":"50000.00","timeInForce":"GTC"}')
  assert.equal(said({ kind: 'LIMIT_MAKER' }), '{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT_MAKER","quantity":"0.1","price":"50000.00"}')
  assert.equal(said({ kind: 'MARKET', price: 'whatever' }), '{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quantity":"0.1"}')
  assert.equal(said({ kind: 'MARKET', quantity: '100.5', byAmount: true }), '{"symbol":"BTCUSDT","side":"BUY","type":"MARKET","quoteOrderQty":"100.5"}')
  assert.equal(said({ timeInForce: 'FOK' }).includes('"timeInForce":"FOK"'), true)
})

const TABLE: readonly (readonly [Partial<Draft>, string])[] = [
  [{ price: '' }, 'price: Enter a price in USDT.'],
  [{ price: '0' }, 'price: The lowest price is 0.01 USDT.'],
  [{ price: '1000000.01' }, 'price: The highest price is 1,000,000.00 USDT.'],
  [{ price: '50000.005' }, 'price: Prices go in steps of 0.01 USDT: use 50,000.00 or 50,000.01.'],
  [{ price: '50,000' }, 'price: Write the price with a point and without commas: 1234.5.'],
  [{ price: '1.123456789' }, 'price: USDT has at most 8 decimals.'],
  [{ price: 'much' }, 'price: The price is a number such as 1234.5.'],
  [{ quantity: '' }, 'quantity: Enter a quantity in BTC.'],
  [{ quantity: '0.000005' }, 'quantity: The smallest quantity is 0.00001 BTC.'],
  [{ quantity: '0.000015' }, 'quantity: Quantities go in steps of 0.00001 BTC: use 0.00001 BTC or 0.00002 BTC.'],
  [{ quantity: '9000.00001' }, 'quantity: The largest quantity of one order is 9,000 BTC.'],
  [{ kind: 'MARKET', quantity: '101' }, 'quantity: The largest quantity of one order is 100 BTC.'],
  [{ price: '1', quantity: '4' }, 'quantity: The order is worth 4.00 USDT; the least is 5.00 USDT.'],
  [{ price: '900000', quantity: '11' }, 'quantity: The order is worth 9,900,000.00 USDT; the most is 9,000,000.00 USDT.'],
  [{ quantity: '2.00001' }, 'quantity: This needs 100,000.50 USDT, and you have 100,000.00 available.'],
  [{ side: 'SELL', quantity: '2.00001' }, 'quantity: You have 2 BTC available.'],
  [{ kind: 'MARKET', side: 'SELL', quantity: '5.1' }, 'order: Nobody buys so much at the moment: a market order needs someone to trade with.'],
  [{ kind: 'MARKET', quantity: '4', byAmount: true }, 'quantity: The order is worth 4.00 USDT; the least is 5.00 USDT.'],
  [{ kind: 'MARKET', quantity: '100001', byAmount: true }, 'quantity: You have 100,000.00 USDT available.'],
  [{ kind: 'LIMIT_MAKER', price: '50001' }, 'price: At this price it would trade at once, and post-only orders never do. Stay below 50,001.00.'],
  [{ kind: 'LIMIT_MAKER', side: 'SELL', price: '49999' }, 'price: At this price it would trade at once, and post-only orders never do. Stay above 49,999.00.'],
]

for (const [draft, sentence] of TABLE) {
  test(`refused: ${JSON.stringify(draft)}`, () => assert.equal(said(draft), sentence))
}

test('a market that is closed says so with its reason, and takes what it takes', () => {
  const halted = { state: { status: 'HALT', reason: 'maintenance' } }
  assert.equal(said({}, halted), 'order: Trading is halted: no orders and no cancels are taken. Reason: maintenance.')
  assert.match(said({}, { state: { status: 'BREAK', reason: '' } }), /^order: Trading is paused/)
  const auction = { state: { status: 'AUCTION_MATCH', reason: '' } }
  assert.match(said({}, auction), /^\{/)
  assert.match(said({ timeInForce: 'IOC' }, auction), /^order: An auction runs/)
  const postOnly = { state: { status: 'PRE_TRADING', reason: '' } }
  assert.match(said({ kind: 'LIMIT_MAKER' }, postOnly), /^\{/)
  assert.match(said({ kind: 'MARKET' }, postOnly), /^order: Only orders that rest/)
})

test('what is not known yet refuses nothing', () => {
  const nothing = { baseFree: null, quoteFree: null, bestAsk: null, bestBid: null, sweep: null }
  assert.match(said({ quantity: '100' }, nothing), /^\{/)
  assert.match(said({ kind: 'MARKET', side: 'SELL' }, nothing), /^\{/)
})

test('a share is whole lots that the funds are enough for', () => {
  const lots = (draft: Partial<Draft>, percent: number) => share(percent, { ...DRAFT, ...draft }, BTCUSDT, NOW)
  assert.equal(lots({}, 100), units('2', 8))
  assert.equal(lots({ price: '30000' }, 100), units('3.33333', 8))
  assert.equal(lots({ side: 'SELL' }, 25), units('0.5', 8))
  assert.equal(lots({ price: '' }, 50), 0n)
})

test('a price goes tick by tick, and stays within what is allowed', () => {
  assert.equal(stepped('50000', 1, BTCUSDT), '50000.01')
  assert.equal(stepped('50000.005', -1, BTCUSDT), '49999.99')
  assert.equal(stepped('0.01', -10, BTCUSDT), '0.01')
  assert.equal(stepped('abc', 1, BTCUSDT), 'abc')
})
