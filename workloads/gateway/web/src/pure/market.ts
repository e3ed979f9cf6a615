// One market as exchangeInfo describes it, in whole numbers. Values in, values out.
import { decimalsOf, units } from './decimal.ts'

export interface Market {
  readonly symbol: string
  readonly base: string
  readonly quote: string
  readonly baseScale: number
  readonly quoteScale: number
  /** Prices in units of the quote asset, quantities in units of the base asset. */
  readonly tick: bigint
  readonly leastPrice: bigint
  readonly mostPrice: bigint
  readonly lot: bigint
  readonly leastQuantity: bigint
  readonly mostQuantity: bigint
  readonly mostMarketQuantity: bigint
  readonly leastNotional: bigint
  readonly mostNotional: bigint
  readonly priceDecimals: number
  readonly quantityDecimals: number
}

/** TRADING, HALT, BREAK (cancels alone), PRE_TRADING (post-only), AUCTION_MATCH; and why, where somebody said so. */
export interface MarketState {
  readonly status: string
  readonly reason: string
}

interface Filter {
  readonly filterType: string
  readonly [name: string]: unknown
}

export interface SymbolInfo {
  readonly symbol: string
  readonly status: string
  readonly baseAsset: string
  readonly quoteAsset: string
  readonly baseAssetPrecision: number
  readonly quoteAssetPrecision: number
  readonly filters: readonly Filter[]
}

/** Throws where a filter that every symbol has is missing. */
export function marketOf(info: SymbolInfo): Market {
  const filter = (name: string) => {
    const found = info.filters.find((each) => each.filterType === name)
    if (!found) throw new Error(`${info.symbol} has no ${name}`)
    return (field: string) => String(found[field])
  }
  const price = filter('PRICE_FILTER')
  const lots = filter('LOT_SIZE')
  const marketLots = filter('MARKET_LOT_SIZE')
  const notional = filter('NOTIONAL')
  const baseScale = info.baseAssetPrecision
  const quoteScale = info.quoteAssetPrecision
  return {
    symbol: info.symbol,
    base: info.baseAsset,
    quote: info.quoteAsset,
    baseScale,
    quoteScale,
    tick: units(price('tickSize'), quoteScale),
    leastPrice: units(price('minPrice'), quoteScale),
    mostPrice: units(price('maxPrice'), quoteScale),
    lot: units(lots('stepSize'), baseScale),
    leastQuantity: units(lots('minQty'), baseScale),
    mostQuantity: units(lots('maxQty'), baseScale),
    mostMarketQuantity: units(marketLots('maxQty'), baseScale),
    leastNotional: units(notional('minNotional'), quoteScale),
    mostNotional: units(notional('maxNotional'), quoteScale),
    priceDecimals: decimalsOf(price('tickSize')),
    quantityDecimals: decimalsOf(lots('stepSize')),
  }
}

/** What the state lets a trader do, in a sentence; empty while the market trades. */
export function stateSentence({ status, reason }: MarketState): string {
  const because = reason ? ` Reason: ${reason}.` : ''
  switch (status) {
    case 'TRADING':
      return ''
    case 'HALT':
      return `Trading is halted: no orders and no cancels are taken.${because}`
    case 'BREAK':
      return `Trading is paused: orders can be canceled, new ones are not taken.${because}`
    case 'PRE_TRADING':
      return `Only orders that rest in the book are taken now: post-only, or limit orders that would not trade.${because}`
    case 'AUCTION_MATCH':
      return `An auction runs: limit orders are collected and trade at one price when it ends.${because}`
    default:
      return `The market is in the state ${status}.${because}`
  }
}

/** Quantity times price, in units of the quote asset, cut off. */
export const worth = (market: Market, price: bigint, quantity: bigint): bigint =>
  (price * quantity) / 10n ** BigInt(market.baseScale)

/** How much of the base asset an amount of the quote asset buys, in whole lots. */
export function affordable(market: Market, price: bigint, amount: bigint): bigint {
  if (price <= 0n) return 0n
  const exact = (amount * 10n ** BigInt(market.baseScale)) / price
  return exact - (exact % market.lot)
}
