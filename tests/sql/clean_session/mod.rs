//! A session is clean when the next lease gets it.

mod leftovers;
mod reset;
