//! The kit for tests of others.

use connection_pool_manager::client::{CallOptions, Pool};
use connection_pool_manager::proto::connection_pool::{ConnectionRelease, ConnectionRequest};
use connection_pool_manager::proto::connection_pool_grpc as rpc;
use connection_pool_manager::testkit::TestService;

#[test]
fn a_service_with_its_postgresql_starts_leases_and_stops() {
    let service = TestService::start().unwrap();
    let dsn = service.tenant("acme", "secret").unwrap();
    let pool = Pool::open("pools", &service.client_config()).unwrap();
    let options = CallOptions::new();
    let request = ConnectionRequest { tenant_id: "acme".into(), dsn, ..Default::default() };
    let lease =
        pool.call(&rpc::CONNECTION_POOL_SERVICE_GET_CONNECTION, &request, &options).unwrap();
    let release =
        ConnectionRelease { connection_id: lease.connection_id, ..ConnectionRelease::default() };
    pool.call(&rpc::CONNECTION_POOL_SERVICE_RELEASE_CONNECTION, &release, &options).unwrap();
    assert!(pool.force_health_check().unwrap().healthy);
    assert!(service.http_address().port() > 0);
    let pid = service.postgres().postmaster_pid().unwrap();
    drop(pool);
    assert!(service.stop());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "PostgreSQL is gone");
}
