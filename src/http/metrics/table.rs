//! The gauges that are read at scrape: name, help, labels.

/// The gauges by name, help and labels. Labels with a closed set of values stand first,
/// the free label last (see `crate::metrics`).
pub(super) const GAUGES: &[(&str, &str, &[&str])] = &[
    ("connpool_backend_connections", "PostgreSQL connections, by state.", &["state", "tenant"]),
    (
        "connpool_backend_connections_max",
        "The tenant's limit of PostgreSQL connections.",
        &["tenant"],
    ),
    ("connpool_leases", "Leases alive, by state.", &["state", "tenant"]),
    ("connpool_waiters", "Requests waiting for a connection.", &["tenant"]),
    ("connpool_breaker_state", "The breaker: 0 closed, 1 open, 2 half-open.", &["tenant"]),
    ("connpool_tenant_health", "0 unhealthy, 1 degraded, 2 healthy.", &["tenant"]),
    (
        "connpool_last_health_check_timestamp_seconds",
        "When a check of a connection last ran, in seconds since 1970.",
        &["tenant"],
    ),
    ("connpool_tenant_paused", "1 for a tenant that an operator has paused.", &["tenant"]),
    (
        "connpool_tenant_starving",
        "1 for a tenant whose requests get no connection because its server is full.",
        &["tenant"],
    ),
    ("connpool_server_connections", "Connections to a PostgreSQL server.", &["state", "server"]),
    (
        "connpool_server_connections_max",
        "The limit of connections to a server, where known: --max-connections-per-server, or what the server reported within the last minute.",
        &["server"],
    ),
    ("connpool_server_waiters", "Requests that wait for a connection to a server.", &["server"]),
    ("connpool_tenants", "Tenants, by state.", &["state"]),
    (
        "connpool_service_connections_max",
        "The service's limit of PostgreSQL connections, --max-backends.",
        &[],
    ),
    (
        "connpool_service_connections_reserved",
        "Connections reserved out of that limit: the sum of the limits of all opened tenants.",
        &[],
    ),
    ("connpool_draining", "1 while the service stops and takes no new work.", &[]),
    ("pool_connections_active", "PostgreSQL connections in use. An older name, as its label; see connpool_backend_connections.", &["tenant_id"]),
    ("pool_connections_idle", "Idle PostgreSQL connections. An older name; see connpool_backend_connections.", &["tenant_id"]),
    ("pool_connections_total", "PostgreSQL connections, open or being opened. An older name; a gauge in spite of it.", &["tenant_id"]),
    ("connpool_client_connections", "Client connections over gRPC.", &[]),
    ("connpool_client_connections_max", "The limit of client connections over gRPC.", &[]),
    ("connpool_connection_guard", "1 if connections beyond the limits are closed.", &[]),
    ("connpool_grpc_reachable", "1 if the service's own calls to its gRPC port are answered.", &[]),
    (
        "connpool_certificate_expiry_timestamp_seconds",
        "When the certificate of the gRPC port expires, since 1970; absent without TLS.",
        &[],
    ),
    ("connpool_memory_bytes", "Bytes held in memory for clients, by use.", &["use"]),
    ("connpool_memory_limit_bytes", "Limits of bytes held in memory, by level.", &["level"]),
    ("connpool_worker_threads", "Worker threads alive.", &[]),
    ("connpool_build_info", "Always 1; the version is the label.", &["version"]),
];
