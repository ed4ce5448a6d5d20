//! Between the wire's types and ours. Requests are parsed here; what comes out
//! is trusted inside.

pub(super) mod admin;
pub(super) mod admin_actions;
pub(super) mod encode;
pub(super) mod fields;
pub(super) mod health;
pub(super) mod kept;
pub(super) mod lease;
pub(super) mod requests;
pub(super) mod results;
pub(super) mod row_format;
pub(super) mod status;
pub(super) mod values;
