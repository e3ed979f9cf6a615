// Dialogs: how they close, and a question that waits for its answer.
import { byId, setText } from './dom.ts'

export function wireDialogs(): void {
  for (const dialog of document.querySelectorAll('dialog')) {
    dialog.querySelector('[data-close]')?.addEventListener('click', () => dialog.close())
    // A click beside it.
    dialog.addEventListener('mousedown', (event) => event.target === dialog && dialog.close())
  }
}

export function confirm(title: string, text: string, yes: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>('confirm')
  setText(byId('confirm-title'), title)
  setText(byId('confirm-text'), text)
  setText(byId('confirm-yes'), yes)
  dialog.returnValue = ''
  dialog.showModal()
  return new Promise((done) => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }))
}
