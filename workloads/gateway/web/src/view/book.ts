// The order book: levels with bars of how much stands up to them, the spread between, and a pick by click or key.
import { formatUnits, grouped, trimmed } from '../pure/decimal.ts'
import type { Book, Level } from '../pure/book.ts'
import type { Market } from '../pure/market.ts'
import { byId, eachFrame, element, setText } from './dom.ts'

export interface Pick {
  readonly price: bigint
  /** Of this level and all better ones. */
  readonly total: bigint
  readonly withQuantity: boolean
}

interface Row {
  readonly node: HTMLElement
  readonly cells: readonly HTMLElement[]
  level: Level | null
}

const ROWS_MOST = 40
const STEPS = [1n, 10n, 100n, 1_000n, 10_000n]

class SideView {
  readonly list: HTMLElement
  private readonly isAsk: boolean
  private readonly rows: Row[] = []
  private active = 0
  private readonly pick: (pick: Pick) => void

  constructor(id: string, isAsk: boolean, pick: (pick: Pick) => void) {
    this.list = byId(id)
    this.isAsk = isAsk
    this.pick = pick
    for (let index = 0; index < ROWS_MOST; index += 1) this.rows.push(this.row(id, index))
    this.list.addEventListener('keydown', (event) => this.key(event))
    this.list.addEventListener('focus', () => this.mark(this.active))
    this.list.addEventListener('blur', () => this.mark(-1))
  }

  /** How many rows there is room for. */
  room(): number {
    const height = this.rows[0]?.node.offsetHeight || 20
    return Math.max(1, Math.min(ROWS_MOST, Math.floor(this.list.clientHeight / height)))
  }

  show(levels: readonly Level[], market: Market, most: bigint, own: ReadonlySet<bigint>): void {
    this.rows.forEach((row, index) => {
      const level = levels[index] ?? null
      row.level = level
      row.node.hidden = level === null
      if (level === null) return
      const texts = [
        grouped(formatUnits(level.price, market.quoteScale, market.priceDecimals)),
        grouped(formatUnits(level.quantity, market.baseScale, market.quantityDecimals)),
        grouped(formatUnits(level.total, market.baseScale, market.quantityDecimals)),
      ]
      texts.forEach((text, cell) => setText(row.cells[cell]!, text))
      const share = most === 0n ? 0 : Number((level.total * 1000n) / most) / 1000
      row.node.style.setProperty('--share', String(share))
      row.node.classList.toggle('own', own.has(level.price))
    })
  }

  private row(id: string, index: number): Row {
    const cells = [element('span'), element('span'), element('span')]
    const node = element('div', { class: 'level', role: 'option', id: `${id}-${index}`, 'aria-selected': 'false', hidden: true }, ...cells)
    const row: Row = { node, cells, level: null }
    cells.forEach((cell, column) => cell.addEventListener('click', () => this.choose(row, column > 0)))
    // The best of the sells stands at the bottom, next to the spread.
    if (this.isAsk) this.list.prepend(node)
    else this.list.append(node)
    return row
  }

  private choose(row: Row, withQuantity: boolean): void {
    if (row.level) this.pick({ price: row.level.price, total: row.level.total, withQuantity })
  }

  private mark(index: number): void {
    this.rows.forEach(({ node }, each) => node.setAttribute('aria-selected', String(each === index)))
    if (index >= 0) this.list.setAttribute('aria-activedescendant', this.rows[index]!.node.id)
    else this.list.removeAttribute('aria-activedescendant')
  }

  private key(event: KeyboardEvent): void {
    const outward = this.isAsk ? { ArrowUp: 1, ArrowDown: -1 } : { ArrowUp: -1, ArrowDown: 1 }
    const step = outward[event.key as 'ArrowUp' | 'ArrowDown']
    const last = this.rows.findLastIndex(({ node }) => !node.hidden)
    if (step !== undefined) {
      this.active = Math.max(0, Math.min(last, this.active + step))
      this.mark(this.active)
    } else if (event.key === 'Enter' || event.key === ' ') {
      this.choose(this.rows[Math.min(this.active, Math.max(0, last))]!, event.shiftKey)
    } else {
      return
    }
    event.preventDefault()
  }
}

export class BookView {
  private readonly asks: SideView
  private readonly bids: SideView
  private readonly step = byId<HTMLSelectElement>('book-step')
  private readonly away = byId('book-away')
  private book: Book | null = null
  private market: Market | null = null
  private own: ReadonlySet<bigint> = new Set()
  private awayText = 'Connecting …'
  readonly changed = eachFrame(() => this.paint())

  constructor(pick: (pick: Pick) => void) {
    this.asks = new SideView('book-asks', true, pick)
    this.bids = new SideView('book-bids', false, pick)
    this.step.addEventListener('change', this.changed)
    new ResizeObserver(this.changed).observe(this.asks.list)
  }

  look(market: Market, book: Book): void {
    this.book = book
    if (this.market?.symbol !== market.symbol) {
      const options = STEPS.map((times) => {
        const step = market.tick * times
        return element('option', { value: String(step) }, trimmed(step, market.quoteScale))
      })
      this.step.replaceChildren(...options)
    }
    this.market = market
    this.changed()
  }

  /** Prices of the trader's own open orders. */
  setOwn(prices: ReadonlySet<bigint>): void {
    this.own = prices
    this.changed()
  }

  /** Why there is no book, when there is none. */
  setAway(text: string): void {
    this.awayText = text
    this.changed()
  }

  focus(): void {
    this.bids.list.focus()
  }

  private paint(): void {
    const { book, market } = this
    if (book === null || market === null) return
    const step = BigInt(this.step.value || String(market.tick))
    const bids = book.bidLevels(this.bids.room(), step)
    const asks = book.askLevels(this.asks.room(), step)
    const most = [bids.at(-1)?.total ?? 0n, asks.at(-1)?.total ?? 0n].reduce((one, other) => (one > other ? one : other))
    this.bids.show(bids, market, most, this.own)
    this.asks.show(asks, market, most, this.own)
    this.away.hidden = book.isThere && bids.length + asks.length > 0
    setText(this.away, book.isThere ? 'No orders in the book yet.' : this.awayText)
    setText(byId('spread-text'), spreadText(book, market))
  }
}

function spreadText(book: Book, market: Market): string {
  const bid = book.bestBid()
  const ask = book.bestAsk()
  if (bid === null || ask === null) return ''
  const spread = ask - bid
  // Hundredths of a basis point of the middle.
  const share = (spread * 2_000_000n) / (ask + bid)
  return `Spread ${grouped(trimmed(spread, market.quoteScale, market.priceDecimals))} (${formatUnits(share, 4, share < 100n ? 4 : 2)}%)`
}
