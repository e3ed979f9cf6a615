// Everything that is listed: its rules, its state with the reason, and how its price moved within a day. Rules and
// states are asked for again and again, tickers are heard.
import { marketOf, type Market, type MarketState, type SymbolInfo } from '../pure/market.ts'
import { Value } from '../value.ts'
import type { PublicStreams } from '../wire/public_streams.ts'
import { ask } from '../wire/rest.ts'

export interface Ticker {
  readonly last: string
  readonly changePercent: string
  readonly high: string
  readonly low: string
  readonly volume: string
  readonly quoteVolume: string
  readonly trades: number
}

interface DayRow {
  readonly symbol: string
  readonly lastPrice: string
  readonly priceChangePercent: string
  readonly highPrice: string
  readonly lowPrice: string
  readonly volume: string
  readonly quoteVolume: string
  readonly count: number
}

interface DayEvent {
  readonly s: string
  readonly c: string
  readonly P: string
  readonly h: string
  readonly l: string
  readonly v: string
  readonly q: string
  readonly n: number
}

const STATES_EVERY_MS = 2_000
const LISTINGS_EVERY_MS = 60_000

export class MarketList {
  readonly markets = new Value<ReadonlyMap<string, Market>>(new Map())
  readonly states = new Value<ReadonlyMap<string, MarketState>>(new Map())
  readonly tickers = new Value<ReadonlyMap<string, Ticker>>(new Map())
  private readMs = 0

  constructor(streams: PublicStreams) {
    streams.hear('!ticker@arr', {
      began: () => void this.readTickers(),
      heard: (data) => this.put((data as DayEvent[]).map((day) => [day.s, fromEvent(day)])),
      ended: () => undefined,
    })
  }

  start(): void {
    void this.read()
  }

  private async read(): Promise<void> {
    try {
      if (Date.now() - this.readMs > LISTINGS_EVERY_MS) {
        const { symbols } = await ask<{ symbols: SymbolInfo[] }>('/api/v3/exchangeInfo')
        this.markets.set(new Map(symbols.map((info) => [info.symbol, marketOf(info)])))
        this.readMs = Date.now()
      }
      const rows = await ask<({ symbol: string } & MarketState)[]>('/page/markets')
      this.states.set(new Map(rows.map((row) => [row.symbol, row])))
      if (rows.some((row) => !this.markets.get().has(row.symbol))) this.readMs = 0
    } catch (error) {
      // The connection's own state says it to the trader.
      console.info(`the markets: ${String(error)}`)
    }
    setTimeout(() => void this.read(), STATES_EVERY_MS)
  }

  private async readTickers(): Promise<void> {
    try {
      const rows = await ask<DayRow[]>('/api/v3/ticker/24hr')
      this.put(rows.map((row) => [row.symbol, fromRow(row)]))
    } catch (error) {
      console.info(`the tickers: ${String(error)}`)
    }
  }

  private put(rows: (readonly [string, Ticker])[]): void {
    this.tickers.set(new Map([...this.tickers.get(), ...rows]))
  }
}

const fromRow = (row: DayRow): Ticker => ({
  last: row.lastPrice,
  changePercent: row.priceChangePercent,
  high: row.highPrice,
  low: row.lowPrice,
  volume: row.volume,
  quoteVolume: row.quoteVolume,
  trades: row.count,
})

const fromEvent = (day: DayEvent): Ticker => ({
  last: day.c,
  changePercent: day.P,
  high: day.h,
  low: day.l,
  volume: day.v,
  quoteVolume: day.q,
  trades: day.n,
})
