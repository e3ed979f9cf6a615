// The WebSocket API for one account: signed requests and their answers, and the account's events as they come.
import { payload, type Parameters, type Signer } from '../pure/signing.ts'
import type { WireError } from '../pure/refusals.ts'
import { Link } from './link.ts'
import { Refused, Unanswered } from './rest.ts'

const WITHIN_MS = 12_000
const REQUESTS_MOST = 90

interface Awaited {
  readonly answered: (result: unknown) => void
  readonly failed: (error: Error) => void
  readonly timer: ReturnType<typeof setTimeout>
}

interface Frame {
  readonly id?: number
  readonly result?: unknown
  readonly error?: WireError
  readonly event?: { readonly e: string }
}

export class AccountWire {
  readonly link: Link
  private readonly signer: Signer
  private readonly awaited = new Map<number, Awaited>()
  private nextId = 1
  /** How far the exchange's clock is ahead of ours. */
  private aheadMs = 0
  private readonly heardEvent: (event: { readonly e: string }) => void

  constructor(url: string, signer: Signer, talk: { opened: () => void; lost: () => void; event: (event: { readonly e: string }) => void }) {
    this.signer = signer
    this.heardEvent = talk.event
    this.link = new Link(url, {
      opened: talk.opened,
      heard: (text) => this.heard(text),
      lost: (reason) => {
        for (const { failed, timer } of this.awaited.values()) {
          clearTimeout(timer)
          failed(new Unanswered(reason))
        }
        this.awaited.clear()
        talk.lost()
      },
      probe: () => JSON.stringify({ id: this.nextId++, method: 'ping' }),
    })
  }

  /** Learns the exchange's clock; the first thing to do with a new connection. Throws Refused and Unanswered. */
  async readClock(): Promise<void> {
    const sent = Date.now()
    const { serverTime } = await this.ask<{ serverTime: number }>('time', {})
    // Of a microsecond clock, as the connection's URL asks for it.
    this.aheadMs = Math.round(serverTime / 1000 - (sent + Date.now()) / 2)
  }

  /** Signed. Throws Refused, and Unanswered: then it is not known whether it was carried out. */
  async signed<T>(method: string, parameters: Parameters): Promise<T> {
    const full = { ...parameters, apiKey: this.signer.apiKey, timestamp: Date.now() + this.aheadMs }
    return this.ask<T>(method, { ...full, signature: await this.signer.sign(payload(full)) })
  }

  ask<T>(method: string, parameters: Parameters): Promise<T> {
    const id = this.nextId++
    return new Promise<T>((answered, failed) => {
      if (this.awaited.size >= REQUESTS_MOST) {
        failed(new Unanswered('too many requests wait for an answer'))
      } else if (!this.link.send(JSON.stringify({ id, method, params: parameters }))) {
        failed(new Unanswered('there is no connection to the exchange'))
      } else {
        const timer = setTimeout(() => {
          this.awaited.delete(id)
          failed(new Unanswered(`no answer within ${WITHIN_MS / 1000} seconds`))
        }, WITHIN_MS)
        this.awaited.set(id, { answered: answered as (result: unknown) => void, failed, timer })
      }
    })
  }

  private heard(text: string): void {
    const frame = JSON.parse(text) as Frame
    if (frame.event) {
      this.heardEvent(frame.event)
      return
    }
    const awaited = frame.id === undefined ? undefined : this.awaited.get(frame.id)
    if (!awaited) return
    this.awaited.delete(frame.id!)
    clearTimeout(awaited.timer)
    if (frame.error) awaited.failed(new Refused(frame.error))
    else awaited.answered(frame.result)
  }
}
