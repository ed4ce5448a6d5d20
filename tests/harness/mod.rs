//! What every test starts from: one PostgreSQL for its program, and the real
//! binary in front of it, one process a test.
#![allow(dead_code, unused_imports)] // Each test program uses its own part of this.

mod admin;
mod calls;
mod config;
pub mod demo;
pub mod fake;
pub mod frames;
pub mod h2;
pub mod header_blocks;
mod http;
mod log;
pub mod names;
pub mod pki;
mod postgres;
pub mod proxy;
mod python;
mod service;
pub mod siege;
pub mod sql;
mod tenant;
pub mod traffic;
pub mod turns;
mod wait;

use std::path::{Path, PathBuf};

pub use admin::*;
pub use calls::*;
pub use config::*;
pub use http::*;
pub use log::Log;
pub use postgres::*;
pub use python::*;
pub use service::*;
pub use tenant::*;
pub use wait::*;

/// The path of a file in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
