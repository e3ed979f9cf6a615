// The page, put together: what is live, what shows it, and what a trader does with it. Decides nothing by itself.
import { units } from './pure/decimal.ts'
import type { Circumstances, Terms } from './pure/entry.ts'
import type { Market } from './pure/market.ts'
import { isOpen, type ExecutionReport, type Order } from './pure/orders.ts'
import { inWords } from './pure/refusals.ts'
import type { Signer } from './pure/signing.ts'
import { Account } from './live/account.ts'
import { INTERVALS, LiveCandles, type Interval } from './live/live_candles.ts'
import { LiveBook } from './live/live_book.ts'
import { LiveTrades } from './live/live_trades.ts'
import { MarketList } from './live/market_list.ts'
import { PublicStreams } from './wire/public_streams.ts'
import { Refused } from './wire/rest.ts'
import { BookView } from './view/book.ts'
import { ChartView } from './view/chart.ts'
import { ConnectionView } from './view/connection.ts'
import { confirm, wireDialogs } from './view/dialogs.ts'
import { byId, setText } from './view/dom.ts'
import { EntryView } from './view/entry.ts'
import { forgetLast, showLast, showMarket } from './view/facts.ts'
import { listen } from './view/keyboard.ts'
import { ListsView } from './view/lists.ts'
import { MarketsView } from './view/markets.ts'
import { SignInView } from './view/sign_in.ts'
import { showTheme } from './view/theme.ts'
import { toast } from './view/toasts.ts'
import { TradesView } from './view/trades.ts'

const socketUrl = (path: string): string => `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${path}`

const streams = new PublicStreams(socketUrl('/stream'))
const list = new MarketList(streams)
let market: Market | null = null
let interval: Interval = INTERVALS.find((each) => each === localStorage.getItem('interval')) ?? '1m'
let liveBook: LiveBook | null = null
let liveTrades: LiveTrades | null = null
let liveCandles: LiveCandles | null = null
let account: Account | null = null

const connection = new ConnectionView()
const marketsView = new MarketsView((symbol) => look(symbol))
const tradesView = new TradesView()
const signInView = new SignInView((signer) => signIn(signer))
const chart = new ChartView(interval, (chosen) => chooseInterval(chosen), () => void liveCandles?.readOlder())
const bookView = new BookView(({ price, total, withQuantity }) => {
  entry.fill(price, withQuantity ? total : null)
  if (document.body.dataset['tab'] === 'book') go('trade')
})
const lists = new ListsView((order) => void cancel(order), () => signInView.open())
const entry = new EntryView({
  circumstances,
  isSignedIn: () => account !== null,
  signIn: () => signInView.open(),
  place,
})
const theme = showTheme(() => {
  chart.paintColors()
  showOrders()
})

function circumstances(): Circumstances {
  const state = (market && list.states.get().get(market.symbol)) ?? { status: 'TRADING', reason: '' }
  const book = liveBook?.book.isThere ? liveBook.book : null
  const free = (asset: string, scale: number): bigint | null => {
    const balance = account?.balances.get().get(asset)
    return balance === undefined ? null : units(balance.free, scale)
  }
  const side = byId<HTMLFormElement>('entry-form').querySelector<HTMLInputElement>('input[name="side"]:checked')?.value
  return {
    state,
    baseFree: market && free(market.base, market.baseScale),
    quoteFree: market && free(market.quote, market.quoteScale),
    bestBid: book?.bestBid() ?? null,
    bestAsk: book?.bestAsk() ?? null,
    sweep: book && ((quantity) => book.sweep(side === 'SELL' ? 'SELL' : 'BUY', quantity)),
  }
}

