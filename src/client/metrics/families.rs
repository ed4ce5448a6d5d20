//! The table of all counters and histograms.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// Upper bounds of times in seconds.
const TIMES: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of ages in seconds, from a minute to a day.
const AGES: &[f64] =
    &[60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 43200.0, 86400.0];

const METHOD: &[&str] = &["service", "method"];
const METHOD_CODE: &[&str] = &["service", "method", "code"];
const METHOD_DIRECTION: &[&str] = &["service", "method", "direction"];
const SERVICE: &[&str] = &["service"];
const REASON: &[&str] = &["service", "reason"];

/// The families.
pub(super) struct Families {
    pub(super) calls: Calls,
    pub(super) pools: Pools,
}

/// Of calls.
pub(super) struct Calls {
    pub(super) requests: IntCounterVec,
    pub(super) time: HistogramVec,
    pub(super) attempts: IntCounterVec,
    pub(super) retries: IntCounterVec,
    pub(super) retries_refused: IntCounterVec,
    pub(super) rejections: IntCounterVec,
    pub(super) hedges: IntCounterVec,
    pub(super) hedges_won: IntCounterVec,
    pub(super) messages: IntCounterVec,
}

/// Of connections.
pub(super) struct Pools {
    pub(super) checkouts: IntCounterVec,
    pub(super) checkout_failures: IntCounterVec,
    pub(super) checkout_wait: HistogramVec,
    pub(super) connects: IntCounterVec,
    pub(super) connect_failures: IntCounterVec,
    pub(super) connect_time: HistogramVec,
    pub(super) disconnects: IntCounterVec,
    pub(super) channel_age: HistogramVec,
    pub(super) ejections: IntCounterVec,
    pub(super) health_checks: IntCounterVec,
    pub(super) health_check_failures: IntCounterVec,
    pub(super) pings: IntCounterVec,
}

type Made<T> = Result<T, prometheus::Error>;

impl Families {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> Made<Families> {
        Ok(Families { calls: Calls::new(registry)?, pools: Pools::new(registry)? })
    }
}

impl Calls {
    fn new(registry: &Registry) -> Made<Calls> {
        let counter = |name: &str, help: &str, labels| counter(registry, name, help, labels);
        Ok(Calls {
            requests: counter("grpc_client_requests_total", "Calls, after repeats.", METHOD_CODE)?,
            time: histogram(
                registry,
                "grpc_client_request_duration_seconds",
                "Time of calls, with all attempts and pauses.",
                TIMES,
                METHOD,
            )?,
            attempts: counter("grpc_client_attempts_total", "Attempts of calls.", METHOD_CODE)?,
            retries: counter("grpc_client_retries_total", "Repeats of calls.", METHOD)?,
            retries_refused: counter(
                "grpc_client_retries_refused_total",
                "Calls that were not repeated although their code may be, by reason.",
                REASON,
            )?,
            rejections: counter(
                "grpc_client_circuit_breaker_rejections_total",
                "Calls that the breaker refused.",
                METHOD,
            )?,
            hedges: counter(
                "grpc_client_hedges_total",
                "Attempts that were made while others of their call ran.",
                METHOD,
            )?,
            hedges_won: counter(
                "grpc_client_hedges_won_total",
                "Calls that one of these has answered.",
                METHOD,
            )?,
            messages: counter(
                "grpc_client_stream_messages_total",
                "Messages of streams, sent and received.",
                METHOD_DIRECTION,
            )?,
        })
    }
}

impl Pools {
    fn new(registry: &Registry) -> Made<Pools> {
        let counter = |name: &str, help: &str, labels| counter(registry, name, help, labels);
        let histogram =
            |name: &str, help: &str, bounds| histogram(registry, name, help, bounds, SERVICE);
        Ok(Pools {
            checkouts: counter(
                "grpc_client_checkouts_total",
                "Connections that were lent.",
                SERVICE,
            )?,
            checkout_failures: counter(
                "grpc_client_checkout_failures_total",
                "Checkouts that got no connection, by reason.",
                REASON,
            )?,
            checkout_wait: histogram(
                "grpc_client_checkout_wait_seconds",
                "Time until a connection was lent.",
                TIMES,
            )?,
            connects: counter(
                "grpc_client_connects_total",
                "Connections that were begun.",
                SERVICE,
            )?,
            connect_failures: counter(
                "grpc_client_connect_failures_total",
                "Connections that could not be made.",
                SERVICE,
            )?,
            connect_time: histogram(
                "grpc_client_connect_seconds",
                "Time to make a connection.",
                TIMES,
            )?,
            disconnects: counter(
                "grpc_client_disconnects_total",
                "Connections that ended, by reason.",
                REASON,
            )?,
            channel_age: histogram(
                "grpc_client_channel_age_seconds",
                "How long connections stood, when they ended.",
                AGES,
            )?,
            ejections: counter("grpc_client_ejections_total", "Addresses taken out.", REASON)?,
            health_checks: counter(
                "grpc_client_health_checks_total",
                "Probes of rounds.",
                SERVICE,
            )?,
            health_check_failures: counter(
                "grpc_client_health_check_failures_total",
                "Probes that were not answered well.",
                SERVICE,
            )?,
            pings: counter("grpc_client_pings_total", "Probes to keep connections warm.", SERVICE)?,
        })
    }
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
    keep(registry, IntCounterVec::new(Opts::new(name, help), labels)?)
}

fn histogram(
    registry: &Registry,
    name: &str,
    help: &str,
    bounds: &[f64],
    labels: &[&str],
) -> Made<HistogramVec> {
    let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
    keep(registry, HistogramVec::new(opts, labels)?)
}

fn keep<T: Collector + Clone + 'static>(registry: &Registry, family: T) -> Made<T> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}
