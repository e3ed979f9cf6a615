// One account as it is now: signed in with its key, it hears its events first and then asks what there was before, so
// that nothing is missing between. An order whose answer did not come is looked for by the name that it was given.
import { fillOf, Fills, isOpen, orderOf, Orders, type ExecutionReport, type Fill, type Order } from '../pure/orders.ts'
import type { Parameters, Signer } from '../pure/signing.ts'
import { Value } from '../value.ts'
import { AccountWire } from '../wire/account_wire.ts'
import { Refused, Unanswered } from '../wire/rest.ts'

export interface Balance {
  readonly asset: string
  readonly free: string
  readonly locked: string
}

export type AccountState =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'refused'; readonly refusal: Refused }

export type Placed = { readonly kind: 'placed'; readonly order: Order } | { readonly kind: 'unknown'; readonly clientOrderId: string } | { readonly kind: 'lost' }

interface Position {
  readonly u: number
  readonly B: readonly { readonly a: string; readonly f: string; readonly l: string }[]
}

interface AccountAnswer {
  readonly uid: number
  readonly updateTime: number
  readonly balances: readonly Balance[]
}

const HISTORY = 500
const OUTCOME_UNKNOWN = -1007
const NO_SUCH_ORDER = -2013
const BAD_KEYS: readonly number[] = [-1022, -2014, -2015]
/** The exchange itself gives up an order that nobody took within this time; then it is not there, nor will it be. */
const ARRIVES_WITHIN_MS = 15_000
const LOOK_AGAIN_MS = 1_500

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

export class Account {
  readonly state = new Value<AccountState>({ kind: 'connecting' })
  readonly uid = new Value<number | null>(null)
  readonly balances = new Value<ReadonlyMap<string, Balance>>(new Map())
  readonly orders = new Value<readonly Order[]>([])
  readonly fills = new Value<readonly Fill[]>([])
  /** What of the past could not be read, in a sentence. */
  readonly missing = new Value<string>('')
  /** Each trade of a resting order, and each order that ended without us. */
  told: (report: ExecutionReport) => void = () => undefined
  readonly wire: AccountWire
  private readonly knownOrders = new Orders()
  private readonly knownFills = new Fills()
  private balancesAt = 0
  /** Events while the past is read; null when it was. */
  private waiting: { readonly e: string }[] | null = []
  private generation = 0
  private symbol: string

  constructor(url: string, signer: Signer, symbol: string) {
    this.symbol = symbol
    this.wire = new AccountWire(url, signer, {
      opened: () => void this.opened(),
      lost: () => {
        this.generation += 1
        this.waiting = []
        this.state.set({ kind: 'connecting' })
      },
      event: (event) => {
        if (this.waiting) this.waiting.push(event)
        else this.take(event)
      },
    })
  }

  start(): void {
    this.wire.link.start()
  }

  stop(): void {
    this.generation += 1
    this.wire.link.stop()
  }

  /** The history of another market is wanted from now on. */
  look(symbol: string): void {
    if (symbol === this.symbol) return
    this.symbol = symbol
    if (this.state.get().kind === 'live') void this.readPast(this.generation)
  }

  /** Throws Refused. What was not answered is looked for, until it is known or cannot be. */
  async place(terms: Parameters): Promise<Placed> {
    const clientOrderId = `web-${crypto.randomUUID().replaceAll('-', '').slice(0, 28)}`
    const sentMs = Date.now()
    try {
      const answer = await this.wire.signed<Order & { transactTime: number; workingTime: number }>('order.place', {
        ...terms,
        newClientOrderId: clientOrderId,
        newOrderRespType: 'RESULT',
      })
      const order = { ...answer, time: answer.workingTime, updateTime: answer.transactTime }
      this.knownOrders.put(order)
      this.publish()
      return { kind: 'placed', order }
    } catch (error) {
      const unknown = error instanceof Unanswered || (error instanceof Refused && error.wire.code === OUTCOME_UNKNOWN)
      if (!unknown) throw error
      return this.find(String(terms['symbol']), clientOrderId, sentMs + ARRIVES_WITHIN_MS)
    }
  }

