// The public streams over one connection: who wants to hear what. Changes are sent together and not often, for the
// exchange lets go of whoever sends more than five messages a second.
import { Link } from './link.ts'

export interface Hearing {
  /** Subscribed from now on: what was known before may have a hole. */
  readonly began: () => void
  readonly heard: (data: unknown) => void
  /** Nothing is heard any more, until it begins again. */
  readonly ended: () => void
}

const BETWEEN_MS = 700

export class PublicStreams {
  readonly link: Link
  private readonly hearings = new Map<string, Hearing>()
  private readonly asked = new Set<string>()
  private readonly awaited = new Map<number, readonly string[]>()
  private nextId = 1
  private timer: ReturnType<typeof setTimeout> | undefined
  private sentMs = 0

  constructor(url: string) {
    this.link = new Link(url, {
      opened: () => this.opened(),
      heard: (text) => this.heard(text),
      lost: () => this.hearings.forEach((hearing) => hearing.ended()),
      probe: () => JSON.stringify({ method: 'LIST_SUBSCRIPTIONS', id: this.nextId++ }),
    })
  }

  /** Returns what ends it. A stream has one hearing. */
  hear(stream: string, hearing: Hearing): () => void {
    this.hearings.set(stream, hearing)
    this.soon()
    return () => {
      if (this.hearings.get(stream) !== hearing) return
      this.hearings.delete(stream)
      this.soon()
    }
  }

  private opened(): void {
    this.asked.clear()
    this.awaited.clear()
    this.sentMs = 0
    this.soon()
  }

  private soon(): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.ask(), Math.max(0, this.sentMs + BETWEEN_MS - Date.now()))
  }

  private ask(): void {
    const wanted = [...this.hearings.keys()].filter((stream) => !this.asked.has(stream))
    const unwanted = [...this.asked].filter((stream) => !this.hearings.has(stream))
    if (unwanted.length && this.send('UNSUBSCRIBE', unwanted)) unwanted.forEach((stream) => this.asked.delete(stream))
    if (wanted.length && this.send('SUBSCRIBE', wanted)) {
      wanted.forEach((stream) => this.asked.add(stream))
      this.awaited.set(this.nextId - 1, wanted)
    }
  }

  private send(method: string, streams: readonly string[]): boolean {
    this.sentMs = Date.now()
    return this.link.send(JSON.stringify({ method, params: streams, id: this.nextId++ }))
  }

  private heard(text: string): void {
    const message = JSON.parse(text) as { stream?: string; data?: unknown; id?: number; error?: { msg: string } }
    if (message.stream !== undefined) {
      this.hearings.get(message.stream)?.heard(message.data)
    } else if (message.error) {
      this.link.drop(message.error.msg)
    } else if (message.id !== undefined) {
      const begun = this.awaited.get(message.id) ?? []
      this.awaited.delete(message.id)
      for (const stream of begun) this.hearings.get(stream)?.began()
    }
  }
}
