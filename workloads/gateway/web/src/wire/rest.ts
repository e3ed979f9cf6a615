// Public questions over HTTP. One answer each, within a time; a refusal is the exchange's own.
import type { WireError } from '../pure/refusals.ts'

const WITHIN_MS = 10_000

/** The exchange said no. */
export class Refused extends Error {
  readonly wire: WireError

  constructor(wire: WireError) {
    super(wire.msg)
    this.wire = wire
  }
}

/** Nobody answered, or not in time: of what was asked nothing is known. */
export class Unanswered extends Error {}

/** Throws Refused and Unanswered. */
export async function ask<T>(path: string, parameters: Readonly<Record<string, string | number>> = {}): Promise<T> {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, value]) => [name, String(value)])).toString()
  try {
    const answer = await fetch(query ? `${path}?${query}` : path, { signal: AbortSignal.timeout(WITHIN_MS), cache: 'no-store' })
    const body = (await answer.json()) as unknown
    if (!answer.ok) throw new Refused(body as WireError)
    return body as T
  } catch (error) {
    if (error instanceof Refused) throw error
    throw new Unanswered(error instanceof Error ? error.message : String(error))
  }
}
