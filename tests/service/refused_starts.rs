//! Settings and files with which the service does not start: the error names them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use connection_pool_manager::dev_certs;

use super::startup::assert_says;
use crate::harness;
use crate::harness::{command, refusal, Service};

/// The error of `serve` with these arguments, which must not start.
#[track_caller]
fn refuses_to_start(arguments: &[&str]) -> String {
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1"]).args(arguments);
    refusal(serve)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_unusable_certificate_fails_the_start_with_its_file_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let made = dev_certs::write(dir.path(), &["localhost"]).unwrap();
    let other = dev_certs::write(&dir.path().join("other"), &["localhost"]).unwrap();
    let garbage = dir.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n")
        .unwrap();
    let missing = dir.path().join("missing.pem");
    let folder = dir.path().to_owned();
    for (cert, key, at_fault, part) in [
        (&missing, &made.key, &missing, "No such file"),
        (&made.cert, &missing, &missing, "No such file"),
        (&garbage, &made.key, &garbage, "no PEM certificate"),
        (&made.cert, &garbage, &garbage, "no PEM private key"),
        (&made.key, &made.key, &made.key, "no PEM certificate"),
        (&made.key, &made.cert, &made.key, "they are swapped"),
        (&folder, &made.key, &folder, "no regular file"),
        (&made.cert, &other.key, &other.key, "does not belong to the certificate"),
    ] {
        let ports = ["--port", "0", "--http", "127.0.0.1:0"];
        let said =
            refuses_to_start(&[&ports[..], &["--cert", path(cert), "--key", path(key)]].concat());
        let flag = if at_fault == cert { "--cert" } else { "--key" };
        let place = format!("({}: {flag})", &flag[2..]);
        assert_says(&said, &[&format!("{flag}: {}", path(at_fault)), part, &place]);
        assert!(!said.contains("dev-certs"), "{said}");
    }
}

#[test]
fn a_file_that_a_line_of_the_configuration_names_fails_the_start_with_key_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let made = dev_certs::write(dir.path(), &["localhost"]).unwrap();
    let ports = ["--port", "0", "--http", "127.0.0.1:0"];
    let files = ["--cert", path(&made.cert), "--key", path(&made.key)];
    let state = dir.path().join("notes.toml");
    std::fs::write(&state, "[globex]\npassword\n").unwrap();
    harness::permit(&state, 0o600);
    for (line, parts) in [
        (
            "client_ca = \"nope.pem\"".to_owned(),
            ["--client-ca: nope.pem: No such file", "client_ca"],
        ),
        (
            "state_file = \"/nonexistent/x\"".to_owned(),
            ["--state-file: /nonexistent/x: needs a directory", "state_file"],
        ),
        (format!("state_file = {state:?}"), ["notes.toml:2: key with no value", "state_file"]),
    ] {
        let file = harness::ConfigFile::new(&format!("[service]\n\n{line}\n"));
        let arguments = [&ports[..], &files[..], &["--config", &file.path]].concat();
        let place = format!("({}: {}:3)", parts[1], file.path);
        let said = refuses_to_start(&arguments);
        assert_says(&said, &[parts[0], &place]);
        assert!(!said.contains("dev-certs"), "{said}");
        if line.contains("notes") {
            let mut check = command();
            check.args(["check-config", "--config", &file.path]);
            assert_says(&refusal(check), &["--state-file: ", parts[0], &place]);
        }
    }
    // Who has set nothing is told how to begin.
    let mut serve = command();
    serve.args(["serve", "--listen", "127.0.0.1"]).args(ports).current_dir(dir.path());
    assert_says(&refusal(serve), &["--cert: certs/cert.pem", "(cert: default)", "dev-certs"]);
}

