//! The price levels of one side of a book, and which of them comes next.
//!
//! Levels are known by *rank*: the lower, the sooner it trades. 64 neighbouring ranks share a leaf and 64 leaves a page,
//! and one word of each says which of them are there. A table finds the page. Above the pages is a tree of such words,
//! each there only while it is not zero, that reaches from one page to all of 2^63 ranks in nine tiers. So nothing
//! depends on how many levels there are, little on how far apart they are, and near the best price, where the orders
//! are, a level comes and goes with one bit.

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
    leaves: Vec<Leaf>,
    free_leaves: Vec<u32>,
    pages: Vec<Page>,
    free_pages: Vec<u32>,
    /// By page number + 1, since a table knows no key 0.
    page_at: Table<u32>,
    /// The page that was entered last, and its key in `page_at`.
    recent: (u64, u32),
    /// By tier, from 1 on, and by what all page numbers below it have in common.
    words: Table<u64>,
}

/// What lies at a bit that is not set is left over.
#[derive(Clone)]
struct Leaf {
    there: u64,
    levels: [Level; 64],
    page: u32,
}

#[derive(Clone)]
struct Page {
    there: u64,
    leaves: [u32; 64],
}

/// Each takes six bits of a page number.
const TIERS: u64 = 9;
/// Above all that a word's key takes of a page number.
const TIER_SHIFT: u32 = 58;

impl PriceLevels {
    pub fn keyed(key: u64) -> Self {
        Self {
            leaves: Vec::new(),
            free_leaves: Vec::new(),
            pages: Vec::new(),
            free_pages: Vec::new(),
            page_at: Table::keyed(key),
            recent: (0, 0),
            words: Table::keyed(key),
        }
    }

    pub fn get(&self, rank: u64) -> Option<&Level> {
        let page = &self.pages[self.page_at.get(page_key(rank))? as usize];
        if !is_set(page.there, leaf_bit(rank)) {
            return None;
        }
        let leaf = &self.leaves[page.leaves[leaf_bit(rank)] as usize];
        is_set(leaf.there, level_bit(rank)).then(|| &leaf.levels[level_bit(rank)])
    }

    /// The leaf of a rank's level, and whether the level was there before. Ranks are 1 to 2^63 - 1.
    pub fn enter(&mut self, rank: u64) -> (u32, bool) {
        let page_at = self.enter_page(page_key(rank));
        let page = &mut self.pages[page_at as usize];
        if !is_set(page.there, leaf_bit(rank)) {
            page.there |= 1 << leaf_bit(rank);
            let leaf_at = self.free_leaves.pop().unwrap_or_else(|| {
                self.leaves.push(Leaf::EMPTY);
                number(self.leaves.len() - 1)
            });
            page.leaves[leaf_bit(rank)] = leaf_at;
            self.leaves[leaf_at as usize].page = page_at;
        }
        let leaf_at = page.leaves[leaf_bit(rank)];
        let leaf = &mut self.leaves[leaf_at as usize];
        let before = leaf.there;
        leaf.there |= 1 << level_bit(rank);
        (leaf_at, is_set(before, level_bit(rank)))
    }

    /// In the leaf that `enter` told when the level came.
    pub fn at_mut(&mut self, leaf: u32, rank: u64) -> &mut Level {
        &mut self.leaves[leaf as usize].levels[level_bit(rank)]
    }

    /// Takes out a level that is in this leaf.
    pub fn leave(&mut self, leaf: u32, rank: u64) {
        let Leaf { there, page, .. } = &mut self.leaves[leaf as usize];
        *there &= !(1 << level_bit(rank));
        if *there == 0 {
            self.free_leaves.push(leaf);
            let page_at = *page;
            let page = &mut self.pages[page_at as usize];
            page.there &= !(1 << leaf_bit(rank));
            if page.there == 0 {
                self.free_pages.push(page_at);
                self.leave_page(page_key(rank));
            }
        }
    }

    /// The first rank behind this one, which need not have a level. Behind 0 is the first of all.
    pub fn after(&self, rank: u64) -> Option<u64> {
        if let Some(page) = self.page_at.get(page_key(rank)) {
            let page = &self.pages[page as usize];
            if is_set(page.there, leaf_bit(rank)) {
                let leaf = &self.leaves[page.leaves[leaf_bit(rank)] as usize];
                let behind = leaf.there & (!1 << level_bit(rank));
                if behind != 0 {
                    return Some(rank & !63 | lowest(behind));
                }
            }
            let behind = page.there & (!1 << leaf_bit(rank));
            if behind != 0 {
                return Some(self.first_of(page, rank >> 12, behind));
            }
        }
        let number = self.page_after(rank >> 12)?;
        let page = self.page_at.get(number + 1);
        let page = &self.pages[page.expect("a bit stands for a page") as usize];
        Some(self.first_of(page, number, page.there))
    }

