// The trades of everybody, newest first.
import { formatUnits, grouped, units } from '../pure/decimal.ts'
import type { Market } from '../pure/market.ts'
import { clockTime } from '../pure/times.ts'
import type { LiveTrades } from '../live/live_trades.ts'
import { byId, eachFrame, element, setText } from './dom.ts'

const ROWS = 60

export class TradesView {
  private readonly list = byId<HTMLOListElement>('trades')
  private readonly rows = Array.from({ length: ROWS }, () => {
    const cells = [element('span'), element('span'), element('time')]
    const row = element('li', { hidden: true }, ...cells)
    this.list.append(row)
    return { row, cells }
  })
  private trades: LiveTrades | null = null
  private market: Market | null = null
  readonly changed = eachFrame(() => this.paint())

  look(market: Market, trades: LiveTrades): void {
    this.market = market
    this.trades = trades
    this.changed()
  }

  private paint(): void {
    const { market, trades } = this
    if (market === null || trades === null) return
    this.list.classList.toggle('stale', !trades.isLive)
    this.rows.forEach(({ row, cells }, index) => {
      const trade = trades.trades[index]
      row.hidden = trade === undefined
      if (trade === undefined) return
      setText(cells[0]!, grouped(formatUnits(units(trade.price, market.quoteScale), market.quoteScale, market.priceDecimals)))
      setText(cells[1]!, grouped(formatUnits(units(trade.quantity, market.baseScale), market.baseScale, market.quantityDecimals)))
      setText(cells[2]!, clockTime(trade.timeMs))
      row.className = trade.sellerTook ? 'down' : 'up'
    })
  }
}