function look(symbol: string): void {
  const found = list.markets.get().get(symbol)
  if (found === undefined || found.symbol === market?.symbol) return
  market = found
  history.replaceState(null, '', `#${symbol}`)
  forgetLast(found)
  liveBook?.end()
  liveTrades?.end()
  liveBook = new LiveBook(streams, found, () => {
    bookView.changed()
    entry.changed()
    const middle = liveBook?.book.bestBid() ?? liveBook?.book.bestAsk()
    if (middle) entry.suggest(middle)
  })
  liveTrades = new LiveTrades(streams, found, () => {
    tradesView.changed()
    const prices = liveTrades?.trades.map((trade) => trade.price) ?? []
    const [newest] = prices
    if (newest === undefined) return
    const before = prices.find((price) => price !== newest) ?? newest
    showLast(found, newest, Math.sign(Number(newest) - Number(before)))
  })
  bookView.look(found, liveBook.book)
  tradesView.look(found, liveTrades)
  entry.look(found)
  chart.look(found)
  followCandles(found)
  account?.look(symbol)
  showMarkets()
  showOrders()
}

function followCandles(of: Market): void {
  liveCandles?.end()
  const candles = new LiveCandles(streams, of, interval, {
    replaced: (all) => chart.replace(all),
    moved: (candle) => chart.move(candle, candles.candles),
  })
  liveCandles = candles
}

function chooseInterval(chosen: Interval): void {
  interval = chosen
  localStorage.setItem('interval', chosen)
  chart.setInterval(chosen)
  if (market) followCandles(market)
}

function showMarkets(): void {
  const markets = list.markets.get()
  if (market === null && markets.size) look(markets.has(location.hash.slice(1)) ? location.hash.slice(1) : markets.keys().next().value!)
  marketsView.show(markets, list.tickers.get(), list.states.get(), market?.symbol ?? '')
  if (market) showMarket(market, list.tickers.get().get(market.symbol), list.states.get().get(market.symbol))
  lists.look(markets, market?.symbol ?? '')
  entry.changed()
}

function showOrders(): void {
  const open = (account?.orders.get() ?? []).filter((order) => isOpen(order) && order.symbol === market?.symbol)
  bookView.setOwn(new Set(open.map((order) => units(order.price, market!.quoteScale))))
  chart.setOrders(open)
}

function signIn(signer: Signer): void {
  signOut()
  const made = new Account(socketUrl('/ws-api/v3?timeUnit=MICROSECOND&returnRateLimits=false'), signer, market?.symbol ?? '')
  account = made
  const show = (): void => {
    if (account !== made) return
    lists.show({ orders: made.orders.get(), fills: made.fills.get(), balances: made.balances.get(), missing: made.missing.get() })
    entry.changed()
  }
  made.told = tell
  made.wire.link.state.watch((state) => account === made && connection.setAccount(state))
  made.orders.watch(() => {
    show()
    showOrders()
  })
  made.fills.watch(show)
  made.balances.watch(show)
  made.missing.watch(show)
  setText(byId('session'), 'Sign out')
  made.uid.watch((uid) => account === made && setText(byId('who'), uid === null ? 'Signing in …' : `Account ${uid}`))
  made.state.watch((state) => {
    if (account !== made || state.kind !== 'refused') return
    const { sentence, said } = inWords(state.refusal.wire)
    signOut()
    signInView.open(`${sentence} ${said}`)
  })
  made.start()
}

function signOut(): void {
  const before = account
  account = null
  before?.stop()
  connection.setAccount(null)
  setText(byId('session'), 'Sign in')
  setText(byId('who'), '')
  lists.show(null)
  showOrders()
  entry.changed()
}

async function place(terms: Terms): Promise<string> {
  if (account === null || market === null) return 'Sign in first.'
  const what = `${terms['side'] === 'BUY' ? 'Buy' : 'Sell'} ${terms['quantity'] ?? `for ${terms['quoteOrderQty']}`} ${terms['quantity'] ? market.base : market.quote}`
  try {
    const placed = await account.place(terms)
    switch (placed.kind) {
      case 'placed':
        sayPlaced(placed.order, what)
        return ''
      case 'lost':
        return 'The order did not reach the exchange. It was not placed; you can send it again.'
      case 'unknown':
        return `It is not known whether the order arrived (its name is ${placed.clientOrderId}). Look at your open orders before you send it again.`
    }
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    const { sentence, said } = inWords(error.wire)
    return `${sentence} The exchange says: ${said}`
  }
}

