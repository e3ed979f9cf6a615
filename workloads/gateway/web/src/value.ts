// A value that others watch: they are called with it at once, and whenever it is set.

export class Value<T> {
  private now: T
  private readonly watchers = new Set<(value: T) => void>()

  constructor(first: T) {
    this.now = first
  }

  get = (): T => this.now

  set(value: T): void {
    this.now = value
    for (const watcher of this.watchers) watcher(value)
  }

  /** Returns what ends the watching. */
  watch(watcher: (value: T) => void): () => void {
    this.watchers.add(watcher)
    watcher(this.now)
    return () => this.watchers.delete(watcher)
  }
}
