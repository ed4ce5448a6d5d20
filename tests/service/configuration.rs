//! Settings from a file, and what is told of them.

use std::path::Path;
use std::process::{Command, Output};

use rustix::process::Signal;

use crate::harness::{command, tenant, Service};

/// A file with this text, which only its owner reads.
fn file(dir: &tempfile::TempDir, text: &str) -> String {
    let path = dir.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    permit(&path, 0o600);
    path.display().to_string()
}

fn permit(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn output(mut program: Command, arguments: &[&str]) -> (Output, String) {
    let output = program.args(arguments).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said)
}

#[test]
fn a_service_runs_by_its_file_and_a_flag_wins_over_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        "[service]\nmax_backends = 9\ndrain_timeout = \"1m\"\n\n[defaults]\nmax_connections = 4\n",
    );
    let service = Service::with(&["--config", &path, "--max-backends", "8"]);
    let line = service.log().wait_for("event=settings ");
    for part in [" max_backends=8 ", " drain_timeout_s=60 ", " max_connections=4 "] {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
    assert!(!service.log().text().contains("event=config_readable_by_others"));
    let tenant = tenant();
    service.lease(&tenant).run(&["select 1"]);
    assert_eq!(service.client().stats(&tenant.name).unwrap().max_connections, 4);
}

#[test]
fn a_file_that_others_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "[service]\n");
    permit(Path::new(&path), 0o644);
    let service = Service::with(&["--config", &path]);
    let line = service.log().wait_for("event=config_readable_by_others ");
    assert!(line.contains(&path) && line.contains(" WARN "), "{line}");
    // So is one that a reload reads.
    permit(Path::new(&path), 0o600);
    let service = Service::with(&["--config", &path]);
    assert!(!service.log().text().contains("event=config_readable_by_others"));
    permit(Path::new(&path), 0o604);
    service.signal(Signal::HUP);
    service.log().wait_for("event=config_readable_by_others ");
}

#[test]
fn check_config_tells_every_setting_with_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "profile = \"local\"\n[service]\nport = 1234\n");
    let mut program = command();
    program.env("CPM_CONFIG", &path).env("DB_MAX_CONN_LIFETIME", "1h");
    let (output, said) = output(program, &["check-config", "--wait", "7s"]);
    assert!(output.status.success(), "{said}");
    for line in [
        format!("service.port = 1234  # {path}:3"),
        "service.wait = 7  # --wait".to_owned(),
        "defaults.max_lifetime = 3600  # DB_MAX_CONN_LIFETIME".to_owned(),
        "defaults.max_connections = 3  # profile local".to_owned(),
        "service.http = \":8082\"  # default".to_owned(),
        "service.max_client_connections = (as many as file descriptors allow, at most 10000)  # default"
            .to_owned(),
    ] {
        assert!(said.lines().any(|said| said == line), "no {line:?} in {said}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_and_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "[service]\nprot = 1\nport = 70000\n[defaults]\nreset = \"maybe\"\n");
    for arguments in [["check-config", "--config", &path], ["serve", "--config", &path]] {
        let (output, said) = output(command(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("service.prot ({path}:2) is not known")), "{said}");
    }
    let path = file(&dir, "[service]\nport = 70000\n[defaults]\nreset = \"maybe\"\n");
    let (output, said) = output(command(), &["check-config", "--config", &path, "--wait=x"]);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in [
        format!("service.port ({path}:2) must be an integer from 0 to 65535, and is 70000"),
        format!("defaults.reset ({path}:4) must be clean or close, and is \"maybe\""),
        "wait (--wait) must be a time".to_owned(),
    ] {
        assert!(said.contains(&part), "no {part:?} in {said}");
    }
}

#[test]
fn the_printed_file_is_one_that_changes_nothing() {
    let (printed, text) = output(command(), &["--print-default-config"]);
    assert!(printed.status.success(), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, &text);
    let (checked, said) = output(command(), &["check-config", "--config", &path]);
    assert!(checked.status.success(), "{said}");
    let (plain, unsaid) = output(command(), &["check-config"]);
    assert!(plain.status.success());
    assert_eq!(said, unsaid);
}
