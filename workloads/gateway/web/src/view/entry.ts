// The order entry: what is filled in, what of it would be refused and why, and what it would cost. It sends nothing: it
// hands over terms that passed.
import { grouped, trimmed } from '../pure/decimal.ts'
import { checked, share, stepped, type Circumstances, type Draft, type Kind, type Refusal, type Side, type Terms, type TimeInForce } from '../pure/entry.ts'
import type { Market } from '../pure/market.ts'
import { byId, eachFrame, setText } from './dom.ts'

export interface EntryTalk {
  readonly circumstances: () => Circumstances
  readonly isSignedIn: () => boolean
  readonly signIn: () => void
  /** Resolves when it is answered; the sentence of a refusal, or nothing. */
  readonly place: (terms: Terms) => Promise<string>
}

export class EntryView {
  private readonly form = byId<HTMLFormElement>('entry-form')
  private readonly price = byId<HTMLInputElement>('price')
  private readonly quantity = byId<HTMLInputElement>('quantity')
  private readonly submit = byId<HTMLButtonElement>('submit')
  private readonly switch = byId<HTMLButtonElement>('quantity-switch')
  private readonly talk: EntryTalk
  private market: Market | null = null
  private byAmount = false
  private sending = false
  /** Fields are judged once the trader has left them, or asked to send. */
  private readonly judged = new Set<Refusal['field']>()
  readonly changed = eachFrame(() => this.paint())

  constructor(talk: EntryTalk) {
    this.talk = talk
    this.form.addEventListener('input', () => this.edited())
    this.form.addEventListener('change', () => this.edited())
    this.form.addEventListener('submit', (event) => {
      event.preventDefault()
      void this.send()
    })
    this.price.addEventListener('blur', () => this.judge('price', this.price))
    this.quantity.addEventListener('blur', () => this.judge('quantity', this.quantity))
    this.price.addEventListener('keydown', (event) => {
      const up = { ArrowUp: 1, ArrowDown: -1 }[event.key]
      if (up === undefined || this.market === null) return
      event.preventDefault()
      this.price.value = stepped(this.price.value, up * (event.shiftKey ? 10 : 1), this.market)
      this.edited()
    })
    this.switch.addEventListener('click', () => {
      this.byAmount = !this.byAmount
      this.quantity.value = ''
      this.judged.clear()
      this.changed()
      this.quantity.focus()
    })
    for (const button of this.form.querySelectorAll<HTMLButtonElement>('[data-share]')) {
      button.addEventListener('click', () => this.fillShare(Number(button.dataset['share'])))
    }
    this.changed()
  }

  look(market: Market): void {
    this.market = market
    this.price.value = ''
    this.quantity.value = ''
    this.judged.clear()
    setText(byId('price-unit'), market.quote)
    this.changed()
  }

  setSide(side: Side): void {
    this.radio('side', side)
    const first = this.draft().kind === 'MARKET' ? this.quantity : this.price
    first.focus()
    first.select()
  }

  setKind(kind: Kind): void {
    this.radio('kind', kind)
  }

  /** From the book: a price, and the quantity that stands up to it. */
  fill(price: bigint, quantity: bigint | null): void {
    if (this.market === null) return
    if (this.draft().kind === 'MARKET') this.radio('kind', 'LIMIT')
    this.price.value = trimmed(price, this.market.quoteScale, this.market.priceDecimals)
    if (quantity !== null) {
      this.byAmount = false
      this.quantity.value = trimmed(quantity, this.market.baseScale)
    }
    this.edited()
  }

  /** A first price, where the trader has not said one. */
  suggest(price: bigint): void {
    if (this.market === null || this.price.value !== '' || document.activeElement === this.price) return
    this.price.value = trimmed(price, this.market.quoteScale, this.market.priceDecimals)
    this.changed()
  }

