//! SIGHUP: settings that are read again while the service is used.

use std::fs;
use std::path::PathBuf;

use crate::harness::{eventually, refused, tenant, Service, Tenant};
use rustix::process::Signal;

/// A service with a configuration file.
pub struct Configured {
    pub service: Service,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Configured {
    pub fn start(text: &str) -> Configured {
        Configured::with(text, Service::with)
    }

    fn with(text: &str, serve: fn(&[&str]) -> Service) -> Configured {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let service = serve(&["--config", &file.display().to_string()]);
        Configured { service, file, _dir: dir }
    }

    /// Puts this text in the file and has it read. Returns the line that tells of it.
    pub fn reload(&self, text: &str) -> String {
        // As an editor does, so that the service reads either file whole.
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, &self.file).unwrap();
        let told = || {
            let text = self.service.log().text();
            let is_told = |line: &&str| {
                line.contains("event=reloaded ") || line.contains("event=reload_failed ")
            };
            text.lines().filter(is_told).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = told().len();
        self.service.signal(Signal::HUP);
        eventually("the reload is told", || told().len() > before);
        told().pop().unwrap()
    }
}

const BEFORE: &str = "[service]\nmax_statements = 5\n[defaults]\nmax_connections = 2\n";

#[test]
fn limits_and_pools_change_while_a_lease_goes_on_and_what_needs_a_restart_is_named() {
    let configured = Configured::start(BEFORE);
    let (service, tenant) = (&configured.service, tenant());
    let lease = service.lease(&tenant);
    lease.run(&["select 1", "select 2"]);
    let line = configured.reload(
        "[service]\nmax_statements = 1\nmax_waiters = 7\n[defaults]\nmax_connections = 3\nmin_connections = 0\nidle_timeout = 77\n",
    );
    for part in [
        "applied=\"defaults.max_connections,defaults.min_connections,defaults.idle_timeout,service.max_statements\"",
        "needs_restart=\"service.max_waiters\"",
        "tenants_not_changed=0",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    let refused = lease.fails(&["select 1", "select 2"]).to_string();
    assert!(refused.contains("statements"), "{refused}");
    lease.run(&["select 1"]);
    assert_eq!(service.client().stats(&tenant.name).unwrap().max_connections, 3);
    let changed = service.log().wait_for("event=pool_changed ");
    assert!(changed.contains("max_connections=3") && changed.contains("replaced=true"));
    let others = [service.lease(&tenant), service.lease(&tenant)];
    assert!(others.iter().all(|other| other.pid != lease.pid));
    // Nothing differs from now on, but for what needs a restart.
    let line = configured.reload(&fs::read_to_string(&configured.file).unwrap());
    assert!(line.contains("applied=\"\" needs_restart=\"service.max_waiters\""), "{line}");
    // What is leased of the old pool is closed when it comes back.
    lease.release();
    eventually("the old connection is closed", || !tenant.backend_pids().contains(&lease.pid));
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let configured = Configured::start(BEFORE);
    let (service, tenant) = (&configured.service, tenant());
    let lease = service.lease(&tenant);
    for (text, told) in [
        ("[service]\nmax_statements = 0\nport = 70000\n", "max_statements ("),
        (
            &(0..9).map(|n| format!("[tenants.t{n}]\nhost = \"h\"\n")).collect::<String>(),
            "tenants.t8 (",
        ),
        ("[service]\nmax_statements = 1\nwiat = 3\n", "did you mean wait?"),
        ("[defaults]\nmax_connections = 1\nmin_connections = 2\n", "min connections cannot be"),
        ("[defaults\n", "config.toml:1"),
    ] {
        let line = configured.reload(text);
        assert!(line.contains("event=reload_failed ") && line.contains(told), "{line}");
        assert!(line.contains(" ERROR "), "{line}");
        lease.run(&["select 1", "select 2"]);
        assert_eq!(service.client().stats(&tenant.name).unwrap().max_connections, 2);
    }
    fs::remove_file(&configured.file).unwrap();
    service.signal(Signal::HUP);
    service.log().wait_for("the file cannot be read");
    lease.run(&["select 1", "select 2"]);
    assert!(!service.log().text().contains("event=pool_changed "));
    assert!(configured.reload(BEFORE).contains("event=reloaded applied=\"\""));
}

#[test]
fn configured_tenants_are_added_changed_and_removed_while_leases_go_on() {
    let database = tenant();
    let entry = |name: &str, more: &str| {
        format!("[tenants.{name}]\ndsn = \"{}\"\nmin_connections = 0\n{more}\n", database.dsn)
    };
    let configured = Configured::start(&entry("one", "max_connections = 2"));
    let client = configured.service.client();
    let held = client.acquire("one", "").expect("a lease by its name alone");
    assert!(client.acquire("two", "").is_err());
    let line = configured.reload(&format!(
        "{}{}",
        entry("one", "max_connections = 3\nidle_timeout = 99"),
        entry("two", "max_connections = 1")
    ));
    assert!(line.contains("applied=\"tenants.one,tenants.two\""), "{line}");
    client.run(&held.connection_id, &["select 1"]).expect("the lease goes on");
    assert_eq!(client.stats("one").unwrap().max_connections, 3);
    let other = client.acquire("two", "").expect("it is there");
    // A wrong password: what is leased goes on, and who comes is told what PostgreSQL says.
    let wrong = format!(
        "[tenants.two]\ndsn = \"{}\"\nmin_connections = 0\nmax_connections = 2\n",
        database.with("user=nobody_of_that_name").dsn
    );
    let line = configured.reload(&wrong);
    assert!(line.contains("applied=\"tenants.one,tenants.two\""), "{line}");
    client.run(&other.connection_id, &["select 1"]).expect("the lease goes on");
    assert!(client.acquire("two", "").is_err());
    assert!(client.acquire("one", "").is_err(), "it is configured no more");
    client.run(&held.connection_id, &["select 1"]).expect("so does that of one taken out");
    configured.reload(&entry("two", "max_connections = 2"));
    client.acquire("two", "").expect("the right one is back");
    assert!(!configured.service.log().text().contains("event=tenant_not_changed"));
}

#[test]
fn the_level_of_the_log_changes_in_both_directions() {
    // The variable of the other tests' services is stronger than a file.
    let configured = Configured::with("", Service::undisturbed);
    let (service, tenant) = (&configured.service, tenant());
    let granted = || {
        service.lease(&tenant).release();
        service.wait_quiet(&tenant.name);
    };
    granted();
    let line = configured.reload("[service]\nlog_level = \"debug\"\n");
    assert!(line.contains("applied=\"service.log_level\""), "{line}");
    assert!(!service.log().text().contains("event=lease_granted"));
    granted();
    let told = || service.log().text().matches("event=lease_granted").count();
    eventually("it is told", || told() == 1);
    configured.reload("");
    granted();
    // The log is in order.
    configured.reload("");
    assert_eq!(told(), 1);
}

#[test]
fn a_tenant_that_a_reload_mends_is_told_to_be_well_again() {
    let database = tenant();
    let lost = Tenant { dsn: format!("{} port=1", database.dsn), ..database.clone() };
    let lines = "min_connections = 0\nbreaker_failures = 1\nconnect_retries = 0";
    let configured = Configured::start(&lost.table(lines));
    let (service, name) = (&configured.service, &database.name);
    refused(service.client().acquire(name, ""));
    service.log().wait_for(&format!("event=breaker_opened tenant={name} "));
    service.log().wait_for(&format!("event=tenant_unhealthy tenant={name} was=healthy "));
    assert!(configured.reload(&database.table(lines)).contains("event=reloaded "));
    service.log().wait_for(&format!("event=breaker_closed tenant={name} replaced=true"));
    service.log().wait_for(&format!("event=tenant_healthy tenant={name} was=unhealthy"));
}