    /// The first rank in the leaves of a page that are named by bits.
    fn first_of(&self, page: &Page, number: u64, bits: u64) -> u64 {
        let bit = lowest(bits);
        let leaf = &self.leaves[page.leaves[bit as usize] as usize];
        (number << 6 | bit) << 6 | lowest(leaf.there)
    }

    fn enter_page(&mut self, key: u64) -> u32 {
        if self.recent.0 != key {
            let page = match self.page_at.get(key) {
                Some(page) => page,
                None => self.add_page(key),
            };
            self.recent = (key, page);
        }
        self.recent.1
    }

    fn add_page(&mut self, key: u64) -> u32 {
        let page = self.free_pages.pop().unwrap_or_else(|| {
            self.pages.push(Page::EMPTY);
            number(self.pages.len() - 1)
        });
        self.page_at.insert(key, page);
        let mut prefix = key - 1;
        for tier in 1..=TIERS {
            let bit = 1 << (prefix & 63);
            prefix >>= 6;
            let word = self.words.get_or_default(word_key(tier, prefix));
            let before = *word;
            *word |= bit;
            if before != 0 {
                break;
            }
        }
        page
    }

    fn leave_page(&mut self, key: u64) {
        self.recent = (0, 0);
        self.page_at.remove(key);
        let mut prefix = key - 1;
        for tier in 1..=TIERS {
            let bit = 1 << (prefix & 63);
            prefix >>= 6;
            let at = self.words.find(word_key(tier, prefix));
            let at = at.expect("a page has its bits");
            let word = self.words.at_mut(at);
            *word &= !bit;
            if *word != 0 {
                return;
            }
            self.words.remove_at(at);
        }
    }

    fn page_after(&self, number: u64) -> Option<u64> {
        let mut prefix = number;
        for tier in 1..=TIERS {
            let bit = prefix & 63;
            prefix >>= 6;
            let word = self.words.get(word_key(tier, prefix)).unwrap_or(0);
            let behind = word & (!1 << bit);
            if behind != 0 {
                let first = prefix << 6 | lowest(behind);
                return Some((1..tier).rev().fold(first, |prefix, tier| {
                    let word = self.words.get(word_key(tier, prefix));
                    prefix << 6 | lowest(word.expect("a bit stands for a word"))
                }));
            }
        }
        None
    }
}

impl Leaf {
    const EMPTY: Self = Self {
        there: 0,
        levels: [Level {
            first: 0,
            last: 0,
            quantity_lots: 0,
        }; 64],
        page: 0,
    };
}

impl Page {
    const EMPTY: Self = Self {
        there: 0,
        leaves: [0; 64],
    };
}

fn page_key(rank: u64) -> u64 {
    (rank >> 12) + 1
}

fn leaf_bit(rank: u64) -> usize {
    (rank >> 6 & 63) as usize
}

fn level_bit(rank: u64) -> usize {
    (rank & 63) as usize
}

fn word_key(tier: u64, prefix: u64) -> u64 {
    tier << TIER_SHIFT | prefix
}

fn is_set(word: u64, bit: usize) -> bool {
    word >> bit & 1 == 1
}

fn lowest(word: u64) -> u64 {
    u64::from(word.trailing_zeros())
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("no more leaves than orders")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_went_leave_nothing_behind() {
        let mut levels = PriceLevels::keyed(0);
        let ranks = [1, 2, 63, 64, 4095, 4096, 1 << 40, (1 << 63) - 1];
        for _ in 0..3 {
            let mut leaves = Vec::new();
            for rank in ranks {
                leaves.push(levels.enter(rank).0);
                assert_eq!(levels.enter(rank), (leaves[leaves.len() - 1], true));
            }
            for (at, rank) in ranks.into_iter().enumerate() {
                levels.leave(leaves[at], rank);
                assert_eq!(levels.after(0), ranks.get(at + 1).copied());
                assert!(levels.get(rank).is_none());
            }
            assert_eq!((levels.page_at.len(), levels.words.len()), (0, 0));
            assert_eq!(levels.leaves.len(), levels.free_leaves.len());
            assert_eq!(levels.pages.len(), levels.free_pages.len());
        }
    }
}