  private radio(name: string, value: string): void {
    const input = this.form.querySelector<HTMLInputElement>(`input[name="${name}"][value="${value}"]`)
    if (input) input.checked = true
    this.edited()
  }

  private draft(): Draft {
    const sent = new FormData(this.form)
    const kind = sent.get('kind') as Kind
    return {
      side: sent.get('side') as Side,
      kind,
      timeInForce: byId<HTMLSelectElement>('force').value as TimeInForce,
      price: this.price.value,
      quantity: this.quantity.value,
      byAmount: this.byAmount && kind === 'MARKET',
    }
  }

  private edited(): void {
    setText(byId('order-problem'), '')
    this.changed()
  }

  private judge(field: Refusal['field'], input: HTMLInputElement): void {
    if (input.value !== '') this.judged.add(field)
    this.changed()
  }

  private fillShare(percent: number): void {
    if (this.market === null) return
    this.byAmount = false
    this.quantity.value = trimmed(share(percent, this.draft(), this.market, this.talk.circumstances()), this.market.baseScale)
    this.edited()
  }

  private paint(): void {
    const { market } = this
    if (market === null) return
    const draft = this.draft()
    const now = this.talk.circumstances()
    const buys = draft.side === 'BUY'
    byId('price-field').hidden = draft.kind === 'MARKET'
    byId('force-field').hidden = draft.kind !== 'LIMIT'
    this.switch.hidden = draft.kind !== 'MARKET'
    byId('quantity-unit').hidden = draft.kind === 'MARKET'
    setText(byId('quantity-unit'), market.base)
    setText(this.switch, `${draft.byAmount ? market.quote : market.base} ⇄`)
    this.switch.setAttribute('aria-label', `Enter it in ${draft.byAmount ? market.base : market.quote} instead`)
    setText(byId('quantity-label'), draft.byAmount ? (buys ? 'Spend' : 'Receive') : 'Quantity')

    const free = buys ? now.quoteFree : now.baseFree
    const [scale, asset] = buys ? [market.quoteScale, market.quote] : [market.baseScale, market.base]
    setText(byId('available'), free === null ? '–' : `${grouped(trimmed(free, scale, buys ? 2 : 0))} ${asset}`)

    const outcome = checked(draft, market, now)
    const refused = 'sentence' in outcome ? outcome : null
    for (const field of ['price', 'quantity'] as const) {
      const shown = refused?.field === field && this.judged.has(field) ? refused.sentence : ''
      setText(byId(`${field}-problem`), shown)
      byId(field).setAttribute('aria-invalid', String(shown !== ''))
    }
    const total = 'terms' in outcome ? outcome.total : null
    const isApproximate = draft.kind === 'MARKET' && !draft.byAmount
    setText(byId('total-label'), isApproximate ? 'Total, about' : 'Total')
    setText(byId('total'), total === null ? '–' : `${grouped(trimmed(total, market.quoteScale, 2))} ${market.quote}`)

    const word = buys ? 'Buy' : 'Sell'
    this.submit.className = `button main ${buys ? 'buy' : 'sell'}`
    this.submit.disabled = this.sending
    setText(this.submit, this.sending ? 'Sending …' : this.talk.isSignedIn() ? `${word} ${market.base}` : 'Sign in to trade')
  }

  private async send(): Promise<void> {
    if (this.market === null || this.sending) return
    if (!this.talk.isSignedIn()) {
      this.talk.signIn()
      return
    }
    const outcome = checked(this.draft(), this.market, this.talk.circumstances())
    if ('sentence' in outcome) {
      this.judged.add(outcome.field)
      if (outcome.field === 'order') setText(byId('order-problem'), outcome.sentence)
      else byId(outcome.field).focus()
      this.changed()
      return
    }
    this.sending = true
    this.changed()
    try {
      setText(byId('order-problem'), await this.talk.place(outcome.terms))
    } finally {
      this.sending = false
      this.judged.clear()
      this.changed()
    }
  }
}
