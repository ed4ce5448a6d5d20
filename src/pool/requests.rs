//! What a request has with it while it is under way.

pub mod one_shots;
pub mod outstanding;
pub mod permit;
pub mod responder;
pub mod stage;
