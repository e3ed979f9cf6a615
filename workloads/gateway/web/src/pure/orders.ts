// What an account has done and has open, from the answers of the exchange and the reports that come after. A report
// carries the whole order, so the newest one is the order; reports that are older than what is known change nothing.

export interface Order {
  readonly symbol: string
  readonly orderId: number
  readonly clientOrderId: string
  readonly side: 'BUY' | 'SELL'
  readonly type: string
  readonly timeInForce: string
  readonly price: string
  readonly origQty: string
  readonly executedQty: string
  readonly cummulativeQuoteQty: string
  readonly origQuoteOrderQty: string
  readonly status: string
  /** Microseconds. */
  readonly time: number
  readonly updateTime: number
}

export interface Fill {
  readonly symbol: string
  readonly id: number
  readonly orderId: number
  readonly price: string
  readonly qty: string
  readonly quoteQty: string
  readonly commission: string
  readonly commissionAsset: string
  /** Microseconds. */
  readonly time: number
  readonly isBuyer: boolean
  readonly isMaker: boolean
}

/** As it comes; what we read of it. */
export interface ExecutionReport {
  readonly e: 'executionReport'
  readonly s: string
  readonly c: string
  readonly C: string
  readonly S: 'BUY' | 'SELL'
  readonly o: string
  readonly f: string
  readonly q: string
  readonly p: string
  readonly x: string
  readonly X: string
  readonly i: number
  readonly l: string
  readonly z: string
  readonly L: string
  readonly n: string
  readonly N: string | null
  readonly T: number
  readonly t: number
  readonly m: boolean
  readonly O: number
  readonly Z: string
  readonly Y: string
  readonly Q: string
}

/** Kept of each account: what is older can be asked for. */
export const KEPT_MOST = 1_000

export const isOpen = (order: Order): boolean => order.status === 'NEW' || order.status === 'PARTIALLY_FILLED'

export function orderOf(report: ExecutionReport): Order {
  return {
    symbol: report.s,
    orderId: report.i,
    // In the report of a cancel `c` names the cancel, and `C` the order.
    clientOrderId: report.x === 'CANCELED' && report.C ? report.C : report.c,
    side: report.S,
    type: report.o,
    timeInForce: report.f,
    price: report.p,
    origQty: report.q,
    executedQty: report.z,
    cummulativeQuoteQty: report.Z,
    origQuoteOrderQty: report.Q,
    status: report.X,
    time: report.O,
    updateTime: report.T,
  }
}

export function fillOf(report: ExecutionReport): Fill | null {
  if (report.x !== 'TRADE') return null
  return {
    symbol: report.s,
    id: report.t,
    orderId: report.i,
    price: report.L,
    qty: report.l,
    quoteQty: report.Y,
    commission: report.n,
    commissionAsset: report.N ?? '',
    time: report.T,
    isBuyer: report.S === 'BUY',
    isMaker: report.m,
  }
}

const key = (each: { symbol: string }, id: number): string => `${each.symbol}/${id}`

/** Orders by symbol and id, newest first when they are listed. */
export class Orders {
  private readonly known = new Map<string, Order>()

  put(order: Order): void {
    const name = key(order, order.orderId)
    const before = this.known.get(name)
    if (before && (before.updateTime > order.updateTime || (!isOpen(before) && isOpen(order)))) return
    this.known.set(name, order)
    if (this.known.size > 2 * KEPT_MOST) {
      for (const old of this.listed().filter((each) => !isOpen(each)).slice(KEPT_MOST)) this.known.delete(key(old, old.orderId))
    }
  }

  /** What is open now is exactly this, as of an answer: whatever else we took for open is not. */
  openAre(open: readonly Order[]): void {
    const names = new Set(open.map((order) => key(order, order.orderId)))
    for (const [name, order] of this.known) if (isOpen(order) && !names.has(name)) this.known.delete(name)
    for (const order of open) this.put(order)
  }

  listed = (): Order[] => [...this.known.values()].sort((one, other) => other.time - one.time || other.orderId - one.orderId)
}

/** Trades by symbol and id; one of our own orders against another of them is two rows. */
export class Fills {
  private readonly known = new Map<string, Fill>()

  put(fill: Fill): void {
    this.known.set(`${key(fill, fill.id)}/${fill.isBuyer}`, fill)
    if (this.known.size > 2 * KEPT_MOST) {
      const oldest = [...this.known.keys()].slice(0, this.known.size - KEPT_MOST)
      for (const name of oldest) this.known.delete(name)
    }
  }

  listed = (): Fill[] => [...this.known.values()].sort((one, other) => other.time - one.time || other.id - one.id)
}

const STATUS_WORDS: Readonly<Record<string, string>> = {
  NEW: 'Open',
  PARTIALLY_FILLED: 'Partly filled',
  FILLED: 'Filled',
  CANCELED: 'Canceled',
  EXPIRED: 'Expired',
  EXPIRED_IN_MATCH: 'Expired: own order',
  REJECTED: 'Refused',
}

export const statusWord = (order: Order): string => STATUS_WORDS[order.status] ?? order.status

const TYPE_WORDS: Readonly<Record<string, string>> = { LIMIT: 'Limit', MARKET: 'Market', LIMIT_MAKER: 'Post-only' }

export const typeWord = (order: Order): string => {
  const word = TYPE_WORDS[order.type] ?? order.type
  return order.type === 'LIMIT' && order.timeInForce !== 'GTC' ? `${word} ${order.timeInForce}` : word
}
