// An order as a person fills it in, held against the market's rules and the account's funds before it is sent. Each
// "no" is a sentence about one field, and says what would be allowed. The exchange has the last word.
import { floorTo, grouped, parseUnits, trimmed } from './decimal.ts'
import { stateSentence, worth, type Market, type MarketState } from './market.ts'

export type Side = 'BUY' | 'SELL'
export type Kind = 'LIMIT' | 'MARKET' | 'LIMIT_MAKER'
export type TimeInForce = 'GTC' | 'IOC' | 'FOK'

export interface Draft {
  readonly side: Side
  readonly kind: Kind
  readonly timeInForce: TimeInForce
  readonly price: string
  readonly quantity: string
  /** `quantity` is an amount of the quote asset: of a market order alone. */
  readonly byAmount: boolean
}

export interface Circumstances {
  readonly state: MarketState
  /** Available, in units; null while they are not known. */
  readonly baseFree: bigint | null
  readonly quoteFree: bigint | null
  readonly bestBid: bigint | null
  readonly bestAsk: bigint | null
  /** What a market order of a quantity would cost now, null where the book has not so much; null while there is no book. */
  readonly sweep: ((quantity: bigint) => bigint | null) | null
}

export interface Refusal {
  readonly field: 'price' | 'quantity' | 'order'
  readonly sentence: string
}

export type Terms = Readonly<Record<string, string>>

export type Checked = { readonly terms: Terms; readonly total: bigint | null } | Refusal

const no = (field: Refusal['field'], sentence: string): Refusal => ({ field, sentence })

/** The terms of `order.place`, or the first thing that is wrong. */
export function checked(draft: Draft, market: Market, now: Circumstances): Checked {
  const { side, kind } = draft
  const state = now.state.status
  const rests = kind === 'LIMIT' && draft.timeInForce === 'GTC'
  const taken =
    state === 'TRADING' || (state === 'AUCTION_MATCH' && rests) || (state === 'PRE_TRADING' && (rests || kind === 'LIMIT_MAKER'))
  if (!taken) return no('order', stateSentence(now.state))

  const price = kind === 'MARKET' ? null : priceOf(draft.price, market)
  if (price !== null && typeof price !== 'bigint') return price
  if (draft.byAmount && kind === 'MARKET') return byAmount(draft, market, now)
  const quantity = quantityOf(draft.quantity, market, kind)
  if (typeof quantity !== 'bigint') return quantity

  const total = price === null ? (now.sweep?.(quantity) ?? null) : worth(market, price, quantity)
  if (price !== null && total !== null) {
    const refused = notionalRefusal(total, market)
    if (refused) return refused
  }
  if (price === null && total === null && now.sweep !== null) {
    return no('order', `Nobody ${side === 'BUY' ? 'sells' : 'buys'} so much at the moment: a market order needs someone to trade with.`)
  }
  if (kind === 'LIMIT_MAKER' && price !== null) {
    const taker = side === 'BUY' ? now.bestAsk !== null && price >= now.bestAsk : now.bestBid !== null && price <= now.bestBid
    if (taker) {
      const best = side === 'BUY' ? now.bestAsk! : now.bestBid!
      return no('price', `At this price it would trade at once, and post-only orders never do. Stay ${side === 'BUY' ? 'below' : 'above'} ${money(best, market)}.`)
    }
  }
  const short = fundsRefusal(side, quantity, total, market, now)
  if (short) return short

  const terms: Record<string, string> = {
    symbol: market.symbol,
    side,
    type: kind,
    quantity: trimmed(quantity, market.baseScale),
  }
  if (price !== null) terms['price'] = trimmed(price, market.quoteScale, market.priceDecimals)
  if (kind === 'LIMIT') terms['timeInForce'] = draft.timeInForce
  return { terms, total }
}

function byAmount(draft: Draft, market: Market, now: Circumstances): Checked {
  const amount = parseUnits(draft.quantity, market.quoteScale)
  if (amount === null) return no('quantity', notDecimal(draft.quantity, 'amount', market.quote, market.quoteScale))
  if (amount === 0n) return no('quantity', `Enter how much ${market.quote} to ${draft.side === 'BUY' ? 'spend' : 'receive'}.`)
  const refused = notionalRefusal(amount, market)
  if (refused) return refused
  if (draft.side === 'BUY' && now.quoteFree !== null && amount > now.quoteFree) {
    return no('quantity', `You have ${grouped(trimmed(now.quoteFree, market.quoteScale, 2))} ${market.quote} available.`)
  }
  const terms = {
    symbol: market.symbol,
    side: draft.side,
    type: draft.kind,
    quoteOrderQty: trimmed(amount, market.quoteScale),
  }
  return { terms, total: amount }
}

