// How long to wait before the next try: twice as long each time up to a bound, and a little by chance, so that not
// everybody comes back at the same moment. Chance is handed in.

export const FIRST_MS = 300
export const MOST_MS = 10_000

/** `tries`: how many failed since the last success. `chance`: from 0 to 1. */
export const waitMs = (tries: number, chance: number): number =>
  Math.round(Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(tries, 10)) * (0.75 + chance / 2))
