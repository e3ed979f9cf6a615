//! The price levels of one side of a book, and which of them comes next.
//!
//! Levels are known by *rank*: the lower, the sooner it trades. A table finds a level by its rank. A tree of bitmaps
//! finds the one behind a rank: one bit says that something is in a 64th of what the word above it stands for, so that
//! eleven tiers of words reach from one rank to all of 2^63, and a word that would be zero is not there. Dense levels
//! share their words, sparse ones need few more, and nothing depends on how far apart they are.

use crate::table::Table;

/// All orders at one price; never empty. The numbers are those of the orders' slots.
#[derive(Clone, Copy, Default)]
pub(crate) struct Level {
    pub first: u32,
    pub last: u32,
    pub quantity_lots: i64,
}

#[derive(Clone)]
pub(crate) struct PriceLevels {
    levels: Table<Level>,
    /// By tier, from 1 on, and by as much of the rank as all its levels have in common.
    words: Table<u64>,
}

/// Each tier takes six bits of a rank.
const TIERS: u64 = 11;
/// Above all that a word's key takes of a rank.
const TIER_SHIFT: u32 = 58;

impl PriceLevels {
    pub fn keyed(key: u64) -> Self {
        Self {
            levels: Table::keyed(key),
            words: Table::keyed(key),
        }
    }

    pub fn get(&self, rank: u64) -> Option<Level> {
        self.levels.get(rank)
    }

    /// An empty one when there was none. Ranks are 1 to 2^63 - 1.
    pub fn get_or_insert(&mut self, rank: u64) -> &mut Level {
        let level = self.levels.get_or_default(rank);
        if level.quantity_lots == 0 {
            mark(&mut self.words, rank);
        }
        level
    }

    /// Where the level is, until the next one comes or goes.
    pub fn find(&self, rank: u64) -> Option<usize> {
        self.levels.find(rank)
    }

    /// As `find` told.
    pub fn at_mut(&mut self, at: usize) -> &mut Level {
        self.levels.at_mut(at)
    }

    /// The rank is the one that `find` was asked for.
    pub fn remove_at(&mut self, at: usize, rank: u64) {
        self.levels.remove_at(at);
        let mut prefix = rank;
        for tier in 1..=TIERS {
            let bit = 1 << (prefix & 63);
            prefix >>= 6;
            let at = self.words.find(word_key(tier, prefix));
            let at = at.expect("a level has its bits");
            let word = self.words.at_mut(at);
            *word &= !bit;
            if *word != 0 {
                return;
            }
            self.words.remove_at(at);
        }
    }

    /// The first rank behind this one, which need not have a level. Behind 0 is the first of all.
    pub fn after(&self, rank: u64) -> Option<u64> {
        let mut prefix = rank;
        for tier in 1..=TIERS {
            let bit = prefix & 63;
            prefix >>= 6;
            let word = self.words.get(word_key(tier, prefix)).unwrap_or(0);
            let behind = word & (!1 << bit);
            if behind != 0 {
                return Some(self.first_below(tier, prefix << 6 | lowest(behind)));
            }
        }
        None
    }

    fn first_below(&self, tier: u64, mut prefix: u64) -> u64 {
        for below in (1..tier).rev() {
            let word = self.words.get(word_key(below, prefix));
            prefix = prefix << 6 | lowest(word.expect("a bit stands for a word"));
        }
        prefix
    }
}

/// Sets a level's bits, up to the first word that was there before.
fn mark(words: &mut Table<u64>, rank: u64) {
    let mut prefix = rank;
    for tier in 1..=TIERS {
        let bit = 1 << (prefix & 63);
        prefix >>= 6;
        let word = words.get_or_default(word_key(tier, prefix));
        let before = *word;
        *word |= bit;
        if before != 0 {
            return;
        }
    }
}

fn word_key(tier: u64, prefix: u64) -> u64 {
    tier << TIER_SHIFT | prefix
}

fn lowest(word: u64) -> u64 {
    u64::from(word.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_went_leave_no_words_behind() {
        let mut levels = PriceLevels::keyed(0);
        let ranks = [1, 2, 63, 64, 4096, 1 << 40, (1 << 63) - 1];
        for rank in ranks {
            levels.get_or_insert(rank).quantity_lots = 1;
        }
        for rank in ranks {
            let at = levels.find(rank).unwrap();
            levels.remove_at(at, rank);
            assert_eq!(
                levels.after(0),
                ranks.into_iter().find(|other| *other > rank)
            );
        }
        assert_eq!((levels.levels.len(), levels.words.len()), (0, 0));
    }
}
