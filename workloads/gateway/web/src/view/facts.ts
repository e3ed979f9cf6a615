// The line at the top: which market, its last price, its day, and whether it trades.
import { compact, units } from '../pure/decimal.ts'
import { stateSentence, type Market, type MarketState } from '../pure/market.ts'
import type { Ticker } from '../live/market_list.ts'
import { byId, setText } from './dom.ts'
import { changeText, priceText } from './markets.ts'

const TAGS: Readonly<Record<string, string>> = {
  HALT: 'Halted',
  BREAK: 'Cancel only',
  PRE_TRADING: 'Post-only',
  AUCTION_MATCH: 'Auction',
}

export function showMarket(market: Market, ticker: Ticker | undefined, state: MarketState | undefined): void {
  setText(byId('symbol'), `${market.base}/${market.quote}`)
  const traded = ticker !== undefined && ticker.trades > 0
  const { text, tone } = changeText(ticker?.changePercent ?? '0')
  setText(byId('fact-change'), traded ? text : '–')
  byId('fact-change').className = tone
  setText(byId('fact-high'), traded ? priceText(market, ticker.high) : '–')
  setText(byId('fact-low'), traded ? priceText(market, ticker.low) : '–')
  setText(byId('fact-volume'), traded ? `${compact(units(ticker.quoteVolume, market.quoteScale), market.quoteScale)} ${market.quote}` : '–')

  const sentence = state ? stateSentence(state) : ''
  const notice = byId('notice')
  notice.hidden = !sentence
  setText(notice, sentence)
  const tag = byId('market-state')
  tag.hidden = !sentence
  setText(tag, state ? (TAGS[state.status] ?? state.status) : '')
}

export function showLast(market: Market, price: string, direction: number): void {
  const text = priceText(market, price)
  for (const id of ['fact-last', 'book-last']) {
    const node = byId(id)
    setText(node, text)
    node.className = direction > 0 ? 'up' : direction < 0 ? 'down' : ''
  }
  document.title = `${text} ${market.base}/${market.quote} · OpenBourse`
}

export function forgetLast(market: Market): void {
  for (const id of ['fact-last', 'book-last']) {
    setText(byId(id), '–')
    byId(id).className = ''
  }
  document.title = `${market.base}/${market.quote} · OpenBourse`
}
