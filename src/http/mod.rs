//! The HTTP side: health for load balancers, metrics for Prometheus.

mod client_deadlines;
mod door;
mod large;
mod metrics;
pub mod not_served;
mod pages;
mod proxy;
mod ready;
mod request;
pub mod server;
mod slots;
mod stream;
pub mod tls;
