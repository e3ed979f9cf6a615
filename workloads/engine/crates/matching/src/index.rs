//! Where things are in a list, by keys that strangers choose.
//!
//! Holds hashes and positions, never the keys: those are in the list, and whoever asks compares them there. It is never
//! walked through, so that its order cannot matter. Open addressing as in `table`; allocates only when it grows.

use crate::foresight::look_at;

/// What makes hashes unpredictable: with a key that nobody knows, nobody can choose names that collide. Which key it is
/// changes no result.
#[derive(Clone)]
pub(crate) struct Secret([u64; WORDS_MOST]);

const WORDS_MOST: usize = 12;

impl Secret {
    pub fn of(key: u64) -> Self {
        let mut state = key;
        Self([0; WORDS_MOST].map(|_: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        }))
    }

    /// Multiply and shift, over words of 32 bits: two keys have one hash as seldom as chance would have it.
    pub fn hash<const N: usize>(&self, words: [u32; N]) -> u32 {
        const { assert!(N <= WORDS_MOST) };
        let sum = (words.iter().zip(&self.0)).fold(0, |sum: u64, (word, multiplier)| {
            sum.wrapping_add(u64::from(*word).wrapping_mul(*multiplier))
        });
        (sum >> 32) as u32
    }
}

#[derive(Clone, Default)]
pub(crate) struct Index {
    /// A power of two of them, none at first; at most half are taken.
    entries: Vec<Entry>,
    taken: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    at: u32,
}

/// Of an entry that is vacant.
const NOWHERE: u32 = u32::MAX;
const ENTRIES_LEAST: usize = 8;

impl Index {
    /// The first position with this hash that is the one.
    pub fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.entry(hash, is).map(|entry| self.entries[entry].at)
    }

    /// Where that hash is looked for.
    pub fn foresee(&self, hash: u32) {
        look_at(self.entries.get(self.home(hash)).map(|entry| entry.at));
    }

    /// A position that is not in it yet.
    pub fn insert(&mut self, hash: u32, at: u32) {
        assert_ne!(at, NOWHERE, "a list has fewer than 2^32 places");
        if self.taken * 2 >= self.entries.len() {
            self.grow();
        }
        self.put(Entry { hash, at });
        self.taken += 1;
    }

    /// What lay at one position lies at another now.
    pub fn replace(&mut self, hash: u32, before: u32, now: u32) {
        let entry = self.entry(hash, |at| at == before);
        self.entries[entry.expect("it was inserted")].at = now;
    }

    pub fn remove(&mut self, hash: u32, at: u32) {
        let entry = self.entry(hash, |other| other == at);
        let mut hole = entry.expect("it was inserted");
        let mask = self.entries.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let entry = self.entries[next];
            if entry.at == NOWHERE {
                break;
            }
            // It may move into the hole unless its home lies behind the hole.
            let from_home = next.wrapping_sub(self.home(entry.hash)) & mask;
            if from_home >= next.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = next;
            }
        }
        self.entries[hole].at = NOWHERE;
        self.taken -= 1;
    }

    fn entry(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        // The first look is past the end while there are no entries.
        while let Some(entry) = self.entries.get(at) {
            if entry.at == NOWHERE {
                return None;
            }
            if entry.hash == hash && is(entry.at) {
                return Some(at);
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
        None
    }

    fn put(&mut self, entry: Entry) {
        let mask = self.entries.len() - 1;
        let mut at = self.home(entry.hash);
        while self.entries[at].at != NOWHERE {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    /// The upper bits of the hash, as many as number the entries.
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.entries.len() as u64) >> 32) as usize
    }

    #[cold]
    fn grow(&mut self) {
        let entries = (self.entries.len() * 2).max(ENTRIES_LEAST);
        let vacant = Entry {
            hash: 0,
            at: NOWHERE,
        };
        let before = std::mem::replace(&mut self.entries, vec![vacant; entries]);
        for entry in before {
            if entry.at != NOWHERE {
                self.put(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_index_answers_as_a_sorted_map_does() {
        let mut seed = 1_u64;
        let mut below = |bound: u64| {
            seed = (seed.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
            (seed >> 33) % bound
        };
        // With so few hashes most keys collide, and some of them at the end of the entries.
        for hashes in [1, 3, u64::from(u32::MAX)] {
            let hash =
                |key: u64| u32::try_from(u64::from(u32::MAX) - key * 7_919 % hashes).unwrap();
            let mut keys: Vec<u64> = Vec::new();
            let (mut index, mut map) = (Index::default(), BTreeMap::new());
            for _ in 0..20_000 {
                let key = below(60);
                let found = index.find(hash(key), |at| keys[at as usize] == key);
                assert_eq!(found, map.get(&key).copied());
                keys.push(key);
                let now = u32::try_from(keys.len() - 1).unwrap();
                match (found, below(3)) {
                    (None, _) => {
                        index.insert(hash(key), now);
                        map.insert(key, now);
                    }
                    (Some(before), 0) => {
                        index.replace(hash(key), before, now);
                        map.insert(key, now);
                    }
                    (Some(before), _) => {
                        index.remove(hash(key), before);
                        map.remove(&key);
                    }
                }
                assert_eq!(index.taken, map.len());
            }
        }
    }

    #[test]
    fn another_key_gives_other_hashes() {
        let words = [1, 2, 3];
        assert_ne!(Secret::of(0).hash(words), Secret::of(1).hash(words));
        assert_ne!(Secret::of(0).hash(words), Secret::of(0).hash([3, 2, 1]));
    }
}
