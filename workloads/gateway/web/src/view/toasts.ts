// Messages that come and go. A screen reader hears them; a "no" stays longer than a "done".
import { byId, element } from './dom.ts'

export type Tone = 'good' | 'bad' | 'plain'

const SHOWN_MOST = 4
const GONE_AFTER_MS = { good: 5_000, plain: 6_000, bad: 12_000 }

export function toast(tone: Tone, text: string, more = ''): void {
  const list = byId('toasts')
  const shown = element('div', { class: `toast ${tone}` }, element('p', {}, text))
  if (more) shown.append(element('small', {}, more))
  const end = (): void => shown.remove()
  shown.append(element('button', { type: 'button', class: 'icon', 'aria-label': 'Dismiss', onclick: end }, '×'))
  list.append(shown)
  while (list.children.length > SHOWN_MOST) list.firstElementChild?.remove()
  setTimeout(end, GONE_AFTER_MS[tone])
}