#[test]
fn a_taken_port_fails_the_start_with_its_address_and_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let address = format!("127.0.0.1:{port}");
    let said = refuses_to_start(&["--insecure", "--port", &port, "--http", "127.0.0.1:0"]);
    assert_says(&said, &[&address, "--port", "in use"]);
    let said = refuses_to_start(&["--insecure", "--port", "0", "--http", &address]);
    assert_says(&said, &[&address, "--http", "in use"]);
    // A second service does not share the port of the first.
    let service = Service::start();
    let said = refuses_to_start(&[
        "--insecure",
        "--port",
        &service.port.to_string(),
        "--http",
        "127.0.0.1:0",
    ]);
    assert_says(&said, &["--port", "in use"]);
}

#[test]
fn an_invalid_setting_fails_the_start_with_its_flag() {
    let limits = ["--insecure", "--port", "0", "--http", "127.0.0.1:0"];
    for (arguments, parts) in [
        (&["--port", "70000"][..], &["--port", "70000"][..]),
        (&["--port", "abc"], &["--port", "abc"]),
        (&["--http", "nonsense"], &["--http", "nonsense"]),
        (&["--colour"], &["--colour"]),
        (&["--dsn-cert-dir", "/no/such"], &["--dsn-cert-dir", "must be a directory"]),
        (&["--max-connections", "2", "--min-connections", "3"], &["min connections", "3 > 2"]),
        (
            &["--max-connections", "0"],
            &["max_connections (--max-connections) must be an integer from 1"],
        ),
        (&["--idle-timeout", "0"], &["idle_timeout (--idle-timeout) must be a time", "from 1 s"]),
        (&["--max-lifetime", "0"], &["max_lifetime (--max-lifetime) must be a time", "from 1 s"]),
        (&["--max-backends", "1000000000"], &["open files", "--max-backends"]),
    ] {
        // A flag given twice is an error of its own.
        let rest: &[&str] = if arguments[0].starts_with("--m") || arguments[0] == "--idle-timeout" {
            &limits
        } else {
            &[]
        };
        assert_says(&refuses_to_start(&[rest, arguments].concat()), parts);
    }
}

#[test]
fn a_key_that_others_can_read_fails_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let open = |key: &Path| {
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    let dir = tempfile::tempdir().unwrap();
    let [_, issued] = dev_certs::with_authority(dir.path(), &["localhost"]).unwrap();
    open(&issued.key);
    let files = ["--cert", path(&issued.cert), "--key", path(&issued.key)];
    let said = refuses_to_start(&[&["--port", "0", "--http", "127.0.0.1:0"], &files[..]].concat());
    assert_says(&said, &[path(&issued.key), "others can use it", "0644", "0600"]);
}

#[test]
fn an_expired_certificate_fails_the_start_and_a_near_expiry_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let authority = harness::pki::Authority::new("somebody");
    let written = |name: &str, days: i64| {
        let pair = authority.server("localhost", &["localhost"], days);
        let (cert, key) = (dir.path().join(name), dir.path().join(format!("{name}-key")));
        std::fs::write(&cert, &pair.cert).unwrap();
        private(&key, &pair.key_pem());
        (cert, key)
    };
    let starts_not = |port: &str, (cert, key): (PathBuf, PathBuf)| {
        let http = ["--http", "127.0.0.1:0", "--port", port];
        refuses_to_start(&[&http[..], &["--cert", path(&cert), "--key", path(&key)]].concat())
    };
    let expired = written("expired", -1);
    assert_says(&starts_not("0", expired), &["expired", "it expired at", "--cert"]);
    // It is warned of before the port is found to be taken, which ends the process.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = starts_not(&taken.local_addr().unwrap().port().to_string(), written("near", 3));
    assert_says(&said, &["event=certificate_expires_soon", "days=", "near"]);
    let (cert, key) = written("nearer", 3);
    let port = taken.local_addr().unwrap().port().to_string();
    let all = ["--http", "127.0.0.1:0", "--port", &port, "--certificate-warning", "24h"];
    let files = ["--cert", path(&cert), "--key", path(&key)];
    let said = refuses_to_start(&[&all[..], &files[..]].concat());
    assert!(!said.contains("certificate_expires_soon"), "{said}");
}

fn private(path: &Path, pem: &[u8]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(pem).unwrap();
}
