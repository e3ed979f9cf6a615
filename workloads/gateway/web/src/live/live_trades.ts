// The last trades of one symbol, newest first: those before the subscription from REST, then each as it happens.
import { waitMs } from '../pure/backoff.ts'
import type { Market } from '../pure/market.ts'
import type { PublicStreams } from '../wire/public_streams.ts'
import { ask } from '../wire/rest.ts'

export interface PublicTrade {
  readonly id: number
  readonly price: string
  readonly quantity: string
  readonly timeMs: number
  readonly sellerTook: boolean
}

const KEPT = 60

interface Row {
  readonly id: number
  readonly price: string
  readonly qty: string
  readonly time: number
  readonly isBuyerMaker: boolean
}

interface Event {
  readonly t: number
  readonly p: string
  readonly q: string
  readonly T: number
  readonly m: boolean
}

export class LiveTrades {
  trades: readonly PublicTrade[] = []
  isLive = false
  private readonly market: Market
  private readonly changed: (fresh: PublicTrade | null) => void
  private readonly endHearing: () => void
  private timer: ReturnType<typeof setTimeout> | undefined
  private generation = 0
  private tries = 0

  constructor(streams: PublicStreams, market: Market, changed: (fresh: PublicTrade | null) => void) {
    this.market = market
    this.changed = changed
    this.endHearing = streams.hear(`${market.symbol.toLowerCase()}@trade`, {
      began: () => {
        this.generation += 1
        void this.readLast(this.generation)
      },
      heard: (data) => {
        const { t, p, q, T, m } = data as Event
        const fresh = { id: t, price: p, quantity: q, timeMs: T, sellerTook: m }
        this.add([fresh])
        this.changed(fresh)
      },
      ended: () => this.pause(),
    })
  }

  end(): void {
    this.endHearing()
    this.pause()
  }

  private pause(): void {
    this.generation += 1
    clearTimeout(this.timer)
    this.isLive = false
    this.changed(null)
  }

  private add(more: readonly PublicTrade[]): void {
    const byId = new Map([...this.trades, ...more].map((trade) => [trade.id, trade]))
    this.trades = [...byId.values()].sort((one, other) => other.id - one.id).slice(0, KEPT)
  }

  private async readLast(generation: number): Promise<void> {
    try {
      const rows = await ask<readonly Row[]>('/api/v3/trades', { symbol: this.market.symbol, limit: KEPT })
      if (generation !== this.generation) return
      this.add(rows.map(({ id, price, qty, time, isBuyerMaker }) => ({ id, price, quantity: qty, timeMs: time, sellerTook: isBuyerMaker })))
      this.isLive = true
      this.tries = 0
      this.changed(null)
    } catch (error) {
      if (generation !== this.generation) return
      console.info(`the trades of ${this.market.symbol}: ${String(error)}`)
      this.timer = setTimeout(() => void this.readLast(generation), waitMs(this.tries, Math.random()))
      this.tries += 1
    }
  }
}