function priceOf(text: string, market: Market): bigint | Refusal {
  if (text.trim() === '') return no('price', `Enter a price in ${market.quote}.`)
  const price = parseUnits(text, market.quoteScale)
  if (price === null) return no('price', notDecimal(text, 'price', market.quote, market.quoteScale))
  if (price < market.leastPrice) return no('price', `The lowest price is ${money(market.leastPrice, market)} ${market.quote}.`)
  if (price > market.mostPrice) return no('price', `The highest price is ${money(market.mostPrice, market)} ${market.quote}.`)
  if (price % market.tick !== 0n) {
    const below = floorTo(price, market.tick)
    const above = money(below + market.tick, market)
    const allowed = below < market.leastPrice ? above : `${money(below, market)} or ${above}`
    return no('price', `Prices go in steps of ${trimmed(market.tick, market.quoteScale)} ${market.quote}: use ${allowed}.`)
  }
  return price
}

function quantityOf(text: string, market: Market, kind: Kind): bigint | Refusal {
  const unit = market.base
  const shown = (value: bigint) => `${grouped(trimmed(value, market.baseScale))} ${unit}`
  if (text.trim() === '') return no('quantity', `Enter a quantity in ${unit}.`)
  const quantity = parseUnits(text, market.baseScale)
  if (quantity === null) return no('quantity', notDecimal(text, 'quantity', unit, market.baseScale))
  if (quantity < market.leastQuantity) return no('quantity', `The smallest quantity is ${shown(market.leastQuantity)}.`)
  const most = kind === 'MARKET' ? market.mostMarketQuantity : market.mostQuantity
  if (quantity > most) return no('quantity', `The largest quantity of one order is ${shown(most)}.`)
  if (quantity % market.lot !== 0n) {
    const below = floorTo(quantity, market.lot)
    const above = shown(below + market.lot)
    const allowed = below < market.leastQuantity ? above : `${shown(below)} or ${above}`
    return no('quantity', `Quantities go in steps of ${shown(market.lot)}: use ${allowed}.`)
  }
  return quantity
}

function notionalRefusal(total: bigint, market: Market): Refusal | null {
  const shown = (value: bigint) => `${grouped(trimmed(value, market.quoteScale, market.priceDecimals))} ${market.quote}`
  if (total < market.leastNotional) return no('quantity', `The order is worth ${shown(total)}; the least is ${shown(market.leastNotional)}.`)
  if (total > market.mostNotional) return no('quantity', `The order is worth ${shown(total)}; the most is ${shown(market.mostNotional)}.`)
  return null
}

function fundsRefusal(side: Side, quantity: bigint, total: bigint | null, market: Market, now: Circumstances): Refusal | null {
  if (side === 'BUY') {
    if (now.quoteFree === null || total === null || total <= now.quoteFree) return null
    return no('quantity', `This needs ${grouped(trimmed(total, market.quoteScale, 2))} ${market.quote}, and you have ${grouped(trimmed(now.quoteFree, market.quoteScale, 2))} available.`)
  }
  if (now.baseFree === null || quantity <= now.baseFree) return null
  return no('quantity', `You have ${grouped(trimmed(now.baseFree, market.baseScale))} ${market.base} available.`)
}

function notDecimal(text: string, what: string, unit: string, scale: number): string {
  if (text.trim() === '') return `Enter ${what === 'amount' ? 'an' : 'a'} ${what} in ${unit}.`
  if (text.includes(',')) return `Write the ${what} with a point and without commas: 1234.5.`
  if (/^[\d.]+$/.test(text.trim()) && text.split('.').length === 2) return `${unit} has at most ${scale} decimals.`
  return `The ${what} is a number such as 1234.5.`
}

const money = (value: bigint, market: Market): string => grouped(trimmed(value, market.quoteScale, market.priceDecimals))

/** How much a share of the available funds buys or sells, in whole lots; 0 where nothing is known. */
export function share(percent: number, draft: Draft, market: Market, now: Circumstances): bigint {
  if (draft.side === 'SELL') {
    return now.baseFree === null ? 0n : floorTo((now.baseFree * BigInt(percent)) / 100n, market.lot)
  }
  const price = draft.kind === 'MARKET' ? now.bestAsk : parseUnits(draft.price, market.quoteScale)
  if (now.quoteFree === null || price === null || price === 0n) return 0n
  const amount = (now.quoteFree * BigInt(percent)) / 100n
  return floorTo((amount * 10n ** BigInt(market.baseScale)) / price, market.lot)
}

/** A price that is `steps` ticks away, within what the market allows. */
export function stepped(text: string, steps: number, market: Market): string {
  const price = parseUnits(text, market.quoteScale)
  if (price === null) return text
  const moved = floorTo(price, market.tick) + BigInt(steps) * market.tick
  const kept = moved < market.leastPrice ? market.leastPrice : moved > market.mostPrice ? market.mostPrice : moved
  return trimmed(kept, market.quoteScale, market.priceDecimals)
}
