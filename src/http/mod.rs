//! The HTTP side: health for load balancers, metrics for Prometheus.

mod front;
mod large;
mod metrics;
pub mod not_served;
mod pages;
mod ready;
mod seats;
pub mod server;
mod waits;
