// The candles of one symbol in one interval: the newest from REST, older ones when somebody looks at them, and the open
// one as it moves. Numbers here are for pixels, so they are floats.
import { waitMs } from '../pure/backoff.ts'
import type { Market } from '../pure/market.ts'
import type { PublicStreams } from '../wire/public_streams.ts'
import { ask } from '../wire/rest.ts'

export interface Candle {
  readonly openMs: number
  readonly open: number
  readonly high: number
  readonly low: number
  readonly close: number
  readonly volume: number
}

export const INTERVALS = ['1s', '1m', '5m', '15m', '1h', '4h', '1d', '1w'] as const
export type Interval = (typeof INTERVALS)[number]

const PAGE = 500
const KEPT_MOST = 10_000

type Row = readonly [number, string, string, string, string, string, ...unknown[]]

interface Event {
  readonly k: { readonly t: number; readonly o: string; readonly h: string; readonly l: string; readonly c: string; readonly v: string }
}

const candleOf = (openMs: number, open: string, high: string, low: string, close: string, volume: string): Candle => ({
  openMs,
  open: Number(open),
  high: Number(high),
  low: Number(low),
  close: Number(close),
  volume: Number(volume),
})

export interface CandleWatcher {
  /** All of them are others now. */
  readonly replaced: (candles: readonly Candle[]) => void
  /** The newest one moved, or a new one began. */
  readonly moved: (candle: Candle) => void
}

export class LiveCandles {
  candles: readonly Candle[] = []
  private readonly symbol: string
  private readonly interval: Interval
  private readonly watcher: CandleWatcher
  private readonly endHearing: () => void
  private timer: ReturnType<typeof setTimeout> | undefined
  private generation = 0
  private tries = 0
  private readingOlder = false
  private hasAll = false
  private isLive = false

  constructor(streams: PublicStreams, market: Market, interval: Interval, watcher: CandleWatcher) {
    this.symbol = market.symbol
    this.interval = interval
    this.watcher = watcher
    this.endHearing = streams.hear(`${market.symbol.toLowerCase()}@kline_${interval}`, {
      began: () => void this.readNewest(this.generation),
      heard: (data) => this.heard(data as Event),
      ended: () => this.pause(),
    })
  }

  end(): void {
    this.endHearing()
    this.pause()
  }

  /** When the left end is looked at. */
  async readOlder(): Promise<void> {
    const oldest = this.candles[0]
    if (this.readingOlder || this.hasAll || oldest === undefined || this.candles.length >= KEPT_MOST) return
    this.readingOlder = true
    const generation = this.generation
    try {
      const older = await this.read(oldest.openMs - 1)
      if (generation !== this.generation) return
      this.hasAll = older.length < PAGE
      this.candles = [...older, ...this.candles]
      this.watcher.replaced(this.candles)
    } catch (error) {
      console.info(`older candles of ${this.symbol}: ${String(error)}`)
    } finally {
      this.readingOlder = false
    }
  }

  private pause(): void {
    this.generation += 1
    this.isLive = false
    clearTimeout(this.timer)
  }

  private heard({ k }: Event): void {
    const candle = candleOf(k.t, k.o, k.h, k.l, k.c, k.v)
    const last = this.candles.at(-1)
    if (!this.isLive || (last !== undefined && candle.openMs < last.openMs)) return
    this.candles = candle.openMs === last?.openMs ? [...this.candles.slice(0, -1), candle] : [...this.candles, candle]
    this.watcher.moved(candle)
  }

  private async read(endMs?: number): Promise<Candle[]> {
    const rows = await ask<readonly Row[]>('/api/v3/klines', {
      symbol: this.symbol,
      interval: this.interval,
      limit: PAGE,
      ...(endMs === undefined ? {} : { endTime: endMs }),
    })
    return rows.map(([openMs, open, high, low, close, volume]) => candleOf(openMs, open, high, low, close, volume))
  }

  private async readNewest(generation: number): Promise<void> {
    try {
      const newest = await this.read()
      if (generation !== this.generation) return
      this.candles = newest
      this.isLive = true
      this.hasAll = newest.length < PAGE
      this.tries = 0
      this.watcher.replaced(newest)
    } catch (error) {
      if (generation !== this.generation) return
      console.info(`the candles of ${this.symbol}: ${String(error)}`)
      this.timer = setTimeout(() => void this.readNewest(generation), waitMs(this.tries, Math.random()))
      this.tries += 1
    }
  }
}
