//! How values lie in a snapshot: integers little-endian and of fixed width, lists with their length in front, choices
//! with a number in front.
//!
//! Whatever is read was perhaps never written by us: no bytes make it panic, nothing is allocated beyond what the bytes
//! that are there can fill, and a value that is read is written again as the same bytes.

use std::collections::BTreeSet;

/// Distinct texts of refusals that a snapshot may have, and bytes of each. They are kept for the life of the process.
const TEXTS_MOST: usize = 1024;
const TEXT_BYTES_MOST: usize = 256;

/// What cannot be in a snapshot and is.
pub(crate) type Damage = &'static str;

pub(crate) trait Stored: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut Input) -> Result<Self, Damage>;
}

/// What is left to be read.
pub(crate) struct Input<'a> {
    left: &'a [u8],
    texts: BTreeSet<&'static str>,
    /// How many are listed so far: numbers from there on are of nothing.
    pub assets: usize,
    pub symbols: usize,
    /// Of the snapshot.
    pub encoding: u32,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            left: bytes,
            texts: BTreeSet::new(),
            assets: 0,
            symbols: 0,
            encoding: 0,
        }
    }

    pub fn take(&mut self, bytes: usize) -> Result<&'a [u8], Damage> {
        let (taken, left) = (self.left.split_at_checked(bytes)).ok_or("it ends early")?;
        self.left = left;
        Ok(taken)
    }

    /// A length that something of at least one byte each follows.
    pub fn length(&mut self) -> Result<usize, Damage> {
        let length = usize::try_from(u64::read(self)?).map_err(|_| "a length is too large")?;
        if length > self.left.len() {
            return Err("a length is larger than what is left");
        }
        Ok(length)
    }

    pub fn text(&mut self) -> Result<&'a str, Damage> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| "a text is no UTF-8")
    }

    pub fn end(&self) -> Result<(), Damage> {
        match self.left {
            [] => Ok(()),
            _ => Err("something follows its end"),
        }
    }
}

pub(crate) fn write_length(length: usize, out: &mut Vec<u8>) {
    (length as u64).write(out);
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl Stored for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(from: &mut Input) -> Result<Self, Damage> {
                let bytes = from.take(size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().expect("as many as were taken")))
            }
        }
    )* };
}

integers!(u8, u32, u64, u128, i64, i128);

impl<const N: usize> Stored for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Ok(from.take(N)?.try_into().expect("as many as were taken"))
    }
}

impl Stored for bool {
    fn write(&self, out: &mut Vec<u8>) {
        u8::from(*self).write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err("a truth is neither 0 nor 1"),
        }
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<T: Stored, E: Stored> Stored for Result<T, E> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_ok().write(out);
        match self {
            Ok(value) => value.write(out),
            Err(error) => error.write(out),
        }
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Ok(match bool::read(from)? {
            true => Ok(T::read(from)?),
            false => Err(E::read(from)?),
        })
    }
}

impl<T: Stored> Stored for Box<T> {
    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        T::read(from).map(Box::new)
    }
}

impl<T: Stored, U: Stored> Stored for (T, U) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        Ok((T::read(from)?, U::read(from)?))
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        // It grows as items come: a length alone allocates nothing.
        (0..from.length()?).map(|_| T::read(from)).collect()
    }
}

impl<T: Stored + Ord> Stored for BTreeSet<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let mut items = Self::new();
        for _ in 0..from.length()? {
            let item = T::read(from)?;
            if items.last().is_some_and(|last| *last >= item) {
                return Err("a set is not in order");
            }
            items.insert(item);
        }
        Ok(items)
    }
}

impl Stored for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        from.text().map(Self::from)
    }
}

/// The sentences of refusals, which are constants where they are made.
impl Stored for &'static str {
    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Input) -> Result<Self, Damage> {
        let text = from.text()?;
        if let Some(known) = from.texts.get(text) {
            return Ok(known);
        }
        if text.len() > TEXT_BYTES_MOST || from.texts.len() == TEXTS_MOST {
            return Err("it has more sentences than there are");
        }
        let kept: &'static str = Box::leak(Box::from(text));
        from.texts.insert(kept);
        Ok(kept)
    }
}

/// A struct as its fields in this order. One that is missing here does not compile.
macro_rules! fields {
    ($($type:ident { $($field:ident),* $(,)? })*) => { $(
        impl $crate::stored::Stored for $type {
            fn write(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($crate::stored::Stored::write($field, out);)*
            }

            fn read(
                from: &mut $crate::stored::Input,
            ) -> Result<Self, $crate::stored::Damage> {
                $(let $field = $crate::stored::Stored::read(from)?;)*
                Ok(Self { $($field),* })
            }
        }
    )* };
}

/// An enum as the number of its variant and what that holds. One that is missing here does not compile.
macro_rules! choices {
    ($($type:ident { $(
        $number:literal => $variant:ident $(($($item:ident),*))? $({ $($field:ident),* $(,)? })?
    ),* $(,)? })*) => { $(
        impl $crate::stored::Stored for $type {
            fn write(&self, out: &mut Vec<u8>) {
                match self { $(
                    Self::$variant $(($($item),*))? $({ $($field),* })? => {
                        out.push($number);
                        $($($crate::stored::Stored::write($item, out);)*)?
                        $($($crate::stored::Stored::write($field, out);)*)?
                    }
                )* }
            }

            fn read(
                from: &mut $crate::stored::Input,
            ) -> Result<Self, $crate::stored::Damage> {
                match <u8 as $crate::stored::Stored>::read(from)? {
                    $(
                        $number => {
                            $($(let $item = $crate::stored::Stored::read(from)?;)*)?
                            $($(let $field = $crate::stored::Stored::read(from)?;)*)?
                            Ok(Self::$variant $(($($item),*))? $({ $($field),* })?)
                        }
                    )*
                    _ => Err(concat!("no ", stringify!($type), " has that number")),
                }
            }
        }
    )* };
}

pub(crate) use {choices, fields};
