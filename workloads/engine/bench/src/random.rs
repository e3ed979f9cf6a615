//! Random numbers that are the same everywhere: no float, no seed but the one given.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// 0 to `bound` - 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// 1 to `most`, a power of two: at least x with a probability of about 1/x.
    pub fn power_law(&mut self, most: u64) -> u64 {
        most / (1 + self.below(most))
    }

    /// 1 to `2^bits` - 1, each power of two as likely as the next.
    pub fn log_uniform(&mut self, bits: u64) -> u64 {
        let power = 1 << self.below(bits);
        power + self.below(power)
    }

    pub fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
