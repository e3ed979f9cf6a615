//! A table that is looked things up in and never walked through, so that its order cannot matter.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// For keys that no trader chooses: the hash has no secret, so chosen keys could be made to collide.
pub(crate) type Index<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
