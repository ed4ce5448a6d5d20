//! Values as they were given, before they become the settings of anything: each knows its key and
//! where it came from. Machinery without a word of what is set.
//!
//! A [`SettingValue`] comes from a flag, a variable, a [`Table`] of a TOML file, a profile or a
//! default ([`Origin`]). Its readers ([`SettingValue::number`], [`SettingValue::duration`] …) return
//! the typed value, or a [`SettingFault`] that names the key, the place and what is allowed.
//! [`SettingFaults`] collects them, so that somebody who writes a file sees everything that is wrong
//! with it at once.
//!
//! ```text
//! let document = file::read("clients.toml")?;
//! let mut root = document.root;
//! let mut faults = SettingFaults::default();
//! if let Some(mut pool) = faults.keep(root.take_table("pool")).flatten() {
//!     if let Some(size) = faults.keep(pool.take("size")).flatten() {
//!         config.size = faults.keep(size.number(1..=1000)).unwrap_or(config.size);
//!     }
//!     pool.finish(&mut faults);      // Every key that nobody took is unknown.
//! }
//! root.finish(&mut faults);
//! faults.ended()?;
//! ```

mod durations;
mod fault;
#[cfg(feature = "config-file")]
pub mod file;
mod moments;
mod nearest;
mod origin;
mod readers;
mod sizes;
mod table;
mod value;

#[cfg(all(test, feature = "server"))]
mod tests;

pub use durations::duration;
pub use fault::{SettingFault, SettingFaults};
pub use moments::moment;
pub use nearest::nearest;
pub use origin::Origin;
pub use sizes::{bytes, shown_bytes};
pub use table::Table;
pub use value::{Content, SettingValue};
