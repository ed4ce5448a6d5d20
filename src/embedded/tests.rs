//! These need an installed PostgreSQL and start real servers.

use std::process::Output;

use super::*;

fn psql(server: &Embedded, target: &str, sql: &str) -> Output {
    server.programs.psql().args(["-XAtq", "-d", target, "-c", sql]).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[test]
fn a_server_speaks_tls_stops_starts_again_and_leaves_nothing() {
    let mut server = Embedded::start(Options::default()).unwrap();
    let dir = server.dir.path().to_path_buf();
    let port = server.port();

    let target = format!("{} sslmode=require", server.superuser_dsn("postgres"));
    let output = psql(&server, &target, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_eq!(text(&output.stdout), "t", "{}", text(&output.stderr));
    let target = format!("{} sslmode=disable", server.superuser_dsn("postgres"));
    assert_eq!(text(&psql(&server, &target, "SHOW max_connections").stdout), "300");

    server.sql("postgres", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)").unwrap();
    for mode in [StopMode::Smart, StopMode::Fast, StopMode::Immediate] {
        server.stop(mode).unwrap();
        assert_eq!(server.postmaster_pid(), None);
        assert!(server.sql("postgres", "SELECT 1").is_err());
        server.start_again().unwrap();
        assert_eq!(server.port(), port);
        assert_eq!(server.sql("postgres", "SELECT n FROM kept").unwrap(), "7\n");
    }

    let pid = server.postmaster_pid().unwrap();
    drop(server);
    assert!(!dir.exists());
    assert!(send(pid, Signal::CONT).is_err());
}

#[test]
fn a_tenant_of_any_name_logs_in_to_its_own_database() {
    let server = Embedded::start(Options::default()).unwrap();
    for (name, password) in [("tenant-1", "secret"), (r#"o'dd "name" \x :y"#, r"p'a ss\w:rd")] {
        server.create_tenant(name, password).unwrap();
        let output = psql(&server, &server.tenant_dsn(name, password), "SELECT current_user");
        assert_eq!(text(&output.stdout), name, "{}", text(&output.stderr));
        let output = psql(&server, &server.tenant_dsn(name, "wrong"), "SELECT 1");
        assert!(!output.status.success());
    }
    assert!(matches!(server.create_tenant("", "x"), Err(EmbeddedError::BadTenant(_))));
    let error = server.create_tenant("tenant-1", "hunter2").unwrap_err().to_string();
    assert!(error.contains("already exists") && !error.contains("hunter2"), "{error}");
    assert!(!server.log_tail(100).contains("hunter2"));
}

#[test]
fn a_killed_postmaster_starts_again_and_a_frozen_one_does_not_outlive_its_owner() {
    let mut server = Embedded::start(Options::default()).unwrap();
    let killed = server.postmaster_pid().unwrap();
    server.kill(killed).unwrap();
    server.start_again().unwrap();
    let pid = server.postmaster_pid().unwrap();
    assert_ne!(pid, killed);
    assert_eq!(server.sql("postgres", "SELECT 1").unwrap(), "1\n");

    server.freeze(pid).unwrap();
    let dir = server.dir.path().to_path_buf();
    drop(server);
    assert!(!dir.exists());
    assert!(send(pid, Signal::CONT).is_err());
}

#[test]
fn a_setting_of_the_caller_wins_and_a_bad_one_shows_in_the_error() {
    let extra = vec![("work_mem".to_owned(), "7MB".to_owned())];
    let server = Embedded::start(Options { extra, ..Options::default() }).unwrap();
    assert_eq!(server.sql("postgres", "SHOW work_mem").unwrap(), "7MB\n");

    let extra = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let error = Embedded::start(Options { extra, ..Options::default() }).unwrap_err();
    assert!(matches!(error, EmbeddedError::NotReady { .. }));
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}