  /** Throws Refused and Unanswered. */
  async cancel(order: Order): Promise<void> {
    await this.wire.signed('order.cancel', { symbol: order.symbol, orderId: order.orderId })
  }

  /** All of one market. Throws Refused and Unanswered. */
  async cancelAll(symbol: string): Promise<void> {
    await this.wire.signed('openOrders.cancelAll', { symbol })
  }

  private async find(symbol: string, clientOrderId: string, untilMs: number): Promise<Placed> {
    for (;;) {
      const isLast = Date.now() >= untilMs
      try {
        const order = await this.wire.signed<Order>('order.status', { symbol, origClientOrderId: clientOrderId })
        this.knownOrders.put(order)
        this.publish()
        return { kind: 'placed', order }
      } catch (error) {
        const absent = error instanceof Refused && error.wire.code === NO_SUCH_ORDER
        if (isLast) return absent ? { kind: 'lost' } : { kind: 'unknown', clientOrderId }
      }
      await sleep(LOOK_AGAIN_MS)
    }
  }

  private async opened(): Promise<void> {
    const generation = this.generation
    try {
      await this.wire.readClock()
      await this.wire.signed('userDataStream.subscribe.signature', {})
      const account = await this.wire.signed<AccountAnswer>('account.status', {})
      const open = await this.wire.signed<Order[]>('openOrders.status', {})
      if (generation !== this.generation) return
      this.uid.set(account.uid)
      this.balances.set(new Map(account.balances.map((balance) => [balance.asset, balance])))
      this.balancesAt = account.updateTime
      this.knownOrders.openAre(open)
      const waiting = this.waiting ?? []
      this.waiting = null
      for (const event of waiting) this.take(event)
      this.publish()
      this.state.set({ kind: 'live' })
      await this.readPast(generation)
    } catch (error) {
      if (generation !== this.generation) return
      if (error instanceof Refused && BAD_KEYS.includes(error.wire.code)) {
        this.stop()
        this.state.set({ kind: 'refused', refusal: error })
      } else {
        this.wire.link.drop(error instanceof Error ? error.message : String(error))
      }
    }
  }

  private async readPast(generation: number): Promise<void> {
    const missing: string[] = []
    const read = async <T>(what: string, method: string, put: (row: T) => void): Promise<void> => {
      try {
        const rows = await this.wire.signed<T[]>(method, { symbol: this.symbol, limit: HISTORY })
        if (generation === this.generation) rows.forEach(put)
      } catch (error) {
        missing.push(`${what} could not be read (${error instanceof Error ? error.message : String(error)}).`)
      }
    }
    await read<Order>('Earlier orders', 'allOrders', (order) => this.knownOrders.put(order))
    await read<Fill>('Earlier trades', 'myTrades', (fill) => this.knownFills.put(fill))
    if (generation !== this.generation) return
    this.missing.set(missing.join(' '))
    this.publish()
  }

  private take(event: { readonly e: string }): void {
    switch (event.e) {
      case 'executionReport': {
        const report = event as ExecutionReport
        this.knownOrders.put(orderOf(report))
        const fill = fillOf(report)
        if (fill) this.knownFills.put(fill)
        this.publish()
        this.told(report)
        break
      }
      case 'outboundAccountPosition': {
        const position = event as unknown as Position
        if (position.u < this.balancesAt) break
        const rows = position.B.map(({ a, f, l }) => [a, { asset: a, free: f, locked: l }] as const)
        this.balances.set(new Map([...this.balances.get(), ...rows]))
        this.balancesAt = position.u
        break
      }
      case 'eventStreamTerminated':
        this.wire.link.drop('The exchange ended the stream of this account')
        break
    }
  }

  private publish(): void {
    this.orders.set(this.knownOrders.listed())
    this.fills.set(this.knownFills.listed())
  }

  openOrders = (): Order[] => this.orders.get().filter(isOpen)
}
