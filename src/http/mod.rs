//! The HTTP side: health for load balancers, metrics for Prometheus.

mod client_deadlines;
mod large;
mod metrics;
pub mod not_served;
mod pages;
mod proxy;
mod ready;
pub mod server;
mod slots;
