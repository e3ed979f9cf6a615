// What the exchange refused, in words for a person. The wire's own message goes along: it is what others can look up.

export interface WireError {
  readonly code: number
  readonly msg: string
  readonly detail?: string
}

const SENTENCES: Readonly<Record<number, string>> = {
  [-1003]: 'Too many requests: wait a minute, then go on.',
  [-1007]: 'The exchange did not answer in time. The order may or may not be there: look at your open orders.',
  [-1008]: 'The exchange is busy: try again in a moment.',
  [-1015]: 'Too many orders in a short time: wait a moment.',
  [-1021]: "This device's clock is off by more than the exchange allows.",
  [-1022]: 'The signature does not fit the key: the secret is not the one that belongs to it.',
  [-2014]: 'This is not how an API key looks.',
  [-2015]: 'The exchange does not know this API key, or it may not do this.',
  [-2011]: 'There is no such open order any more.',
  [-2013]: 'There is no such order.',
}

const BY_MESSAGE: readonly (readonly [RegExp, string])[] = [
  [/insufficient balance/i, 'You do not have enough available for this order.'],
  [/immediately match and take/i, 'A post-only order at this price would trade at once, so it was not placed.'],
  [/duplicate order/i, 'This order was placed already.'],
  [/market is closed/i, 'The market is closed for this now.'],
  [/action is disabled/i, 'Trading is switched off for this account.'],
  [/PERCENT_PRICE_BY_SIDE/, 'The price is too far from where the market trades.'],
  [/PRICE_FILTER/, 'The market does not allow this price.'],
  [/LOT_SIZE/, 'The market does not allow this quantity.'],
  [/NOTIONAL/, 'The market does not allow an order of this worth.'],
  [/MAX_NUM_ORDERS/, 'You have as many open orders as one account may have.'],
]

/** One sentence, then what the exchange said, with its own detail where it gave one. */
export function inWords(error: WireError): { readonly sentence: string; readonly said: string } {
  const byMessage = BY_MESSAGE.find(([pattern]) => pattern.test(error.msg))?.[1]
  const sentence = byMessage ?? SENTENCES[error.code] ?? 'The exchange refused this.'
  const detail = error.detail ? ` — ${error.detail}` : ''
  return { sentence, said: `${error.msg}${detail} (${error.code})` }
}
