//! The keys of a tenant's table, beside those of `[defaults]`.

/// A key of a tenant's table.
pub struct TenantKey {
    /// Its name.
    pub name: &'static str,
    /// What its value is, as an example.
    pub example: &'static str,
    /// What it is, for people: sentences in Markdown.
    pub help: &'static str,
    /// The key of a DSN that says the same.
    pub in_dsn: Option<&'static str>,
}

/// The whole DSN, one of these.
pub(super) const DSN: &str = "dsn";
/// The whole DSN in a file.
pub(super) const DSN_FILE: &str = "dsn_file";
/// The whole DSN in a variable.
pub(super) const DSN_ENV: &str = "dsn_env";
/// The password in a file.
pub(super) const PASSWORD_FILE: &str = "password_file";
/// The same key in a DSN.
pub(super) const PASSWORD: &str = "password";

/// Who may use it.
pub(super) const IDENTITIES: &str = "identities";
/// Everybody may use it.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Their values are not shown.
pub(super) const HIDDEN: [&str; 2] = [PASSWORD, "options"];

const fn whole(name: &'static str, example: &'static str, help: &'static str) -> TenantKey {
    TenantKey { name, example, help, in_dsn: None }
}

const fn part(
    name: &'static str,
    in_dsn: &'static str,
    example: &'static str,
    help: &'static str,
) -> TenantKey {
    TenantKey { name, example, help, in_dsn: Some(in_dsn) }
}

/// All of them, in the order in which they are shown.
pub const KEYS: &[TenantKey] = &[
    whole(
        DSN,
        "\"host=db.example port=5432 dbname=orders user=orders password=…\"",
        "The whole [DSN](tenants.md#keys). One of `dsn`, `dsn_file`, `dsn_env` and `host` is \
         needed.",
    ),
    whole(
        DSN_FILE,
        "\"/etc/connection-pool-manager/orders.dsn\"",
        "A file with the DSN and nothing else but an end of line, at most 8194 bytes.",
    ),
    whole(DSN_ENV, "\"ORDERS_DSN\"", "The variable of the environment that has the DSN."),
    part(
        "host",
        "host",
        "\"db.example\"",
        "The servers: one, or an array. With it the other keys of this table say what is in a DSN.",
    ),
    part("port", "port", "5432", "Their port, or an array of one for each; 5432 by default."),
    part("database", "dbname", "\"orders\"", "The database; by default the user's name."),
    part("user", "user", "\"orders\"", "The role to log in as; needed beside `host`."),
    part(
        PASSWORD_FILE,
        PASSWORD,
        "\"/etc/connection-pool-manager/orders.password\"",
        "A file with the password and nothing else but an end of line, at most 8194 bytes.",
    ),
    part("ssl_mode", "sslmode", "\"verify-full\"", "As `sslmode` in a DSN."),
    part("ssl_root_cert", "sslrootcert", "\"/etc/ssl/db.pem\"", "As `sslrootcert` in a DSN."),
    part("ssl_cert", "sslcert", "\"/etc/ssl/orders.pem\"", "As `sslcert` in a DSN."),
    part("ssl_key", "sslkey", "\"/etc/ssl/orders-key.pem\"", "As `sslkey` in a DSN."),
    part("ssl_negotiation", "sslnegotiation", "\"direct\"", "As `sslnegotiation` in a DSN."),
    part("channel_binding", "channel_binding", "\"require\"", "As in a DSN."),
    part("require_auth", "require_auth", "\"scram-sha-256\"", "As in a DSN."),
    part("target_session_attrs", "target_session_attrs", "\"primary\"", "As in a DSN."),
    part("application_name", "application_name", "\"orders\"", "As in a DSN."),
    whole(
        IDENTITIES,
        "[\"shop\"]",
        "The [identities](security.md#identities) that may use the tenant, as an array. One part \
         of a name between slashes may be `*`, as in `spiffe://example.com/*/shop`; `*` alone is \
         every identity.",
    ),
    whole(ANONYMOUS, "false", "`true`: everybody may use it, with an identity or without one."),
    part("options", "options", "\"-c search_path=orders\"", "As in a DSN."),
];

/// What the table and the DSN say alike of the pool: the key of the table, and that of the DSN.
pub(super) const POOL_KEYS: [(&str, &str); 7] = [
    ("max_connections", "pool_max_conns"),
    ("min_connections", "pool_min_conns"),
    ("max_lifetime", "pool_max_conn_lifetime"),
    ("idle_timeout", "pool_max_conn_idle_time"),
    ("lifetime_jitter", "pool_max_conn_lifetime_jitter"),
    ("health_check_interval", "pool_health_check_period"),
    ("reset", "pool_reset"),
];

/// The name in the table of a key of the DSN that says how the pool is.
pub(super) fn of_pool_key(key: &str) -> Option<&'static str> {
    POOL_KEYS.iter().find(|(_, in_dsn)| *in_dsn == key).map(|(name, _)| *name)
}

/// The name in the table of a key of the DSN.
pub(super) fn of_dsn(key: &str) -> Option<&'static str> {
    KEYS.iter().find(|known| known.in_dsn == Some(key)).map(|known| known.name)
}
