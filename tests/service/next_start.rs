//! What the next start would refuse is refused by `check-config` and by a reload.

use std::path::{Path, PathBuf};

use connection_pool_manager::dev_certs;

use super::settings_reload::Configured;
use crate::harness::{command, ConfigFile};

/// Files that a service can start with, and some that it cannot.
struct Files {
    dir: tempfile::TempDir,
    cert: PathBuf,
    key: PathBuf,
    other_key: PathBuf,
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        let made = dev_certs::write(dir.path(), &["localhost"]).unwrap();
        let other = dev_certs::write(&dir.path().join("other"), &["localhost"]).unwrap();
        Files { cert: made.cert, key: made.key, other_key: other.key, dir }
    }

    fn pair(&self) -> String {
        format!("cert = {:?}\nkey = {:?}\n", self.cert, self.key)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that is there, however deep.
    fn all(&self) -> Vec<PathBuf> {
        let (mut all, mut left) = (Vec::new(), vec![self.dir.path().to_owned()]);
        while let Some(dir) = left.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let entry = entry.unwrap();
                left.extend(entry.file_type().unwrap().is_dir().then(|| entry.path()));
                all.push(entry.path());
            }
        }
        all.sort();
        all
    }
}

/// What `check-config` says of these settings of the service, with its exit code.
fn checked(settings: &str) -> (String, Option<i32>) {
    let file = ConfigFile::new(&format!("[service]\n{settings}"));
    let done = command().args(["check-config", "--config", &file.path]).output().unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    (said.replace(&file.path, "x.toml"), done.status.code())
}

#[track_caller]
fn refused(settings: &str, said_of: &[&str]) {
    let (said, code) = checked(settings);
    assert_eq!(code, Some(2), "{settings}: {said}");
    for part in said_of {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[test]
fn check_config_refuses_what_a_start_would_refuse_and_writes_nothing() {
    let files = Files::new();
    let Files { cert, key, other_key, .. } = &files;
    let before = files.all();
    let pair = files.pair();
    let good = format!("{pair}client_ca = {cert:?}\nstate_file = {:?}\n", files.path("s.toml"));
    let (said, code) = checked(&good);
    assert_eq!(code, Some(0), "{said}");
    refused(
        &format!("cert = \"nope.pem\"\nkey = {key:?}\n"),
        &["--cert: nope.pem: No such file", "(cert: x.toml:2)"],
    );
    refused(
        &format!("cert = {cert:?}\nkey = {other_key:?}\n"),
        &["--key: ", "the key does not belong to the certificate (key: x.toml:3)"],
    );
    refused(
        &format!("{pair}client_ca = {key:?}\n"),
        &["--client-ca: ", "it holds a private key", "(client_ca: x.toml:4)"],
    );
    let nowhere = Path::new("/nonexistent/x");
    refused(
        &format!("{pair}client_ca = \"nope.pem\"\nstate_file = {nowhere:?}\n"),
        &[
            "--client-ca: nope.pem: No such file",
            "--state-file: /nonexistent/x: needs a directory that can be written",
            "(state_file: x.toml:5)",
        ],
    );
    refused(
        &format!("{pair}port = 4000\nhttp = \"127.0.0.1:4000\"\n"),
        &["http must be another address than that of gRPC (http: x.toml:5, port: x.toml:4"],
    );
    assert_eq!(files.all(), before, "it only looks");
    // Without a word of where they are, it still shows the settings.
    let (said, code) = checked("port = 4000\n");
    assert!(
        said.contains("warning: failed to load TLS credentials, --cert: certs/cert.pem"),
        "{said}"
    );
    assert!(code == Some(0) && said.contains("service.port = 4000  # x.toml:2"), "{said}");
}

#[test]
fn a_reload_refuses_as_a_whole_what_the_next_start_would_refuse() {
    let files = Files::new();
    let configured = Configured::start("[service]\nmax_statements = 5\n");
    let reload =
        |lines: String| configured.reload(&format!("[service]\nmax_statements = 1\n{lines}"));
    let (cert, key) = (&files.cert, &files.key);
    for (lines, part) in [
        ("client_ca = \"nope.pem\"".to_owned(), "--client-ca: nope.pem".to_owned()),
        (format!("client_ca = {key:?}"), "it holds a private key".to_owned()),
        ("state_file = \"/nonexistent/x\"".to_owned(), "--state-file: /nonexistent/x".to_owned()),
        (format!("state_file = {cert:?}"), cert.display().to_string()),
    ] {
        let line = reload(lines);
        assert!(line.contains("event=reload_failed ") && line.contains(&part), "{part}: {line}");
    }
    let before = files.all();
    let state = files.path("s.toml");
    let line = reload(format!("client_ca = {cert:?}\nstate_file = {state:?}"));
    assert!(line.contains("event=reloaded applied=\"service.max_statements\""), "{line}");
    for key in ["service.client_ca", "service.state_file"] {
        assert!(line.contains(key), "it needs a restart: {line}");
    }
    assert_eq!(files.all(), before, "it only looks");
}
