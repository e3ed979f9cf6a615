// The sign-in panel: a key with its secret, or a key pair that was made in this browser and cannot leave it. The secret
// is kept in this tab, and only when the trader says so; the pair in the browser's own store.
import { ed25519Signer, hmacSigner, makeEd25519, publicPem, type Signer } from '../pure/signing.ts'
import { byId, setText } from './dom.ts'
import { keptPair, keepPair } from './key_store.ts'

const KEPT = 'key'

export class SignInView {
  private readonly dialog = byId<HTMLDialogElement>('sign-in')
  private readonly form = byId<HTMLFormElement>('sign-in-form')
  private readonly apiKey = byId<HTMLInputElement>('api-key')
  private readonly secret = byId<HTMLInputElement>('secret')
  private readonly remember = byId<HTMLInputElement>('remember')
  private readonly done: (signer: Signer) => void
  private pair: CryptoKeyPair | null = null

  constructor(done: (signer: Signer) => void) {
    this.done = done
    this.form.addEventListener('submit', (event) => {
      event.preventDefault()
      void this.submit()
    })
    for (const radio of this.form.querySelectorAll<HTMLInputElement>('input[name="key-kind"]')) {
      radio.addEventListener('change', () => void this.chooseKind())
    }
  }

  open(problem = ''): void {
    setText(byId('sign-in-problem'), crypto.subtle ? problem : 'The browser signs only on https pages and on this machine itself (127.0.0.1, localhost): open the page there.')
    if (!this.dialog.open) this.dialog.showModal()
    this.apiKey.focus()
  }

  /** What this tab, or this browser, kept. Null: nothing. */
  async kept(): Promise<Signer | null> {
    if (!crypto.subtle) return null
    const kept = sessionStorage.getItem(KEPT)
    if (kept === null) return null
    const { apiKey, secret } = JSON.parse(kept) as { apiKey: string; secret?: string }
    if (secret !== undefined) return hmacSigner(apiKey, secret)
    const pair = await keptPair()
    return pair && ed25519Signer(apiKey, pair.privateKey)
  }

  forget(): void {
    sessionStorage.removeItem(KEPT)
  }

  private usesPair = (): boolean => new FormData(this.form).get('key-kind') === 'ed25519'

  private async chooseKind(): Promise<void> {
    const usesPair = this.usesPair()
    byId('pair').hidden = !usesPair
    byId('secret-field').hidden = usesPair
    if (!usesPair || this.pair) return
    try {
      this.pair = await keptPair()
      if (!this.pair) {
        this.pair = await makeEd25519()
        await keepPair(this.pair)
      }
      byId<HTMLTextAreaElement>('public-key').value = await publicPem(this.pair.publicKey)
    } catch (error) {
      setText(byId('sign-in-problem'), `This browser makes no Ed25519 keys (${String(error)}): use a key and secret.`)
    }
  }

  private async submit(): Promise<void> {
    const apiKey = this.apiKey.value.trim()
    const secret = this.secret.value.trim()
    const usesPair = this.usesPair()
    const problem = !apiKey ? 'Enter the API key.' : !usesPair && !secret ? 'Enter the secret that belongs to the key.' : ''
    setText(byId('sign-in-problem'), problem)
    if (problem || !crypto.subtle) return
    if (usesPair && !this.pair) return
    const signer = usesPair ? ed25519Signer(apiKey, this.pair!.privateKey) : await hmacSigner(apiKey, secret)
    if (this.remember.checked) sessionStorage.setItem(KEPT, JSON.stringify(usesPair ? { apiKey } : { apiKey, secret }))
    this.secret.value = ''
    this.dialog.close()
    this.done(signer)
  }
}
