// Decimal text and whole numbers of the smallest unit, without a float between: "1.25" at scale 8 is 125000000n.
// Values in, values out.

const DECIMAL = /^(\d{1,20})(?:\.(\d{0,20}))?$|^\.(\d{1,20})$/

/** Units of `text` at `scale`. Null for what is no decimal, and for more decimals than the scale has. */
export function parseUnits(text: string, scale: number): bigint | null {
  const match = DECIMAL.exec(text.trim())
  if (match === null) return null
  const decimals = (match[2] ?? match[3] ?? '').replace(/0+$/, '')
  if (decimals.length > scale) return null
  return BigInt((match[1] ?? '0') + decimals.padEnd(scale, '0'))
}

/** The same of what the exchange sent, which may be negative. Throws for what is no decimal: then we do not understand it. */
export function units(text: string, scale: number): bigint {
  const negative = text.startsWith('-')
  const parsed = parseUnits(negative ? text.slice(1) : text, scale)
  if (parsed === null) throw new Error(`${text} is no decimal with at most ${scale} decimals`)
  return negative ? -parsed : parsed
}

/** How many decimals a step such as "0.01000000" has: 2. */
export function decimalsOf(step: string): number {
  const decimals = step.split('.')[1] ?? ''
  return decimals.replace(/0+$/, '').length
}

/** Text with exactly `decimals` of the `scale` decimals; what is cut off is cut off, never rounded up. */
export function formatUnits(value: bigint, scale: number, decimals: number = scale): string {
  const negative = value < 0n
  const digits = (negative ? -value : value).toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  const fraction = digits.slice(digits.length - scale).slice(0, decimals).padEnd(decimals, '0')
  const text = fraction ? `${whole}.${fraction}` : whole
  return negative && /[1-9]/.test(text) ? `-${text}` : text
}

/** Without zeros that say nothing, but with at least `decimals` decimals. */
export function trimmed(value: bigint, scale: number, decimals = 0): string {
  const [whole, fraction = ''] = formatUnits(value, scale).split('.')
  const kept = fraction.replace(/0+$/, '').padEnd(Math.min(decimals, scale), '0')
  return kept ? `${whole}.${kept}` : whole!
}

/** Thousands apart, for reading: "1,234,567.89". */
export function grouped(text: string): string {
  const [whole, fraction] = text.split('.')
  const spaced = whole!.replace(/\B(?=(\d{3})+(?!\d))/g, ',')
  return fraction === undefined ? spaced : `${spaced}.${fraction}`
}

/** Large amounts in few characters, cut off: "1.23M". */
export function compact(value: bigint, scale: number): string {
  const whole = value / 10n ** BigInt(scale)
  for (const [power, letter] of [[12n, 'T'], [9n, 'B'], [6n, 'M'], [3n, 'K']] as const) {
    const one = 10n ** power
    if (whole >= one) {
      const hundredths = (whole * 100n) / one
      return `${formatUnits(hundredths, 2)}${letter}`
    }
  }
  return formatUnits(value, scale, whole >= 100n ? 1 : whole >= 1n ? 2 : 4)
}

export const floorTo = (value: bigint, step: bigint): bigint => value - (value % step)

export const ceilTo = (value: bigint, step: bigint): bigint => floorTo(value + step - 1n, step)

/** A number for a pixel or a chart, never for money. */
export const approximate = (value: bigint, scale: number): number => Number(value) / 10 ** scale
