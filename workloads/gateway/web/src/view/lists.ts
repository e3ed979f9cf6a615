// The trader's own: open orders, order history, trades, balances; four lists behind four tabs.
import { formatUnits, grouped, trimmed, units } from '../pure/decimal.ts'
import type { Market } from '../pure/market.ts'
import { isOpen, statusWord, typeWord, type Fill, type Order } from '../pure/orders.ts'
import { dayAndTime } from '../pure/times.ts'
import type { Balance } from '../live/account.ts'
import { byId, eachFrame, element, setText } from './dom.ts'

export interface AccountShown {
  readonly orders: readonly Order[]
  readonly fills: readonly Fill[]
  readonly balances: ReadonlyMap<string, Balance>
  readonly missing: string
}

type Markets = ReadonlyMap<string, Market>
type Cell = string | Node | { readonly text: string; readonly class: string }

const TABS = ['open', 'history', 'trades', 'balances'] as const
export type TabName = (typeof TABS)[number]
const ROWS_MOST = 200

export class ListsView {
  private account: AccountShown | null = null
  private markets: Markets = new Map()
  private symbol = ''
  private chosen: TabName = 'open'
  private readonly cancel: (order: Order) => void
  private readonly signIn: () => void
  readonly changed = eachFrame(() => this.paint())

  constructor(cancel: (order: Order) => void, signIn: () => void) {
    this.cancel = cancel
    this.signIn = signIn
    TABS.forEach((name, index) => {
      const tab = byId(`tab-${name}`)
      tab.addEventListener('click', () => this.choose(name))
      tab.addEventListener('keydown', (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
        if (step === undefined) return
        const next = TABS[(index + step + TABS.length) % TABS.length]!
        this.choose(next)
        byId(`tab-${next}`).focus()
      })
    })
    this.changed()
  }

  look(markets: Markets, symbol: string): void {
    this.markets = markets
    this.symbol = symbol
    this.changed()
  }

  show(account: AccountShown | null): void {
    this.account = account
    this.changed()
  }

  choose(name: TabName): void {
    this.chosen = name
    for (const each of TABS) {
      const tab = byId(`tab-${each}`)
      tab.setAttribute('aria-selected', String(each === name))
      tab.tabIndex = each === name ? 0 : -1
      byId(`list-${each}`).hidden = each !== name
    }
    this.changed()
  }

  private paint(): void {
    const { account } = this
    const open = account?.orders.filter(isOpen) ?? []
    setText(byId('open-count'), open.length ? String(open.length) : '')
    byId('cancel-all').hidden = !open.some((order) => order.symbol === this.symbol)
    const list = byId(`list-${this.chosen}`)
    if (account === null) {
      const button = element('button', { type: 'button', class: 'link', onclick: this.signIn }, 'Sign in')
      list.replaceChildren(element('p', { class: 'empty' }, button, ' to see your orders, trades and balances.'))
      return
    }
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset['order'] : undefined
    switch (this.chosen) {
      case 'open':
        fill(list, 'No open orders.', OPEN_COLUMNS, open.map((order) => this.openRow(order)))
        break
      case 'history':
        fill(list, account.missing || 'No orders yet.', HISTORY_COLUMNS, account.orders.filter((order) => !isOpen(order)).map((order) => this.historyRow(order)))
        break
      case 'trades':
        fill(list, account.missing || 'No trades yet.', TRADE_COLUMNS, account.fills.map((trade) => this.tradeRow(trade)))
        break
      case 'balances':
        fill(list, 'No balances.', BALANCE_COLUMNS, [...account.balances.values()].map((balance) => this.balanceRow(balance)))
        break
    }
    if (focused !== undefined) list.querySelector<HTMLElement>(`[data-order="${focused}"]`)?.focus()
  }

  private openRow(order: Order): Cell[] {
    const market = this.markets.get(order.symbol)
    const label = `Cancel ${order.side === 'BUY' ? 'buy' : 'sell'} of ${order.origQty} at ${order.price}`
    const cancel = element('button', { type: 'button', class: 'link', 'aria-label': label, 'data-order': String(order.orderId), onclick: () => this.cancel(order) }, 'Cancel')
    return [time(order.time), name(market, order.symbol), side(order.side), typeWord(order), price(market, order.price), quantity(market, order.origQty), filled(market, order), worthOf(market, order), cancel]
  }

  private historyRow(order: Order): Cell[] {
    const market = this.markets.get(order.symbol)
    const limit = order.type === 'MARKET' ? 'Market' : price(market, order.price)
    return [time(order.time), name(market, order.symbol), side(order.side), typeWord(order), limit, average(market, order), wanted(market, order), filled(market, order), statusWord(order)]
  }

  private tradeRow(trade: Fill): Cell[] {
    const market = this.markets.get(trade.symbol)
    const fee = trade.commissionAsset === market?.base ? market?.baseScale : market?.quoteScale
    return [
      time(trade.time),
      name(market, trade.symbol),
      side(trade.isBuyer ? 'BUY' : 'SELL'),
      price(market, trade.price),
      quantity(market, trade.qty),
      market ? amount(market, units(trade.quoteQty, market.quoteScale)) : trade.quoteQty,
      `${fee === undefined ? trade.commission : trimmed(units(trade.commission, fee), fee, 2)} ${trade.commissionAsset}`,
      trade.isMaker ? 'Maker' : 'Taker',
    ]
  }

