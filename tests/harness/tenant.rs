//! Tenants: a role and a database each.

use std::sync::atomic::{AtomicU32, Ordering};

use connection_pool_manager::embedded::Embedded;

use super::proxy::Proxy;
use super::{backends_on, postgres, running_on};

/// A role and a database of its own, nobody else's.
#[derive(Clone)]
pub struct Tenant {
    pub name: String,
    pub password: String,
    pub dsn: String,
}

/// Makes a tenant on the program's PostgreSQL.
pub fn tenant() -> Tenant {
    tenant_on(postgres())
}

/// Makes a tenant on this PostgreSQL.
pub fn tenant_on(postgres: &Embedded) -> Tenant {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let password = format!("secret-of-{name}");
    postgres.create_tenant(&name, &password).expect("the role and the database are new");
    let dsn = postgres.tenant_dsn(&name, &password);
    Tenant { name, password, dsn }
}

impl Tenant {
    /// Asks PostgreSQL itself, as superuser, in this tenant's database.
    pub fn sql(&self, sql: &str) -> String {
        let out = postgres().sql(&self.name, sql).expect("SQL runs");
        out.trim().to_owned()
    }

    /// Its backends that belong to the service, by pg_stat_activity.
    pub fn backends(&self) -> usize {
        backends_on(postgres(), &self.name)
    }

    /// Process ids of its backends that belong to the service.
    pub fn backend_pids(&self) -> Vec<i32> {
        let sql = format!(
            "select pid from pg_stat_activity where datname = '{}' and application_name like 'connpool/%'",
            self.name
        );
        let out = postgres().sql("postgres", &sql).expect("SQL runs");
        out.lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// The same tenant with further keys in its DSN; of a key that is there twice, the
    /// last one counts.
    pub fn with(&self, keys: &str) -> Tenant {
        Tenant { dsn: format!("{} {keys}", self.dsn), ..self.clone() }
    }

    /// The same tenant with at most so many connections, and none kept warm.
    pub fn pool_of(&self, max: usize) -> Tenant {
        self.with(&format!("pool_max_conns={max} pool_min_conns=0"))
    }

    /// Its backends that run a statement with this text.
    pub fn running(&self, text: &str) -> usize {
        running_on(postgres(), &self.name, text)
    }

    /// The same tenant, reached over this proxy.
    pub fn over(&self, proxy: &Proxy) -> Tenant {
        self.with(&format!("port={}", proxy.port))
    }
}
