// Signs requests as the wire has it. A secret goes into the browser's own cryptography and nowhere else: it is never
// part of a request.

export interface Signer {
  readonly apiKey: string
  readonly sign: (payload: string) => Promise<string>
}

export type Parameters = Readonly<Record<string, string | number | boolean>>

/** What is signed of a request over WebSocket: the parameters by name, as they are written. */
export const payload = (parameters: Parameters): string =>
  Object.keys(parameters)
    .sort()
    .map((name) => `${name}=${parameters[name]}`)
    .join('&')

const hexadecimal = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('')

const base64 = (bytes: ArrayBuffer): string => btoa(String.fromCharCode(...new Uint8Array(bytes)))

export async function hmacSigner(apiKey: string, secret: string): Promise<Signer> {
  const text = new TextEncoder()
  const key = await crypto.subtle.importKey('raw', text.encode(secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return { apiKey, sign: async (signed) => hexadecimal(await crypto.subtle.sign('HMAC', key, text.encode(signed))) }
}

export const ed25519Signer = (apiKey: string, key: CryptoKey): Signer => ({
  apiKey,
  sign: async (signed) => base64(await crypto.subtle.sign('Ed25519', key, new TextEncoder().encode(signed))),
})

/** A key pair whose private half cannot leave the browser, not even for this page. */
export async function makeEd25519(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey('Ed25519', false, ['sign', 'verify'])) as CryptoKeyPair
}

/** As `openbourse keys create --public-key` takes it. */
export async function publicPem(key: CryptoKey): Promise<string> {
  const lines = base64(await crypto.subtle.exportKey('spki', key)).match(/.{1,64}/g) ?? []
  return ['-----BEGIN PUBLIC KEY-----', ...lines, '-----END PUBLIC KEY-----', ''].join('\n')
}
