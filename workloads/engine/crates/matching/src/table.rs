//! A table from integers to small values: looked things up in and never walked through, so that its order cannot matter.
//!
//! Open addressing: a key lies in the first free entry from its home on, and what is taken out is closed up, so that a
//! search ends at the first vacant entry. It grows by doubling, never shrinks, and allocates only when it grows.

/// From keys other than 0.
#[derive(Clone)]
pub(crate) struct Table<V> {
    /// A power of two of them, none at first; at most half are taken.
    entries: Vec<Entry<V>>,
    taken: usize,
    /// Odd. With one that is a secret nobody can choose keys that lie together.
    multiplier: u64,
    /// Of the 64 bits of a hash, all but as many as number the entries.
    shift: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry<V> {
    key: u64,
    value: V,
}

const VACANT: u64 = 0;
/// 2^64 over the golden ratio: neighbours among the keys come to lie far apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const ENTRIES_LEAST: usize = 8;

impl<V: Copy + Default> Table<V> {
    /// 0 is the key of who has no secret.
    pub fn keyed(key: u64) -> Self {
        Self {
            entries: Vec::new(),
            taken: 0,
            multiplier: GOLDEN ^ key << 1,
            shift: 0,
        }
    }

    pub fn get(&self, key: u64) -> Option<V> {
        self.find(key).map(|at| self.entries[at].value)
    }

    /// Where a key is, until the next change of the table's keys.
    pub fn find(&self, key: u64) -> Option<usize> {
        let mut at = self.home(key);
        // The first look is past the end while there are no entries.
        while let Some(entry) = self.entries.get(at) {
            if entry.key == key {
                return (key != VACANT).then_some(at);
            }
            if entry.key == VACANT {
                return None;
            }
            at = (at + 1) & (self.entries.len() - 1);
        }
        None
    }

    /// As `find` told.
    pub fn at_mut(&mut self, at: usize) -> &mut V {
        &mut self.entries[at].value
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.taken
    }

    /// Returns what the key had before.
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        let taken_before = self.taken;
        let before = std::mem::replace(self.get_or_default(key), value);
        (self.taken == taken_before).then_some(before)
    }

    /// A key that was not there has the default from now on.
    pub fn get_or_default(&mut self, key: u64) -> &mut V {
        assert_ne!(key, VACANT, "a key is not 0");
        if self.taken * 2 >= self.entries.len() {
            self.grow();
        }
        let mask = self.entries.len() - 1;
        let mut at = self.home(key);
        while self.entries[at].key != key {
            if self.entries[at].key == VACANT {
                self.entries[at] = Entry {
                    key,
                    value: V::default(),
                };
                self.taken += 1;
                break;
            }
            at = (at + 1) & mask;
        }
        &mut self.entries[at].value
    }

    pub fn remove(&mut self, key: u64) -> Option<V> {
        let at = self.find(key)?;
        Some(self.remove_at(at))
    }

    /// As `find` told.
    pub fn remove_at(&mut self, at: usize) -> V {
        let value = self.entries[at].value;
        let mask = self.entries.len() - 1;
        let mut hole = at;
        let mut at = at;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.key == VACANT {
                break;
            }
            // It may move into the hole unless its home lies behind the hole.
            let from_home = at.wrapping_sub(self.home(entry.key)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole].key = VACANT;
        self.taken -= 1;
        value
    }

    fn home(&self, key: u64) -> usize {
        (key.wrapping_mul(self.multiplier) >> self.shift) as usize
    }

    #[cold]
    fn grow(&mut self) {
        let entries = (self.entries.len() * 2).max(ENTRIES_LEAST);
        self.shift = u64::BITS - entries.trailing_zeros();
        let before = std::mem::replace(&mut self.entries, vec![Entry::default(); entries]);
        self.taken = 0;
        for entry in before {
            if entry.key != VACANT {
                *self.get_or_default(entry.key) = entry.value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Times `GOLDEN` it is 1, so that its small multiples have one home.
    const INVERSE: u64 = 0xf1de_83e1_9937_733d;

    #[test]
    fn a_table_answers_as_a_sorted_map_does() {
        let mut seed = 1_u64;
        let mut below = |bound: u64| {
            seed = (seed.wrapping_mul(6_364_136_223_846_793_005)).wrapping_add(1);
            (seed >> 33) % bound
        };
        for spread in [1, INVERSE, 1 << 57] {
            for key in [0, 0x1234_5678_9abc_def0] {
                let (mut table, mut map) = (Table::keyed(key), BTreeMap::new());
                for step in 0..20_000 {
                    let key = (below(60) + 1).wrapping_mul(spread);
                    match below(4) {
                        0 => assert_eq!(table.insert(key, step), map.insert(key, step)),
                        1 => {
                            *table.get_or_default(key) += 1;
                            *map.entry(key).or_default() += 1;
                        }
                        _ => assert_eq!(table.remove(key), map.remove(&key)),
                    }
                    assert_eq!(table.len(), map.len());
                    for number in 0..=60_u64 {
                        let key = number.wrapping_mul(spread);
                        assert_eq!(table.get(key), map.get(&key).copied());
                    }
                }
            }
        }
    }
}
