import assert from 'node:assert/strict'
import { createHmac, verify, createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { ed25519Signer, hmacSigner, makeEd25519, payload, publicPem } from '../src/pure/signing.ts'

test('the payload is the parameters by name, as they are written', () => {
  assert.equal(payload({ timestamp: 1, apiKey: 'k', side: 'BUY', quantity: '0.10', test: true }), 'apiKey=k&quantity=0.10&side=BUY&test=true&timestamp=1')
})

test('HMAC: the vector of RFC 4231, and what another implementation makes', async () => {
  const vector = await hmacSigner('k', 'Jefe')
  assert.equal(await vector.sign('what do ya want for nothing?'), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843')
  const signer = await hmacSigner('k', 'größe-secret')
  assert.equal(await signer.sign('symbol=BTCUSDT'), createHmac('sha256', 'größe-secret').update('symbol=BTCUSDT').digest('hex'))
})

test('Ed25519: another implementation takes the signature, and the private key cannot be had', async () => {
  const pair = await makeEd25519()
  const signature = await ed25519Signer('k', pair.privateKey).sign('apiKey=k')
  const pem = await publicPem(pair.publicKey)
  assert.equal(verify(null, Buffer.from('apiKey=k'), createPublicKey(pem), Buffer.from(signature, 'base64')), true)
  assert.equal(verify(null, Buffer.from('apiKey=x'), createPublicKey(pem), Buffer.from(signature, 'base64')), false)
  await assert.rejects(crypto.subtle.exportKey('pkcs8', pair.privateKey))
})
