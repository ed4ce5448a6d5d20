//! The log as JSON, and how much of it is written.

use std::io::Write;
use std::net::TcpStream;
use std::process::Stdio;

use crate::harness::{command, python, refused, request, says, tenant, Service};
use rustix::process::Signal;

/// Ends with the fields of some events, or at the first line that is no object of JSON.
const READER: &str = r#"
import json, sys
def pairs(found):
    keys = [key for key, _ in found]
    assert len(keys) == len(set(keys)), keys
    return dict(found)
lines = 0
for text in sys.stdin.buffer.read().decode().split("\n"):
    if not text: continue
    line = json.loads(text, object_pairs_hook=pairs)
    lines += 1
    assert list(line)[:4] == ["ts", "level", "target", "event"], text
    assert line["ts"].endswith("Z") and line["level"] == line["level"].lower(), text
    if line["event"] in ("lease_granted", "lease_ended", "connect_failed", "settings", "draining"):
        print({k: v for k, v in line.items() if k in
            ("event", "tenant", "holder", "pid", "held_s", "reason", "tls", "port", "listen",
             "insecure", "leases", "level")})
print(lines, "lines")
"#;

#[test]
fn every_line_is_an_object_whose_fields_have_their_types() {
    let mut service = Service::with(&["--log-format", "json"]);
    let tenant = tenant();
    let mut asked = request(&tenant);
    asked.holder = "a \"b\" k=v {c}\\".to_owned();
    let granted = service.client().acquire_with(&asked).unwrap();
    service.client().release(&granted.connection_id).unwrap();
    service.log().wait_for("\"event\":\"lease_ended\"");
    // A name that looks like a number is a name.
    refused(service.client().acquire("1234", "postgres://u:secret@127.0.0.1:1/d"));
    let mut garbage = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    service.log().wait_for("\"event\":\"tls_handshake_failed\"");
    service.signal(Signal::TERM);
    service.wait();
    service.log().wait_for("\"event\":\"stopped\"");

    let mut reader =
        python().args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(service.log().text().as_bytes()).unwrap();
    let out = reader.wait_with_output().unwrap();
    let said = says(&out);
    assert!(out.status.success(), "{said}");
    for part in [
        &format!("'event': 'lease_granted', 'tenant': '{}', 'pid': ", tenant.name)[..],
        r#"'holder': 'a "b" k=v {c}\\'"#,
        "'event': 'connect_failed', 'tenant': '1234', 'reason': 'unreachable'",
        "'event': 'settings', 'port': 0, 'listen': '127.0.0.1', 'insecure': False",
        "'event': 'draining', 'leases': 0",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let text = service.log().text();
    for secret in [&*tenant.password, "secret", &*granted.connection_id] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn what_ends_the_start_is_an_object_too() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = taken.local_addr().unwrap().to_string();
    let mut program = command();
    program.args(["serve", "--insecure", "--port", "0", "--log-format", "json", "--http", &http]);
    let out = program.env("CPM_PROT", "1").output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let said = says(&out);
    assert!(said.lines().all(|line| line.starts_with("{\"ts\":\"")), "{said}");
    assert!(said.contains("\"event\":\"unknown_variable\",\"name\":\"CPM_PROT\""), "{said}");
    assert!(said.contains("\"event\":\"failed\",\"error\":\"failed to create TCP"), "{said}");
}

#[test]
fn the_level_comes_from_its_setting_or_from_rust_log_and_a_wrong_one_is_refused() {
    let said = |flags: &[&str], rust_log: &str| {
        let mut program = command();
        let out = program.arg("check-config").args(flags).env("RUST_LOG", rust_log);
        says(&out.env("CPM_PROT", "1").output().unwrap())
    };
    let warned = "event=unknown_variable name=\"CPM_PROT\"";
    let default = said(&[], "");
    assert!(default.contains(warned), "{default}");
    assert!(default.contains("log_level = \"warn,connection_pool_manager=info\""), "{default}");
    let quiet = said(&["--log-level", "error"], "debug");
    assert!(!quiet.contains(warned), "{quiet}");
    assert!(quiet.contains("service.log_level = \"error\"  # --log-level"), "{quiet}");
    let other = said(&[], "connection_pool_manager::rpc=trace");
    assert!(other.contains(warned), "warnings of all others stay: {other}");
    let wrong = said(&[], "inof");
    let told = "log_level (RUST_LOG) must be LEVEL or TARGET=LEVEL";
    assert!(wrong.contains(told) && wrong.contains("and is \"inof\""), "{wrong}");
    let wrong = said(&["--log-format", "xml"], "");
    assert!(wrong.contains("log_format (--log-format) must be text or json"), "{wrong}");
}
