// The key pair of this browser, in its IndexedDB: kept as keys, whose private half nobody can read out.

const DATABASE = 'openbourse'
const STORE = 'keys'
const NAME = 'ed25519'

function request<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((done, failed) => {
    asked.onsuccess = () => done(asked.result)
    asked.onerror = () => failed(asked.error ?? new Error('the browser keeps no keys'))
  })
}

async function store<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const opening = indexedDB.open(DATABASE, 1)
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE)
  const database = await request(opening)
  try {
    return await request(act(database.transaction(STORE, mode).objectStore(STORE)))
  } finally {
    database.close()
  }
}

export async function keptPair(): Promise<CryptoKeyPair | null> {
  return ((await store('readonly', (keys) => keys.get(NAME) as IDBRequest<CryptoKeyPair | undefined>)) ?? null)
}

export async function keepPair(pair: CryptoKeyPair): Promise<void> {
  await store('readwrite', (keys) => keys.put(pair, NAME))
}
