//! A client of another make: tonic with rustls, a crate of its own in tests/tonic-client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::harness::demo::Demo;
use crate::harness::{repository, tenant, Service, Tenant};
use connection_pool_manager::dev_certs;
use rustix::process::Signal;

/// The client, which is built by its own lock file.
fn client() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tonic-client");
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--manifest-path"])
            .arg(repository("tests/tonic-client/Cargo.toml"))
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .unwrap();
        assert!(status.success(), "tests/tonic-client is not built");
        target.join("debug/tonic-client")
    });
    Command::new(built)
}

fn says(out: &Output) -> String {
    [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// Walks through the calls, trusting this certificate.
fn walk(service: &Service, trusted: &Path, tenant: &Tenant) -> Output {
    let address = format!("localhost:{}", service.port);
    client().arg(address).arg(trusted).args([&tenant.name, &tenant.dsn]).output().unwrap()
}

const WALK: &str = "\
one-shot: [42, a one-shot]
in a transaction: [alice, 90.50] TRANSACTION_STATE_OPEN
after commit: TRANSACTION_STATE_NONE
failed: AlreadyExists: ERROR: duplicate key value violates unique constraint \"account_pkey\" \
(SQLSTATE 23505)
  SQL_ERROR
  NOT_APPLIED
  SQLSTATE 23505 account_pkey
released: RELEASE_OUTCOME_RELEASED
session: opened
session: 1 [one]
session: 2 
  SQL_ERROR
  NOT_APPLIED
  SQLSTATE 22012 
session: 3 [three]
session: closed RELEASE_OUTCOME_RELEASED
";

#[track_caller]
fn assert_walked(out: &Output) {
    assert!(out.status.success(), "{}", says(out));
    assert_eq!(says(out), WALK);
}

#[test]
fn rustls_takes_a_certificate_that_is_its_own_trust_anchor() {
    let (service, tenant) = (Service::start(), tenant());
    assert_walked(&walk(&service, &service.certs.path().join("cert.pem"), &tenant));
    assert_eq!(service.wait_quiet(&tenant.name).leases, 0);
}

#[test]
fn rustls_takes_a_certificate_of_an_authority_and_no_other() {
    let (service, tenant) = (Service::start(), tenant());
    let made = tempfile::tempdir().unwrap();
    let [authority, of_server] = dev_certs::with_authority(made.path(), &[]).unwrap();
    let own = made.path().join("own.pem");
    std::fs::copy(service.certs.path().join("cert.pem"), &own).unwrap();
    for (from, to) in [(&of_server.cert, "cert.pem"), (&of_server.key, "key.pem")] {
        std::fs::copy(from, service.certs.path().join(to)).unwrap();
    }
    service.signal(Signal::HUP);
    service.log().wait_for("event=certificate_reloaded");
    assert_walked(&walk(&service, &authority.cert, &tenant));
    let refused = walk(&service, &own, &tenant);
    assert!(!refused.status.success());
    assert!(says(&refused).contains("invalid peer certificate"), "{}", says(&refused));
}

#[test]
fn it_runs_against_the_demo() {
    let demo = Demo::start();
    let mut command = demo.beside(client());
    command.arg(format!("localhost:{}", demo.option("port"))).arg(demo.option("cert"));
    assert_walked(&command.args([demo.option("tenant"), demo.option("dsn")]).output().unwrap());
}
