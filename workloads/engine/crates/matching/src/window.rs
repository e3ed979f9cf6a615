//! What happened last, as much of it as a window holds.

use std::collections::VecDeque;

/// Numbers begin again after so many.
const NUMBERS: u32 = 1 << 31;

/// Items are numbered as they come. Once it is full, each that enters takes the place of the oldest.
#[derive(Clone)]
pub(crate) struct Window<T> {
    most: usize,
    /// The number of the oldest.
    first: u32,
    items: VecDeque<T>,
}

impl<T> Window<T> {
    pub fn new(most: usize) -> Self {
        assert!(most < NUMBERS as usize, "a window holds fewer than 2^31");
        Self {
            most,
            first: 0,
            items: VecDeque::new(),
        }
    }

    pub fn most(&self) -> usize {
        self.most
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    pub fn get(&self, number: u32) -> Option<&T> {
        let place = number.wrapping_sub(self.first) % NUMBERS;
        self.items.get(place as usize)
    }

    /// With its number.
    pub fn oldest(&self) -> Option<(u32, &T)> {
        self.items.front().map(|oldest| (self.first, oldest))
    }

    /// It holds more than it may: the oldest must go.
    pub fn is_over(&self) -> bool {
        self.items.len() > self.most
    }

    /// Returns its number.
    pub fn push(&mut self, item: T) -> u32 {
        self.items.push_back(item);
        (self.first + self.items.len() as u32 - 1) % NUMBERS
    }

    pub fn pop_oldest(&mut self) -> Option<T> {
        let oldest = self.items.pop_front()?;
        self.first = (self.first + 1) % NUMBERS;
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_the_latest_also_when_its_numbers_begin_again() {
        let mut window = Window::new(3);
        window.first = NUMBERS - 5;
        let mut numbers = Vec::new();
        for item in 0..10 {
            numbers.push(window.push(item));
            let gone = window.is_over().then(|| window.pop_oldest()).flatten();
            assert_eq!(gone, (item >= 3).then(|| item - 3));
            for (of, number) in numbers.iter().enumerate() {
                let there = (of + 3 > item).then_some(of);
                assert_eq!(
                    window.get(*number).copied(),
                    there,
                    "item {of} after {item}"
                );
            }
            let oldest = (item + 1).saturating_sub(3);
            assert_eq!(window.oldest(), Some((numbers[oldest], &oldest)));
        }
    }
}
