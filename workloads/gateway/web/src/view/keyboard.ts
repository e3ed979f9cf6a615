// Shortcuts: single letters, while nobody types and no dialog is open.

export type Shortcuts = Readonly<Record<string, () => void>>

export function listen(shortcuts: Shortcuts): void {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    const target = event.target as HTMLElement
    const types = target instanceof HTMLInputElement && !['radio', 'checkbox'].includes(target.type)
    if (types || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) {
      if (event.key === 'Escape') target.blur()
      return
    }
    if (document.querySelector('dialog[open]')) return
    const act = shortcuts[event.key.toLowerCase()]
    if (!act) return
    event.preventDefault()
    act()
  })
}