  private balanceRow(balance: Balance): Cell[] {
    const scale = Math.max(...[balance.free, balance.locked].map((text) => text.split('.')[1]?.length ?? 0))
    const [free, locked] = [units(balance.free, scale), units(balance.locked, scale)]
    const shown = (value: bigint): string => grouped(trimmed(value, scale, 2))
    return [element('b', {}, balance.asset), shown(free), shown(locked), shown(free + locked)]
  }
}

/** A heading, and whether it is over numbers. */
type Column = readonly [string, boolean]

const words = (...names: string[]): Column[] => names.map((each) => [each, false])
const numbers = (...names: string[]): Column[] => names.map((each) => [each, true])

const OPEN_COLUMNS: Column[] = [...words('Time', 'Market', 'Side', 'Type'), ...numbers('Price', 'Quantity', 'Filled', 'Total'), ['', true]]
const HISTORY_COLUMNS: Column[] = [...words('Time', 'Market', 'Side', 'Type'), ...numbers('Price', 'Average', 'Quantity', 'Filled'), ...words('Status')]
const TRADE_COLUMNS: Column[] = [...words('Time', 'Market', 'Side'), ...numbers('Price', 'Quantity', 'Total', 'Fee'), ...words('Role')]
const BALANCE_COLUMNS: Column[] = [...words('Asset'), ...numbers('Available', 'On hold', 'Total')]

function fill(list: HTMLElement, empty: string, columns: readonly Column[], rows: readonly Cell[][]): void {
  if (rows.length === 0) {
    list.replaceChildren(element('p', { class: 'empty' }, empty))
    return
  }
  const head = element('tr', {}, ...columns.map(([title, isNumber]) => (title ? element('th', { scope: 'col', class: isNumber ? 'number' : '' }, title) : element('td', {}, element('span', { class: 'sr' }, 'What to do')))))
  const body = rows.slice(0, ROWS_MOST).map((cells) =>
    element('tr', {}, ...cells.map((cell, index) => tableCell(cell, columns[index]!))),
  )
  const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...body))
  if (rows.length > ROWS_MOST) table.append(element('caption', {}, `The newest ${ROWS_MOST} of ${rows.length}.`))
  list.replaceChildren(table)
}

function tableCell(cell: Cell, [title, isNumber]: Column): HTMLTableCellElement {
  const kind = isNumber ? 'number' : ''
  // On a phone a row is a card: each value says its own name.
  if (typeof cell === 'string' || cell instanceof Node) return element('td', { class: kind, 'data-name': title }, cell)
  return element('td', { class: `${kind} ${cell.class}`, 'data-name': title }, cell.text)
}

const time = (us: number): Cell => ({ text: dayAndTime(us / 1000), class: 'time' })
const name = (market: Market | undefined, symbol: string): string => (market ? `${market.base}/${market.quote}` : symbol)
const side = (which: string): Cell => (which === 'BUY' ? { text: 'Buy', class: 'up' } : { text: 'Sell', class: 'down' })
const price = (market: Market | undefined, text: string): string =>
  market ? grouped(formatUnits(units(text, market.quoteScale), market.quoteScale, market.priceDecimals)) : text
/** Of the quote asset, cut off where prices are. */
const amount = (market: Market, value: bigint): string => grouped(formatUnits(value, market.quoteScale, market.priceDecimals))
const quantity = (market: Market | undefined, text: string): string =>
  market ? grouped(trimmed(units(text, market.baseScale), market.baseScale)) : text

function wanted(market: Market | undefined, order: Order): string {
  if (market && units(order.origQty, market.baseScale) === 0n) return `${grouped(trimmed(units(order.origQuoteOrderQty, market.quoteScale), market.quoteScale, 2))} ${market.quote}`
  return quantity(market, order.origQty)
}

function filled(market: Market | undefined, order: Order): string {
  if (!market) return order.executedQty
  const [done, all] = [units(order.executedQty, market.baseScale), units(order.origQty, market.baseScale)]
  return all === 0n || done === 0n ? quantity(market, order.executedQty) : `${quantity(market, order.executedQty)} (${(done * 100n) / all}%)`
}

function worthOf(market: Market | undefined, order: Order): string {
  if (!market) return ''
  const total = (units(order.price, market.quoteScale) * units(order.origQty, market.baseScale)) / 10n ** BigInt(market.baseScale)
  return amount(market, total)
}

function average(market: Market | undefined, order: Order): string {
  if (!market) return ''
  const done = units(order.executedQty, market.baseScale)
  if (done === 0n) return '–'
  const mean = (units(order.cummulativeQuoteQty, market.quoteScale) * 10n ** BigInt(market.baseScale)) / done
  return grouped(formatUnits(mean, market.quoteScale, market.priceDecimals))
}
