//! A key and a value, as either form of a connection string gives them.

use std::borrow::Cow;

/// A key and a value as they were typed, after unquoting or percent-decoding.
pub(super) struct Pair<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: String,
    /// An unknown key may be shown: nothing suggests it is a piece of a password.
    pub(super) showable: bool,
}