function sayPlaced(order: Order, what: string): void {
  if (order.status === 'FILLED') toast('good', `${what}: filled`)
  else if (isOpen(order)) toast('good', `${what}: ${order.status === 'NEW' ? 'in the book' : 'partly filled, the rest is in the book'}`)
  else toast('plain', `${what}: ${units(order.executedQty, market!.baseScale) > 0n ? 'partly filled, the rest expired' : 'expired, nobody to trade with at this price'}`)
}

function tell(report: ExecutionReport): void {
  // What we take ourselves was said when it was answered.
  if (report.x === 'TRADE' && report.m) {
    const pair = list.markets.get().get(report.s)
    const amount = pair ? `${Number(report.l)} ${pair.base} at ${Number(report.L)}` : report.l
    toast('good', `${report.S === 'BUY' ? 'Bought' : 'Sold'} ${amount}${report.X === 'FILLED' ? '' : ', partly'}`)
  }
}

async function cancel(order: Order): Promise<void> {
  await told(account?.cancel(order), 'Order canceled')
}

async function cancelAll(): Promise<void> {
  if (account === null || market === null) return
  const open = account.openOrders().filter((order) => order.symbol === market?.symbol)
  if (open.length === 0) return
  const name = `${market.base}/${market.quote}`
  const count = open.length === 1 ? 'your open order' : `all ${open.length} open orders`
  if (await confirm(`Cancel ${count}?`, `This cancels what is open on ${name}. Orders on other markets stay.`, 'Cancel them')) {
    await told(account.cancelAll(market.symbol), `Orders on ${name} canceled`)
  }
}

async function told(work: Promise<void> | undefined, done: string): Promise<void> {
  try {
    await work
    toast('plain', done)
  } catch (error) {
    if (error instanceof Refused) {
      const { sentence, said } = inWords(error.wire)
      toast('bad', sentence, `The exchange says: ${said}`)
    } else {
      toast('bad', 'No answer came: what is open is shown as soon as the connection is back.', String(error))
    }
  }
}

function go(tab: string): void {
  document.body.dataset['tab'] = tab
  for (const button of document.querySelectorAll<HTMLElement>('[data-go]')) {
    button.setAttribute('aria-current', String(button.dataset['go'] === tab))
  }
  bookView.changed()
}

wireDialogs()
for (const button of document.querySelectorAll<HTMLElement>('[data-go]')) button.addEventListener('click', () => go(button.dataset['go']!))
byId('session').addEventListener('click', () => {
  if (account === null) {
    signInView.open()
  } else {
    signInView.forget()
    signOut()
  }
})
byId('cancel-all').addEventListener('click', () => void cancelAll())
const help = (): void => byId<HTMLDialogElement>('help').showModal()
byId('help-open').addEventListener('click', help)
const toEntry = (act: () => void) => (): void => {
  go('trade')
  act()
}
listen({
  b: toEntry(() => entry.setSide('BUY')),
  s: toEntry(() => entry.setSide('SELL')),
  l: toEntry(() => entry.setKind('LIMIT')),
  m: toEntry(() => entry.setKind('MARKET')),
  p: toEntry(() => entry.setKind('LIMIT_MAKER')),
  '1': () => lists.choose('open'),
  '2': () => lists.choose('history'),
  '3': () => lists.choose('trades'),
  '4': () => lists.choose('balances'),
  x: () => void cancelAll(),
  '/': () => {
    go('markets')
    marketsView.focus()
  },
  k: () => {
    go('book')
    bookView.focus()
  },
  t: theme.next,
  '?': help,
})
window.addEventListener('hashchange', () => look(location.hash.slice(1)))

streams.link.state.watch((state) => {
  connection.setPublic(state)
  bookView.setAway(state.kind === 'live' ? 'Loading the book …' : 'Not connected: the book is shown again when it is current.')
})
list.markets.watch(showMarkets)
list.tickers.watch(showMarkets)
list.states.watch(showMarkets)
streams.link.start()
list.start()
void signInView.kept().then((signer) => signer && signIn(signer))
