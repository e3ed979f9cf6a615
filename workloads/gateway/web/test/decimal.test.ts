import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ceilTo, compact, decimalsOf, floorTo, formatUnits, grouped, parseUnits, trimmed, units } from '../src/pure/decimal.ts'

test('text becomes units and back, digit for digit', () => {
  for (const text of ['0.00000001', '123456789012.12345678', '1.10000000', '0.00000000']) {
    assert.equal(formatUnits(units(text, 8), 8), text)
  }
  // Where a float would be wrong: 0.1 + 0.2.
  assert.equal(units('0.1', 8) + units('0.2', 8), units('0.3', 8))
  assert.equal(units('9007199254740993.00000001', 8), 900719925474099300000001n)
})

test('what is no decimal, or has too many of them, is none', () => {
  for (const text of ['', '.', 'x', '1e5', '-1', '1,5', '1.2.3', ' ', '0x10', '1.000000001', '١']) {
    assert.equal(parseUnits(text, 8), null, text)
  }
  assert.equal(parseUnits('1.50', 1), 15n)
  assert.equal(parseUnits('.5', 8), 50_000_000n)
  assert.equal(parseUnits(' 7. ', 2), 700n)
  assert.equal(units('-0.5', 2), -50n)
  assert.throws(() => units('abc', 8), /no decimal/)
})

test('what does not fit is cut off, never rounded up', () => {
  assert.equal(formatUnits(199n, 2, 1), '1.9')
  assert.equal(formatUnits(-199n, 2, 0), '-1')
  assert.equal(formatUnits(-1n, 2, 1), '0.0')
  assert.equal(formatUnits(5n, 0), '5')
  assert.equal(trimmed(150_000_000n, 8), '1.5')
  assert.equal(trimmed(100_000_000n, 8), '1')
  assert.equal(trimmed(100_000_000n, 8, 2), '1.00')
})

test('large amounts are read in groups, or in few characters', () => {
  assert.equal(grouped('1234567.125'), '1,234,567.125')
  assert.equal(grouped('999'), '999')
  assert.equal(compact(units('1999999', 8), 8), '1.99M')
  assert.equal(compact(units('12.345', 8), 8), '12.34')
  assert.equal(compact(units('0.12345', 8), 8), '0.1234')
})

test('steps', () => {
  assert.equal(decimalsOf('0.01000000'), 2)
  assert.equal(decimalsOf('1.00000000'), 0)
  assert.equal(floorTo(107n, 10n), 100n)
  assert.equal(ceilTo(101n, 10n), 110n)
  assert.equal(ceilTo(100n, 10n), 100n)
})
