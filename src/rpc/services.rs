//! The gRPC services: one short method an RPC.

pub(super) mod admin;
pub(super) mod connection_pool;
pub(super) mod health;
pub(super) mod reflection;
pub(super) mod sql;
