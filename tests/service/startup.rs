//! What an operator is told at the start: the settings in force, and what is wrong.

use std::process::{Command, Stdio};

use crate::harness::{command, refusal, tenant, Service};

/// What the program says when it refuses to start.
#[track_caller]
fn refused(mut program: Command, arguments: &[&str]) -> String {
    program.args(arguments);
    refusal(program)
}

/// Fails unless each part is in the text.
#[track_caller]
pub fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

const PORTS: [&str; 5] = ["--insecure", "--port", "0", "--http", "127.0.0.1:0"];

#[test]
fn the_settings_in_force_are_one_line_whether_they_come_from_flags_variables_or_defaults() {
    let mut program = command();
    program.env("CPM_IDLE_TIMEOUT", "2m").env("CPM_KEEPALIVE_TIME", "7");
    let service = Service::run(program, &["--drain-timeout", "1m30s", "--max-lifetime=1h"]);
    let line = service.log().wait_for("event=settings ");
    for part in [
        " INFO ",
        " port=0 listen=\"127.0.0.1\" ",
        " drain_timeout_s=90 ",
        " max_lifetime_s=3600 ",
        " idle_timeout_s=120 ",
        " keepalive_time_s=7 ",
        " keepalive_timeout_s=10 ",
        " max_connections=20 ",
        " min_connections=5 ",
        " memory_limit=512MiB ",
        " cert=\"/",
    ] {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
    // With descriptors for more it would be 10000.
    assert!(line.contains(" max_client_connections=") && !line.contains("connections=0 "));
    assert_eq!(service.log().text().matches("event=settings ").count(), 1);
    let lease = service.lease(&tenant());
    lease.run(&["select 1"]);
}

#[test]
fn a_time_that_is_none_or_out_of_bounds_is_refused_with_what_is_allowed() {
    for (arguments, parts) in [
        (["--drain-timeout", "5x"], ["--drain-timeout", "1m30s"]),
        (["--keepalive-time", "0s"], ["--keepalive-time", "1 s to 86400 s"]),
        (["--health-check-interval", "2h"], ["--health-check-interval", "0 s to 3600 s"]),
        (["--leak-warning=-1", "--insecure"], ["--leak-warning", "1m30s"]),
    ] {
        assert_says(&refused(command(), &arguments), &parts);
    }
    let mut program = command();
    program.env("CPM_STALL_TIMEOUT", "soon");
    assert_says(&refused(program, &[]), &["stall_timeout", "CPM_STALL_TIMEOUT", "soon", "1m30s"]);
}

#[test]
fn a_tenant_is_not_promised_more_connections_than_there_are() {
    let asked = [&PORTS[..], &["--max-connections", "30", "--max-backends", "20"]].concat();
    let said = refused(command(), &asked);
    assert_says(&said, &["30 > 20", "--max-connections", "--max-backends"]);
    // As for any other command line that is wrong.
    let status = command().args(&asked).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(2));
    // Where only one of them is given the other follows.
    let service = Service::with(&["--max-backends", "3"]);
    let line = service.log().wait_for("event=settings ");
    assert_says(&line, &[" max_connections=3 ", " min_connections=3 ", " max_backends=3 "]);
}

#[test]
fn an_unknown_variable_is_logged_with_the_one_that_was_meant() {
    let mut program = command();
    program.env("CPM_PROT", "hush").env("CPM_MAXCONNECTIONS", "hush");
    program.env("CPM_SOMETHING_ELSE", "hush").env("CPM_PG_BIN", "/usr/bin");
    let service = Service::run(program, &[]);
    for line in [
        "event=unknown_variable name=\"CPM_PROT\" nearest=CPM_PORT",
        "event=unknown_variable name=\"CPM_MAXCONNECTIONS\" nearest=CPM_MAX_CONNECTIONS",
        "event=unknown_variable name=\"CPM_SOMETHING_ELSE\"",
    ] {
        let line = service.log().wait_for(line);
        assert!(line.contains(" WARN "), "{line}");
    }
    let text = service.log().text();
    assert_eq!(text.matches("event=unknown_variable").count(), 3, "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn a_missing_directory_for_temporary_files_is_named_as_that() {
    for arguments in [&["serve"][..], &["demo", "--once"]] {
        let mut program = command();
        program.env("TMPDIR", "/no/such/directory");
        let said = refused(program, &[arguments, &PORTS].concat());
        assert_says(
            &said,
            &["directory for temporary files", "/no/such/directory", "No such file", "TMPDIR"],
        );
        assert!(!said.contains("--http"), "{said}");
    }
}

#[test]
fn a_taken_port_fails_the_start_with_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let asked =
        ["--insecure", "--listen", "127.0.0.1", "--http", "127.0.0.1:0", "--port", port.as_str()];
    let said = refused(command(), &asked);
    let line = said.lines().last().unwrap();
    assert_says(line, &["connection-pool-manager: ", &port, "in use", "--port"]);
    assert!(!said.contains("event=grpc_core"), "{said}");
}
