//! Clients of gRPC services, for programs that use threads.
//!
//! [`service`] speaks with this project's own service.

pub mod service;
