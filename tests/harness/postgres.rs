//! The PostgreSQL of a test program, and what it knows of the service.

use std::sync::OnceLock;

use connection_pool_manager::embedded::{Embedded, Options};

/// The PostgreSQL of this test program. It ends with the process.
pub fn postgres() -> &'static Embedded {
    static POSTGRES: OnceLock<Embedded> = OnceLock::new();
    POSTGRES.get_or_init(|| Embedded::start(Options::default()).expect("PostgreSQL starts"))
}

/// Backends of the service in this database.
pub fn backends_on(postgres: &Embedded, database: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' and application_name like 'connpool/%'"
    );
    let out = postgres.sql("postgres", &sql).expect("SQL runs");
    out.trim().parse().expect("a number")
}

/// Backends of the service in this database that run a statement with this text.
pub fn running_on(postgres: &Embedded, database: &str, text: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{database}' \
         and application_name like 'connpool/%' and state = 'active' and query like '%{text}%'"
    );
    postgres.sql("postgres", &sql).expect("SQL runs").trim().parse().expect("a number")
}
