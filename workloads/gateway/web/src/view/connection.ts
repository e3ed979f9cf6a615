// What is true of the connections, in one place: live, coming back (and when), or not there.
import type { LinkState } from '../wire/link.ts'
import { byId, setText } from './dom.ts'

const WORDS = { off: 'Off', connecting: 'Connecting', live: 'Live' }

/** The worse of the two is shown: prices, and the account where somebody is signed in. */
export class ConnectionView {
  private readonly node = byId('connection')
  private readonly text = this.node.lastElementChild!
  private publicState: LinkState = { kind: 'connecting' }
  private accountState: LinkState | null = null
  private timer: ReturnType<typeof setInterval> | undefined

  setPublic(state: LinkState): void {
    this.publicState = state
    this.show()
  }

  setAccount(state: LinkState | null): void {
    this.accountState = state
    this.show()
  }

  private show(): void {
    clearInterval(this.timer)
    const [state, what] =
      this.publicState.kind !== 'live' || this.accountState === null || this.accountState.kind === 'off'
        ? ([this.publicState, ''] as const)
        : ([this.accountState, 'account'] as const)
    this.node.dataset['kind'] = state.kind
    if (state.kind === 'waiting') {
      const count = (): void => {
        const seconds = Math.max(0, Math.ceil((state.untilMs - Date.now()) / 1000))
        setText(this.text, seconds > 1 ? `Reconnecting in ${seconds} s` : 'Reconnecting')
      }
      count()
      this.timer = setInterval(count, 500)
      this.node.title = state.reason
    } else {
      setText(this.text, what && state.kind !== 'live' ? `${WORDS[state.kind]}: ${what}` : WORDS[state.kind])
      this.node.title = ''
    }
  }
}
