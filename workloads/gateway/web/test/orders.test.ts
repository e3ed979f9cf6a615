import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitMs } from '../src/pure/backoff.ts'
import { Fills, fillOf, isOpen, orderOf, Orders, statusWord, type ExecutionReport, type Order } from '../src/pure/orders.ts'
import { inWords } from '../src/pure/refusals.ts'

const ORDER: Order = {
  symbol: 'BTCUSDT', orderId: 7, clientOrderId: 'mine', side: 'BUY', type: 'LIMIT', timeInForce: 'GTC', price: '10', origQty: '2',
  executedQty: '0', cummulativeQuoteQty: '0', origQuoteOrderQty: '0', status: 'NEW', time: 100, updateTime: 100,
}
const REPORT: ExecutionReport = {
  e: 'executionReport', s: 'BTCUSDT', c: 'mine', C: '', S: 'BUY', o: 'LIMIT', f: 'GTC', q: '2', p: '10', x: 'TRADE', X: 'PARTIALLY_FILLED', i: 7,
  l: '1', z: '1', L: '9.5', n: '0.001', N: 'BTC', T: 200, t: 33, m: false, O: 100, Z: '9.5', Y: '9.5', Q: '0',
}

test('the newest report is the order, in whatever order they come', () => {
  const orders = new Orders()
  orders.put(orderOf(REPORT))
  orders.put(ORDER)
  assert.deepEqual(orders.listed().map(({ status, executedQty }) => [status, executedQty]), [['PARTIALLY_FILLED', '1']])
  orders.put(orderOf({ ...REPORT, x: 'TRADE', X: 'FILLED', z: '2', T: 300 }))
  orders.put({ ...ORDER, updateTime: 300 })
  assert.equal(statusWord(orders.listed()[0]!), 'Filled')
})

test('a cancel report names the order by its own name', () => {
  assert.equal(orderOf({ ...REPORT, x: 'CANCELED', X: 'CANCELED', c: 'the-cancel', C: 'mine' }).clientOrderId, 'mine')
  assert.equal(orderOf({ ...REPORT, x: 'REPLACED', X: 'NEW', c: 'new-name', C: 'mine' }).clientOrderId, 'new-name')
})

test('what an answer does not list as open is not open', () => {
  const orders = new Orders()
  orders.put(ORDER)
  orders.put({ ...ORDER, orderId: 8, status: 'FILLED' })
  orders.openAre([{ ...ORDER, orderId: 9, time: 101 }])
  assert.deepEqual(orders.listed().map(({ orderId }) => orderId), [9, 8])
  assert.deepEqual(orders.listed().filter(isOpen).map(({ orderId }) => orderId), [9])
})

test('a trade is kept once, however often it is told', () => {
  const fills = new Fills()
  const fill = fillOf(REPORT)
  assert.ok(fill)
  fills.put(fill)
  fills.put({ ...fill })
  assert.equal(fills.listed().length, 1)
  fills.put({ ...fill, isBuyer: false })
  assert.equal(fills.listed().length, 2)
  assert.equal(fillOf({ ...REPORT, x: 'NEW' }), null)
})

test('what is kept has a bound, and open orders are never dropped', () => {
  const orders = new Orders()
  const fills = new Fills()
  orders.put(ORDER)
  for (let id = 100; id < 5_000; id += 1) {
    orders.put({ ...ORDER, orderId: id, status: 'FILLED', time: id })
    fills.put({ ...fillOf(REPORT)!, id })
  }
  assert.ok(orders.listed().length <= 2_001)
  assert.ok(fills.listed().length <= 2_000)
  assert.equal(orders.listed().filter(isOpen).length, 1)
  assert.equal(fills.listed()[0]!.id, 4_999)
})

test('waits grow up to a bound', () => {
  assert.deepEqual([0, 1, 2, 10, 1_000].map((tries) => waitMs(tries, 0.5)), [300, 600, 1_200, 10_000, 10_000])
  assert.deepEqual([waitMs(0, 0), waitMs(0, 1)], [225, 375])
})

test('a refusal is said in words, with what the exchange said', () => {
  assert.deepEqual(inWords({ code: -2010, msg: 'Account has insufficient balance for requested action.' }), {
    sentence: 'You do not have enough available for this order.',
    said: 'Account has insufficient balance for requested action. (-2010)',
  })
  assert.equal(inWords({ code: -9, msg: 'x', detail: 'why' }).said, 'x — why (-9)')
})
