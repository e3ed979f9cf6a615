//! Names that come from outside, in types that only a valid one fits into. Nothing here allocates, halts apart.

use std::borrow::Borrow;
use std::fmt;

/// Up to `N` ASCII characters, held in place. Orders as its text does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize> {
    // Padded with zeros, which are in no name: comparing bytes first and length second compares text.
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Text<N> {
    fn checked(text: &str, least: usize, allowed: fn(u8) -> bool) -> Option<Self> {
        if text.len() < least || text.len() > N || !text.bytes().all(allowed) {
            return None;
        }
        let mut bytes = [0; N];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(Self {
            bytes,
            length: u8::try_from(text.len()).ok()?,
        })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_ref()).expect("only ASCII is let in")
    }
}

impl<const N: usize> AsRef<[u8]> for Text<N> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.as_str())
    }
}

/// Numbers the symbols of a shard in the order of their listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolId(pub(crate) u32);

/// Numbers the assets of a shard in the order of their definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId(pub(crate) u32);

impl SymbolId {
    /// Whatever it has in a shard.
    pub const OF_A_RECORD: Self = Self(0);
}

impl AssetId {
    pub const BASE_OF_A_RECORD: Self = Self(0);
    pub const QUOTE_OF_A_RECORD: Self = Self(1);
}

/// What the numbers of a shard stand for.
pub trait Names {
    fn symbol_of(&self, symbol: SymbolId) -> SymbolName;
    fn asset_of(&self, asset: AssetId) -> AssetName;
}

/// 2 to 32 of A-Z 0-9.
pub type SymbolName = Text<32>;
/// 1 to 16 of A-Z 0-9.
pub type AssetName = Text<16>;
/// 1 to 63 of a-z 0-9 -
pub type ShardName = Text<63>;
/// 1 to 36 of A-Z a-z 0-9 _ . : / -
pub type ClientOrderId = Text<36>;
/// 1 to 64 of A-Z a-z 0-9 _ . : / -
pub type TransferId = Text<64>;

impl SymbolName {
    pub fn symbol(text: &str) -> Option<Self> {
        Self::checked(text, 2, is_listing_character)
    }
}

impl AssetName {
    pub fn asset(text: &str) -> Option<Self> {
        Self::checked(text, 1, is_listing_character)
    }
}

impl ClientOrderId {
    pub fn client_order_id(text: &str) -> Option<Self> {
        Self::checked(text, 1, is_id_character)
    }
}

impl ClientOrderId {
    /// With whose it is and what for, to be hashed.
    pub(crate) fn words(&self, account: u64, symbol: u32) -> [u32; 12] {
        let mut words = [0; 12];
        let (chunks, _) = self.bytes.as_chunks::<4>();
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u32::from_le_bytes(*chunk);
        }
        words[9] = (account >> 32) as u32;
        words[10] = account as u32;
        words[11] = symbol;
        words
    }
}

impl ShardName {
    pub fn shard(text: &str) -> Option<Self> {
        Self::checked(text, 1, is_label_character)
    }
}

impl TransferId {
    pub fn transfer_id(text: &str) -> Option<Self> {
        Self::checked(text, 1, is_id_character)
    }
}

/// 1 to 253 of A-Z a-z 0-9 _ . : / -
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HaltName(Box<str>);

impl HaltName {
    pub const MOST: usize = 253;

    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MOST).contains(&text.len()) && text.bytes().all(is_id_character);
        fits.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for HaltName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HaltName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// An account that can own orders and deposits. Below 1000 are the shard's own: 1 fees, 2 the world outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Trader(u64);

impl Trader {
    pub const FIRST: u64 = 1000;

    pub fn new(account: u64) -> Option<Self> {
        (account >= Self::FIRST).then_some(Self(account))
    }

    pub fn account(self) -> u64 {
        self.0
    }
}

fn is_listing_character(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn is_label_character(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn is_id_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_as_their_text_does() {
        let mut names: Vec<_> = ["BTC", "AB", "A", "B", "BTCUSDT", "A0"]
            .into_iter()
            .map(|text| AssetName::asset(text).unwrap())
            .collect();
        names.sort();
        let sorted: Vec<_> = names.iter().map(Text::as_str).collect();
        assert_eq!(sorted, ["A", "A0", "AB", "B", "BTC", "BTCUSDT"]);
    }

    #[test]
    fn a_name_of_another_shape_is_not_one() {
        for text in [
            "",
            "B",
            "btcusdt",
            "BTC-USDT",
            "BTC USDT",
            "BTC\0",
            "ÄB",
            &"A".repeat(33),
        ] {
            assert_eq!(SymbolName::symbol(text), None, "{text:?}");
        }
        for text in ["", "a b", "é", "a\0", &"a".repeat(37)] {
            assert_eq!(ClientOrderId::client_order_id(text), None, "{text:?}");
        }
        assert!(ClientOrderId::client_order_id("aZ9_.:/-").is_some());
        assert_eq!(
            ClientOrderId::client_order_id(&"a".repeat(36))
                .unwrap()
                .as_str()
                .len(),
            36
        );
        assert_eq!(HaltName::new(&"h".repeat(254)), None);
        assert_eq!(Trader::new(999), None);
    }
}
