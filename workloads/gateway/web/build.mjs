// Builds the page into the folder that is given: index.html, and assets whose names say what is in them. Each file
// stands beside itself compressed, so that the gateway compresses nothing. Fetches nothing.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const [target] = process.argv.slice(2)
if (!target) {
  console.error('usage: node build.mjs FOLDER')
  process.exit(2)
}
rmSync(target, { recursive: true, force: true })
mkdirSync(join(target, 'assets'), { recursive: true })

const written = (path, bytes) => {
  writeFileSync(join(target, path), bytes)
  writeFileSync(join(target, `${path}.gz`), gzipSync(bytes, { level: 9 }))
}

const { outputFiles } = await build({
  entryPoints: ['src/main.ts', 'src/theme_first.ts', 'src/style/page.css'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2023',
  legalComments: 'eof',
  outdir: 'out',
  write: false,
})
let html = readFileSync('index.html', 'utf8')
for (const { path, contents } of outputFiles) {
  const [, stem, ending] = /([^/]+)\.(\w+)$/.exec(path)
  const hash = createHash('sha256').update(contents).digest('hex').slice(0, 12)
  const asset = `assets/${stem}-${hash}.${ending}`
  const named = `/assets/${stem}.${ending}`
  if (!html.includes(named)) throw new Error(`index.html does not name ${named}`)
  html = html.replaceAll(named, `/${asset}`)
  written(asset, contents)
}
written('favicon.svg', readFileSync('favicon.svg'))
written('index.html', html)
