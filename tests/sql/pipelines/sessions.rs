//! Requests of a session that travel together, of a backend that is used without a service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connection_pool_manager::config::dsn::Dsn;
use connection_pool_manager::config::TenantPoolConfig;
use connection_pool_manager::engine::{
    Asker, Backend, BackendTls, CallerId, Column, Coming, Connect, ConnectError, Door, DsnReach,
    Follower, Logins, PgConnect, RawRow, Rows, Shape, Statement, TenantId, Tries, Value, Watch,
};

use crate::harness::proxy::Proxy;
use crate::harness::{eventually, postgres, tenant, Tenant};

const SLEEPS: &str = "insert into thing select $1::int from pg_sleep($2::float8)";

struct Open;

impl Door for Open {
    fn enter(&self, _: SocketAddr) -> Result<(), ConnectError> {
        Ok(())
    }
    fn record(&self, _: Option<&ConnectError>) {}
}

struct NoRows;

impl Rows for NoRows {
    fn head(&mut self, _: &[Column]) {}
    fn row(&mut self, _: &[Shape], _: &RawRow<'_>) {}
    fn too_long(&mut self, _: usize) {}
}

/// A backend without a service; over TLS, unless the DSN is without.
pub(super) fn backend(tenant: &Tenant) -> Box<dyn Backend> {
    let known = ["host", "port", "user", "password", "dbname", "hostaddr"];
    let is_known = |word: &&str| known.iter().any(|key| word.starts_with(&format!("{key}=")));
    let words: Vec<_> = tenant.dsn.split(' ').filter(is_known).collect();
    let plain = tenant.dsn.contains("sslmode=disable");
    let mode = if plain { "disable" } else { "require" };
    let dsn = Dsn::parse(&format!("{} sslmode={mode}", words.join(" "))).unwrap();
    let caller = CallerId::new("test");
    let tries = Tries::new(&Logins::default(), &dsn.user, &caller);
    let asker = Asker { tenant: TenantId::parse("test").unwrap(), caller };
    let (tls, reach) = (BackendTls::unverified().unwrap(), DsnReach::anything());
    let connect = PgConnect::new(
        dsn,
        tries,
        asker,
        "connpool/test".to_owned(),
        tls,
        reach,
        &TenantPoolConfig::default(),
    );
    connect.connect(&Arc::<Watch>::default(), Duration::from_secs(30), &Open).unwrap()
}

fn sleeps(number: i64, seconds: f64) -> Arc<[Statement]> {
    Arc::new([Statement::new(SLEEPS, vec![Value::Int(number), Value::Double(seconds)])])
}

/// A backend that runs the third of four statements that were sent together, which takes long.
fn at_work(tenant: &Tenant) -> Box<dyn Backend> {
    tenant.sql("create table thing (n int); grant all on thing to public");
    let mut backend = backend(tenant);
    let first = sleeps(1, 0.0);
    run(&mut *backend, &first[0]);
    let behind = [(2, 0.0), (3, 3600.0), (4, 0.0)]
        .map(|(number, seconds)| Follower { statements: sleeps(number, seconds), max_rows: None });
    let begun = backend.begin(Coming {
        statements: &first,
        atomic: false,
        max_rows: None,
        max_bytes: 1 << 20,
        ends: false,
        timeout: Duration::from_secs(60),
        together: false,
        followers: &behind,
    });
    assert!(begun && backend.in_flight() == 4);
    run(&mut *backend, &first[0]);
    assert!(backend.has_sent(&behind[0].statements) && !backend.has_sent(&first));
    eventually("the second has run", || tenant.sql("select count(*) from thing") == "3");
    eventually("the third runs", || tenant.running("pg_sleep") == 1);
    backend
}

pub(super) fn run(backend: &mut dyn Backend, statement: &Statement) {
    backend.run(statement, &mut NoRows).map_err(|error| format!("{error:?}")).unwrap();
}

#[test]
fn a_session_that_is_given_back_ends_what_was_sent_with_its_last_request() {
    let tenant = tenant();
    let mut backend = at_work(&tenant);
    assert!(backend.reset());
    assert_eq!(tenant.running("pg_sleep"), 0);
    // What was committed is; the rest never is.
    assert_eq!(tenant.sql("select string_agg(n::text, ' ' order by n) from thing"), "1 1 2");
    run(&mut *backend, &sleeps(1, 0.0)[0]);
    assert!(backend.reset());
}

#[test]
fn a_session_whose_cancel_was_not_seen_to_arrive_is_not_used_again() {
    let proxy = Proxy::to(postgres().port());
    let mut backend = at_work(&tenant().over(&proxy));
    proxy.refuse();
    assert!(!backend.reset() && backend.is_closed());
}
