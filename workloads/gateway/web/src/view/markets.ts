// All markets with their last price and how it moved within a day; one of them is looked at.
import { grouped, trimmed, units } from '../pure/decimal.ts'
import type { Market, MarketState } from '../pure/market.ts'
import type { Ticker } from '../live/market_list.ts'
import { byId, element, setText } from './dom.ts'

interface Row {
  readonly row: HTMLTableRowElement
  readonly button: HTMLButtonElement
  readonly last: HTMLTableCellElement
  readonly change: HTMLTableCellElement
}

export const priceText = (market: Market, text: string): string =>
  grouped(trimmed(units(text, market.quoteScale), market.quoteScale, market.priceDecimals))

/** "+1.25%", cut off to two decimals, with the class of its color. */
export function changeText(percent: string): { readonly text: string; readonly tone: string } {
  const hundredths = units(percent, 3) / 10n
  const sign = hundredths > 0n ? '+' : hundredths < 0n ? '−' : ''
  const digits = String(hundredths < 0n ? -hundredths : hundredths).padStart(3, '0')
  return { text: `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}%`, tone: hundredths > 0n ? 'up' : hundredths < 0n ? 'down' : '' }
}

export class MarketsView {
  private readonly body = byId<HTMLTableSectionElement>('markets')
  private readonly search = byId<HTMLInputElement>('market-search')
  private readonly rows = new Map<string, Row>()
  private readonly choose: (symbol: string) => void

  constructor(choose: (symbol: string) => void) {
    this.choose = choose
    this.search.addEventListener('input', () => this.filter())
    this.search.addEventListener('keydown', (event) => {
      const first = [...this.rows.values()].find(({ row }) => !row.hidden)
      if (event.key === 'Enter' && first) first.button.click()
      if (event.key === 'ArrowDown' && first) first.button.focus()
    })
    this.body.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
      if (step === undefined) return
      event.preventDefault()
      const shown = [...this.rows.values()].filter(({ row }) => !row.hidden)
      const at = shown.findIndex(({ button }) => button === document.activeElement)
      shown[Math.min(shown.length - 1, Math.max(0, at + step))]?.button.focus()
    })
  }

  focus(): void {
    this.search.focus()
    this.search.select()
  }

  show(markets: ReadonlyMap<string, Market>, tickers: ReadonlyMap<string, Ticker>, states: ReadonlyMap<string, MarketState>, looked: string): void {
    for (const market of markets.values()) {
      const { row, button, last, change } = this.rows.get(market.symbol) ?? this.add(market)
      const ticker = tickers.get(market.symbol)
      const state = states.get(market.symbol)?.status ?? 'TRADING'
      row.classList.toggle('chosen', market.symbol === looked)
      button.setAttribute('aria-current', String(market.symbol === looked))
      row.classList.toggle('closed', state !== 'TRADING')
      setText(last, ticker && ticker.trades > 0 ? priceText(market, ticker.last) : '–')
      const { text, tone } = changeText(ticker?.changePercent ?? '0')
      setText(change, state === 'TRADING' ? text : state === 'HALT' ? 'Halted' : 'Closed')
      change.className = `number ${state === 'TRADING' ? tone : 'closed'}`
    }
    for (const [symbol, { row }] of this.rows) {
      if (markets.has(symbol)) continue
      row.remove()
      this.rows.delete(symbol)
    }
  }

  private add(market: Market): Row {
    const button = element('button', { type: 'button', onclick: () => this.choose(market.symbol) }, market.base, element('span', {}, `/${market.quote}`))
    const last = element('td', { class: 'number' })
    const change = element('td', { class: 'number' })
    const row = element('tr', { onclick: (event) => event.target !== button && this.choose(market.symbol) }, element('th', { scope: 'row' }, button), last, change)
    this.body.append(row)
    const made = { row, button, last, change }
    this.rows.set(market.symbol, made)
    return made
  }

  private filter(): void {
    const wanted = this.search.value.trim().toUpperCase().replaceAll('/', '')
    for (const [symbol, { row }] of this.rows) row.hidden = !symbol.includes(wanted)
  }
}
