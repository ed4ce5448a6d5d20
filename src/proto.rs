//! The generated messages and stubs of `proto/`. Lints are off here only.
#![allow(missing_docs, clippy::all, clippy::pedantic)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
#![allow(rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/pb/mod.rs"));
