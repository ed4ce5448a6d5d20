//! What an operator may look at and have done while the service runs.

pub mod actions;
pub mod audit;
pub mod looks;
mod putting;
