import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Book, type Diff, type Snapshot } from '../src/pure/book.ts'
import { formatUnits, units } from '../src/pure/decimal.ts'
import { BTCUSDT } from './markets.ts'

type Levels = [string, string][]

const diff = (U: number, u: number, b: Levels = [], a: Levels = []): Diff => ({ U, u, b, a })
const snapshot = (lastUpdateId: number, bids: Levels = [], asks: Levels = []): Snapshot => ({ lastUpdateId, bids, asks })
const shown = (book: Book, step = 1_000_000n) =>
  [book.bidLevels(10, step), book.askLevels(10, step)].map((levels) =>
    levels.map(({ price, quantity, total }) => [formatUnits(price, 8, 2), formatUnits(quantity, 8, 2), formatUnits(total, 8, 2)].join(' ')),
  )

test('diffs that came before the snapshot are old, overlap it, or follow it', () => {
  const book = new Book(BTCUSDT)
  assert.equal(book.diff(diff(1, 4, [['10', '9']])), 'waiting')
  assert.equal(book.diff(diff(5, 8, [['10', '2']], [['11', '3']])), 'waiting')
  assert.equal(book.diff(diff(9, 9, [['10.5', '1']])), 'waiting')
  assert.equal(book.isThere, false)
  assert.equal(book.snapshot(snapshot(6, [['10', '1']], [['12', '1']])), 'applied')
  assert.deepEqual(shown(book), [
    ['10.50 1.00 1.00', '10.00 2.00 3.00'],
    ['11.00 3.00 3.00', '12.00 1.00 4.00'],
  ])
})

test('the first diff may begin right behind the snapshot', () => {
  const book = new Book(BTCUSDT)
  assert.equal(book.snapshot(snapshot(6, [['10', '1']])), 'applied')
  assert.equal(book.diff(diff(7, 7, [['10', '0']])), 'applied')
  assert.deepEqual(shown(book), [[], []])
})

test('a snapshot that is older than the diffs is refused, and the diffs are kept for the next one', () => {
  const book = new Book(BTCUSDT)
  book.diff(diff(9, 10, [['10', '2']]))
  assert.equal(book.snapshot(snapshot(7)), 'older')
  assert.equal(book.isThere, false)
  assert.equal(book.snapshot(snapshot(8)), 'applied')
  assert.deepEqual(shown(book)[0], ['10.00 2.00 2.00'])
})

test('a hole empties the book: an old one is never shown', () => {
  const book = new Book(BTCUSDT)
  book.snapshot(snapshot(6, [['10', '1']], [['11', '1']]))
  assert.equal(book.diff(diff(7, 8)), 'applied')
  assert.equal(book.diff(diff(8, 8)), 'old')
  assert.equal(book.diff(diff(10, 11)), 'gap')
  assert.equal(book.isThere, false)
  assert.deepEqual(shown(book), [[], []])
  assert.equal(book.bestBid(), null)
})

test('a hole among what waited is found when the snapshot comes', () => {
  const book = new Book(BTCUSDT)
  book.diff(diff(5, 6))
  book.diff(diff(8, 9))
  assert.equal(book.snapshot(snapshot(5)), 'gap')
  assert.equal(book.isThere, false)
})

test('what waits has a bound', () => {
  const book = new Book(BTCUSDT)
  for (let id = 1; id <= 1_000; id += 1) assert.equal(book.diff(diff(id, id)), 'waiting')
  assert.equal(book.diff(diff(1_001, 1_001)), 'gap')
})

test('prices are brought together away from the middle, and none is lost at the edge', () => {
  const book = new Book(BTCUSDT)
  const bids: Levels = [['10.09', '1'], ['10.01', '2'], ['9.99', '4']]
  const asks: Levels = [['10.11', '1'], ['10.19', '2'], ['10.20', '4'], ['10.21', '8']]
  book.snapshot(snapshot(1, bids, asks))
  assert.deepEqual(shown(book, 10_000_000n), [
    ['10.00 3.00 3.00', '9.90 4.00 7.00'],
    ['10.20 7.00 7.00', '10.30 8.00 15.00'],
  ])
  assert.equal(book.askLevels(1, 10_000_000n).length, 1)
})

test('what a market order would cost, as far as the book goes', () => {
  const book = new Book(BTCUSDT)
  book.snapshot(snapshot(1, [['10', '1'], ['9', '1']], [['11', '1'], ['12', '2']]))
  const one = units('1', 8)
  assert.equal(book.sweep('BUY', 2n * one), units('23', 8))
  assert.equal(book.sweep('SELL', (3n * one) / 2n), units('14.5', 8))
  assert.equal(book.sweep('SELL', 3n * one), null)
})

test('random diffs make the book that a plain map makes', () => {
  const book = new Book(BTCUSDT)
  book.snapshot(snapshot(0))
  const plain = { b: new Map<string, string>(), a: new Map<string, string>() }
  let seed = 7
  const chance = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
  for (let id = 1; id <= 2_000; id += 1) {
    const changes: { b: Levels; a: Levels } = { b: [], a: [] }
    for (const side of ['b', 'a'] as const) {
      const price = `${(side === 'b' ? 100 : 200) + chance(40)}.00`
      const quantity = `${chance(3)}.00`
      changes[side].push([price, quantity])
      if (quantity === '0.00') plain[side].delete(price)
      else plain[side].set(price, quantity)
    }
    book.diff(diff(id, id, changes.b, changes.a))
  }
  const read = (levels: readonly { price: bigint; quantity: bigint }[]) => levels.map(({ price, quantity }) => [formatUnits(price, 8, 2), formatUnits(quantity, 8, 2)])
  const ordered = (side: Map<string, string>, sign: number) => [...side].sort(([one], [other]) => sign * (Number(one) - Number(other)))
  assert.deepEqual(read(book.bidLevels(100, 1n)), ordered(plain.b, -1))
  assert.deepEqual(read(book.askLevels(100, 1n)), ordered(plain.a, 1))
})
