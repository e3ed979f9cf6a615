// Light, dark, or as the device has it; kept in this browser.
import { byId } from './dom.ts'

const CHOICES = ['device', 'light', 'dark'] as const
const NAMES = { device: 'as the device has them', light: 'light', dark: 'dark' }

export function showTheme(changed: () => void): { readonly next: () => void } {
  const button = byId('theme')
  const chosen = (): (typeof CHOICES)[number] => CHOICES.find((each) => each === document.documentElement.dataset['theme']) ?? 'device'

  const say = (): void => button.setAttribute('aria-label', `Colors: ${NAMES[chosen()]}`)
  const next = (): void => {
    const theme = CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length]!
    if (theme === 'device') {
      delete document.documentElement.dataset['theme']
      localStorage.removeItem('theme')
    } else {
      document.documentElement.dataset['theme'] = theme
      localStorage.setItem('theme', theme)
    }
    say()
    changed()
  }
  button.addEventListener('click', next)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed)
  say()
  return { next }
}

/** A color of the style sheet as it is now, for what paints by itself. */
export function color(name: string): string {
  const probe = document.createElement('i')
  probe.style.color = `var(${name})`
  document.body.append(probe)
  const computed = getComputedStyle(probe).color
  probe.remove()
  return computed
}
