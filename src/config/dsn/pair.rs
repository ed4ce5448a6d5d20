//! A key and a value, as either form of a connection string gives them.

/// A key and a value as they were typed, after unquoting or percent-decoding.
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
    /// An unknown key may be shown: nothing suggests it is a piece of a password.
    pub(super) showable: bool,
}
