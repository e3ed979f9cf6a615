// The order book of one symbol, from a snapshot and the diffs after it, as Binance has it: a diff that overlaps the
// snapshot is applied, and each one after that must begin where the last one ended. What does not is a gap, and then
// nothing is shown. No socket, no clock.
import { ceilTo, floorTo, units } from './decimal.ts'
import type { Market } from './market.ts'

export interface Diff {
  readonly U: number
  readonly u: number
  readonly b: readonly (readonly [string, string])[]
  readonly a: readonly (readonly [string, string])[]
}

export interface Snapshot {
  readonly lastUpdateId: number
  readonly bids: readonly (readonly [string, string])[]
  readonly asks: readonly (readonly [string, string])[]
}

export interface Level {
  readonly price: bigint
  readonly quantity: bigint
  /** Of this level and all better ones. */
  readonly total: bigint
}

/** Diffs that wait for a snapshot; one that takes longer is given up and asked for again. */
const WAITING_MOST = 1_000

/** One side: sizes by price, and the prices in order, best first. */
class Side {
  readonly sizes = new Map<bigint, bigint>()
  private sorted: bigint[] | null = []
  private readonly isBid: boolean

  constructor(isBid: boolean) {
    this.isBid = isBid
  }

  set(price: bigint, quantity: bigint): void {
    if (quantity === 0n) {
      if (this.sizes.delete(price)) this.sorted = null
    } else {
      if (!this.sizes.has(price)) this.sorted = null
      this.sizes.set(price, quantity)
    }
  }

  prices(): readonly bigint[] {
    if (this.sorted === null) {
      this.sorted = [...this.sizes.keys()].sort((one, other) => (one < other ? -1 : one > other ? 1 : 0))
      if (this.isBid) this.sorted.reverse()
    }
    return this.sorted
  }

  /** The best `count` levels, prices brought together in `step`s, away from the middle so that none looks better. */
  levels(count: number, step: bigint): Level[] {
    const found: Level[] = []
    let total = 0n
    let price = -1n
    let quantity = 0n
    for (const exact of this.prices()) {
      const shown = this.isBid ? floorTo(exact, step) : ceilTo(exact, step)
      if (shown !== price) {
        if (quantity > 0n) found.push({ price, quantity, total })
        if (found.length === count) return found
        price = shown
        quantity = 0n
      }
      const size = this.sizes.get(exact)!
      quantity += size
      total += size
    }
    if (quantity > 0n) found.push({ price, quantity, total })
    return found
  }
}

export class Book {
  private readonly market: Market
  private bids = new Side(true)
  private asks = new Side(false)
  private waiting: Diff[] = []
  /** The last update that is in the book. Null: the book is not there. */
  private updateId: number | null = null

  constructor(market: Market) {
    this.market = market
  }

  get isThere(): boolean {
    return this.updateId !== null
  }

  /** Forgets everything: what follows is a new subscription, and then a new snapshot. */
  clear(): void {
    this.updateId = null
    this.waiting = []
    this.bids = new Side(true)
    this.asks = new Side(false)
  }

  /** "waiting": kept until there is a snapshot. "gap": something is missing, the book is not there any more. */
  diff(diff: Diff): 'applied' | 'old' | 'waiting' | 'gap' {
    if (this.updateId === null) {
      if (this.waiting.length === WAITING_MOST) {
        this.clear()
        return 'gap'
      }
      this.waiting.push(diff)
      return 'waiting'
    }
    if (diff.u <= this.updateId) return 'old'
    if (diff.U > this.updateId + 1) {
      this.clear()
      return 'gap'
    }
    this.apply(diff.b, diff.a)
    this.updateId = diff.u
    return 'applied'
  }

  /** "older": the snapshot is older than the diffs that are here; another one is needed. "gap": as for a diff. */
  snapshot(snapshot: Snapshot): 'applied' | 'older' | 'gap' {
    const first = this.waiting[0]
    if (first !== undefined && snapshot.lastUpdateId + 1 < first.U) return 'older'
    const waiting = this.waiting
    this.clear()
    this.apply(snapshot.bids, snapshot.asks)
    this.updateId = snapshot.lastUpdateId
    for (const diff of waiting) {
      if (this.diff(diff) === 'gap') return 'gap'
    }
    return 'applied'
  }

  bestBid = (): bigint | null => this.bids.prices()[0] ?? null
  bestAsk = (): bigint | null => this.asks.prices()[0] ?? null

  bidLevels = (count: number, step: bigint): Level[] => this.bids.levels(count, step)
  askLevels = (count: number, step: bigint): Level[] => this.asks.levels(count, step)

  /** What buying (or selling) `quantity` at once would cost (or bring), or null where the book has not so much. */
  sweep(side: 'BUY' | 'SELL', quantity: bigint): bigint | null {
    const taken = side === 'BUY' ? this.asks : this.bids
    const one = 10n ** BigInt(this.market.baseScale)
    let left = quantity
    let worth = 0n
    for (const price of taken.prices()) {
      const size = taken.sizes.get(price)!
      const part = size < left ? size : left
      worth += (price * part) / one
      left -= part
      if (left === 0n) return worth
    }
    return null
  }

  /** How much of the base asset `amount` of the quote asset buys at once, in whole lots. */
  buysFor(amount: bigint): bigint {
    const one = 10n ** BigInt(this.market.baseScale)
    let left = amount
    let bought = 0n
    for (const price of this.asks.prices()) {
      const size = this.asks.sizes.get(price)!
      const cost = (price * size + one - 1n) / one
      if (cost > left) {
        bought += floorTo((left * one) / price, this.market.lot)
        break
      }
      bought += size
      left -= cost
    }
    return bought
  }

  private apply(bids: Diff['b'], asks: Diff['a']): void {
    const { quoteScale, baseScale } = this.market
    for (const [price, quantity] of bids) this.bids.set(units(price, quoteScale), units(quantity, baseScale))
    for (const [price, quantity] of asks) this.asks.set(units(price, quoteScale), units(quantity, baseScale))
  }
}
