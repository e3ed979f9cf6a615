//! Where an order is, by its id: in which slot of a book, or at which place of a window.
//!
//! Ids are handed out in order, so sixteen neighbours share a page, one cache line. The pages of young orders are
//! few and warm; one whose orders are all gone is used again.

use crate::table::Table;

#[derive(Clone)]
pub(crate) struct OrderIndex {
    /// By id / 16 + 1, since a table knows no key 0.
    pages: Table<u32>,
    slots: Vec<[u32; PAGE]>,
    /// As many as there are pages: how many of its slots are taken.
    taken: Vec<u8>,
    free: Vec<u32>,
    /// The page that was added to last, and its key.
    recent: (u64, u32),
}

const PAGE: usize = 16;
/// No slot.
const NONE: u32 = u32::MAX;

impl OrderIndex {
    pub fn keyed(key: u64) -> Self {
        Self {
            pages: Table::keyed(key),
            slots: Vec::new(),
            taken: Vec::new(),
            free: Vec::new(),
            recent: (0, 0),
        }
    }

    pub fn get(&self, order_id: u64) -> Option<u32> {
        let page = self.page(page_key(order_id))?;
        let slot = self.slots[page as usize][place(order_id)];
        (slot != NONE).then_some(slot)
    }

    /// # Panics
    /// When the order has a slot.
    pub fn insert(&mut self, order_id: u64, slot: u32) {
        let key = page_key(order_id);
        let page = match self.page(key) {
            Some(page) => page,
            None => self.add_page(key),
        };
        self.recent = (key, page);
        let before = &mut self.slots[page as usize][place(order_id)];
        assert_eq!(*before, NONE, "order {order_id} is there twice");
        *before = slot;
        self.taken[page as usize] += 1;
    }

    pub fn remove(&mut self, order_id: u64) -> Option<u32> {
        let page_at = self.pages.find(page_key(order_id))?;
        let page = *self.pages.at_mut(page_at);
        let slot = std::mem::replace(&mut self.slots[page as usize][place(order_id)], NONE);
        if slot == NONE {
            return None;
        }
        let taken = &mut self.taken[page as usize];
        *taken -= 1;
        if *taken == 0 {
            self.pages.remove_at(page_at);
            self.recent = (0, 0);
            self.free.push(page);
        }
        Some(slot)
    }

    fn page(&self, key: u64) -> Option<u32> {
        if self.recent.0 == key {
            Some(self.recent.1)
        } else {
            self.pages.get(key)
        }
    }

    #[cold]
    fn add_page(&mut self, key: u64) -> u32 {
        let page = self.free.pop().unwrap_or_else(|| {
            self.slots.push([NONE; PAGE]);
            self.taken.push(0);
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 orders rest")
        });
        self.pages.insert(key, page);
        page
    }
}

fn page_key(order_id: u64) -> u64 {
    order_id / PAGE as u64 + 1
}

fn place(order_id: u64) -> usize {
    (order_id % PAGE as u64) as usize
}
