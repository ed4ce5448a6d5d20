//! The HTTP side: health for load balancers, metrics for Prometheus.

mod front;
mod metrics;
mod pages;
mod ready;
mod seats;
pub mod server;
