// The chosen colors, before anything is drawn. The rest is in view/theme.ts.
const chosen = localStorage.getItem('theme')
if (chosen === 'dark' || chosen === 'light') document.documentElement.dataset['theme'] = chosen
