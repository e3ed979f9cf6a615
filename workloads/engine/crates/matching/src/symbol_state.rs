//! What a symbol accepts, and the halts that decide it.

/// In order of how much is forbidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SymbolState {
    Trading,
    CancelOnly,
    Halt,
}
