//! The sum of the digests of what lies in numbered slots, which costs what changed since it was asked last.
//!
//! Knows nothing of what lies there: its owner says which slots changed, and digests those when the sum is asked. One
//! that was never asked remembers nothing, and costs nothing.

#[derive(Clone, Default)]
pub(crate) struct Digests {
    /// By slot, as they are in the sum; 0 where nothing lies.
    digests: Vec<u128>,
    /// A bit for each of them: whether its slot changed since.
    changed: Vec<u64>,
    /// Modulo 2^128.
    sum: u128,
}

impl Digests {
    /// What lies in the slot is another, or nothing any more.
    pub fn change(&mut self, slot: u32) {
        if let Some(word) = self.changed.get_mut(slot as usize / 64) {
            *word |= 1 << (slot % 64);
        }
    }

    /// Asks `digest` of the slots that changed; None: nothing lies there. The first time, and where there are more
    /// slots than there were, of all of them.
    pub fn bring_up_to_date(&mut self, slots: usize, mut digest: impl FnMut(u32) -> Option<u128>) {
        let words = slots.div_ceil(64).max(self.changed.len());
        self.changed.resize(words, u64::MAX);
        self.digests.resize(words * 64, 0);
        for (word, first) in self.changed.iter_mut().zip((0..).step_by(64)) {
            while *word != 0 {
                let slot = first + word.trailing_zeros();
                *word &= *word - 1;
                let now = digest(slot).unwrap_or(0);
                let before = std::mem::replace(&mut self.digests[slot as usize], now);
                self.sum = self.sum.wrapping_sub(before).wrapping_add(now);
            }
        }
    }

    /// As of when it was brought up to date.
    pub fn sum(&self) -> u128 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies in the slots, and which of them were digested when.
    struct Watched {
        slots: Vec<Option<u128>>,
        digests: Digests,
    }

    impl Watched {
        fn put(&mut self, slot: u32, digest: Option<u128>) {
            let slots = &mut self.slots;
            slots.resize(slots.len().max(slot as usize + 1), None);
            slots[slot as usize] = digest;
            self.digests.change(slot);
        }

        /// The slots that were digested, and the sum.
        fn ask(&mut self) -> (Vec<u32>, u128) {
            let (slots, mut digested) = (&self.slots, Vec::new());
            self.digests.bring_up_to_date(slots.len(), |slot| {
                let digest = slots.get(slot as usize).copied().flatten();
                digested.extend(digest.map(|_| slot));
                digest
            });
            (digested, self.digests.sum())
        }
    }

    #[test]
    fn a_sum_costs_what_changed_since_it_was_asked_last() {
        let mut watched = Watched {
            slots: Vec::new(),
            digests: Digests::default(),
        };
        (0..100).for_each(|slot| watched.put(slot, Some(1 << slot)));
        watched.put(70, None);
        let everything: Vec<_> = (0..100).filter(|slot| *slot != 70).collect();
        let sum = (1 << 100) - 1 - (1 << 70);
        assert_eq!(watched.ask(), (everything, sum));
        assert_eq!(watched.ask(), (vec![], sum));
        // Gone; another; the same one twice; come and gone; come; come to where nothing was yet.
        watched.put(3, None);
        watched.put(64, Some(5 << 100));
        watched.put(64, Some(u128::MAX));
        watched.put(120, Some(9));
        watched.put(120, None);
        watched.put(70, Some(1 << 70));
        watched.put(200, Some(7));
        let sum = (sum - (1 << 3) - (1 << 64)).wrapping_add(u128::MAX) + (1 << 70) + 7;
        assert_eq!(watched.ask(), (vec![64, 70, 200], sum));
        assert_eq!(watched.ask(), (vec![], sum));
    }
}
