// One WebSocket that comes back by itself: with waits that grow, and a probe when nothing was heard for a while, for a
// socket that is dead does not say so. What goes over it is for others to say.
import { waitMs } from '../pure/backoff.ts'
import { Value } from '../value.ts'

export type LinkState =
  | { readonly kind: 'off' }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  | { readonly kind: 'waiting'; readonly reason: string; readonly untilMs: number }

export interface Talk {
  /** The connection is there. */
  readonly opened: () => void
  readonly heard: (text: string) => void
  /** It is gone; a new one will come. */
  readonly lost: (reason: string) => void
  /** Something that the other side answers. */
  readonly probe: () => string
}

const QUIET_MS = 4_000
const DEAD_MS = 9_000
const CONNECT_MS = 8_000
const LOOK_EVERY_MS = 1_000
/** A connection that lasted so long was a good one: the next wait is short again. */
const GOOD_MS = 5_000

export class Link {
  readonly state = new Value<LinkState>({ kind: 'off' })
  private readonly url: string
  private readonly talk: Talk
  private socket: WebSocket | null = null
  private timer: ReturnType<typeof setTimeout> | undefined
  private watch: ReturnType<typeof setInterval> | undefined
  private tries = 0
  private openedMs = 0
  private heardMs = 0
  private probedMs = 0

  constructor(url: string, talk: Talk) {
    this.url = url
    this.talk = talk
  }

  start(): void {
    window.addEventListener('online', this.hurry)
    document.addEventListener('visibilitychange', this.hurry)
    this.connect()
  }

  stop(): void {
    window.removeEventListener('online', this.hurry)
    document.removeEventListener('visibilitychange', this.hurry)
    this.forget()
    clearTimeout(this.timer)
    this.state.set({ kind: 'off' })
  }

  /** False when there is no connection: nothing is kept for later. */
  send(text: string): boolean {
    if (this.socket?.readyState !== WebSocket.OPEN) return false
    this.socket.send(text)
    return true
  }

  /** Begins anew, with a reason. */
  drop(reason: string): void {
    if (this.socket === null) return
    const wasLive = this.state.get().kind === 'live'
    this.forget()
    if (wasLive && Date.now() - this.openedMs >= GOOD_MS) this.tries = 0
    const wait = waitMs(this.tries, Math.random())
    this.tries += 1
    this.state.set({ kind: 'waiting', reason, untilMs: Date.now() + wait })
    this.timer = setTimeout(() => this.connect(), wait)
    if (wasLive) this.talk.lost(reason)
  }

  private forget(): void {
    clearInterval(this.watch)
    const socket = this.socket
    this.socket = null
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null
      socket.close()
    }
  }

  private connect(): void {
    clearTimeout(this.timer)
    this.state.set({ kind: 'connecting' })
    const socket = new WebSocket(this.url)
    this.socket = socket
    this.heardMs = this.openedMs = Date.now()
    this.probedMs = 0
    socket.onopen = () => {
      this.heardMs = this.openedMs = Date.now()
      this.state.set({ kind: 'live' })
      this.talk.opened()
    }
    socket.onmessage = (event: MessageEvent<string>) => {
      this.heardMs = Date.now()
      this.talk.heard(event.data)
    }
    socket.onclose = (event) => this.drop(event.reason || 'The connection ended')
    this.watch = setInterval(this.look, LOOK_EVERY_MS)
  }

  private readonly look = (): void => {
    const now = Date.now()
    if (this.state.get().kind === 'connecting') {
      if (now - this.openedMs > CONNECT_MS) this.drop('The exchange does not answer')
      return
    }
    if (this.probedMs > this.heardMs && now - this.probedMs > DEAD_MS - QUIET_MS) {
      this.drop('Nothing was heard for a while')
    } else if (now - this.heardMs > QUIET_MS && this.probedMs <= this.heardMs) {
      this.probedMs = now
      this.send(this.talk.probe())
    }
  }

  private readonly hurry = (): void => {
    if (document.visibilityState === 'visible' && this.state.get().kind === 'waiting') this.connect()
  }
}
