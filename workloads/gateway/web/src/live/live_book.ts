// The book of one symbol as it is now: the stream's diffs and a snapshot, brought together by `Book`. While it is not
// whole it is not there, and nobody is shown an old one.
import { Book, type Diff, type Snapshot } from '../pure/book.ts'
import { waitMs } from '../pure/backoff.ts'
import type { Market } from '../pure/market.ts'
import type { PublicStreams } from '../wire/public_streams.ts'
import { ask } from '../wire/rest.ts'

const LEVELS = 1_000
/** A snapshot that is older than the first diff: the next one is asked for so much later. */
const OLDER_WAIT_MS = 120

export class LiveBook {
  readonly book: Book
  private readonly market: Market
  private readonly changed: () => void
  private readonly endHearing: () => void
  private timer: ReturnType<typeof setTimeout> | undefined
  /** Of the subscription, or of the gap after it: an answer for an older one is too late. */
  private generation = 0
  private tries = 0

  constructor(streams: PublicStreams, market: Market, changed: () => void) {
    this.market = market
    this.book = new Book(market)
    this.changed = changed
    this.endHearing = streams.hear(`${market.symbol.toLowerCase()}@depth@100ms`, {
      began: () => this.begin(),
      heard: (data) => this.heard(data as Diff),
      ended: () => this.forget(),
    })
  }

  end(): void {
    this.endHearing()
    this.forget()
  }

  private forget(): void {
    this.generation += 1
    clearTimeout(this.timer)
    this.book.clear()
    this.changed()
  }

  private begin(): void {
    this.forget()
    void this.readSnapshot(this.generation)
  }

  private heard(diff: Diff): void {
    switch (this.book.diff(diff)) {
      case 'applied':
        this.changed()
        break
      case 'gap':
        this.begin()
        // It is the first of those that wait for the snapshot.
        this.book.diff(diff)
        break
    }
  }

  private async readSnapshot(generation: number): Promise<void> {
    let again = OLDER_WAIT_MS
    try {
      const snapshot = await ask<Snapshot>('/api/v3/depth', { symbol: this.market.symbol, limit: LEVELS })
      if (generation !== this.generation) return
      const outcome = this.book.snapshot(snapshot)
      if (outcome === 'applied') {
        this.tries = 0
        this.changed()
        return
      }
    } catch (error) {
      if (generation !== this.generation) return
      console.info(`the book of ${this.market.symbol}: ${String(error)}`)
      again = waitMs(this.tries, Math.random())
    }
    this.tries += 1
    this.timer = setTimeout(() => void this.readSnapshot(generation), again)
  }
}
