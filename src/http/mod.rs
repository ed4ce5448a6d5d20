//! The HTTP side: health for load balancers, metrics for Prometheus.

mod metrics;
pub mod server;
