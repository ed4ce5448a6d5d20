//! How the process is set up before it serves: what a crash leaves, its memory, and where
//! the system lets it do neither.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::harness;
use crate::harness::{eventually, tenant, Service};
use rustix::process::Signal;

/// Who owns the files of a process in /proc, and its limit of cores there.
fn dumps(pid: i32) -> (u32, String) {
    let limits = format!("/proc/{pid}/limits");
    let owner = fs::metadata(&limits).unwrap().uid();
    let text = fs::read_to_string(limits).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    (owner, line.split_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_crash_leaves_no_core_unless_a_flag_says_so() {
    let place = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = place.path().join("connection-pool-manager");
    // Not by ourselves: a child that is just being started would hold it open for writing.
    let copied = Command::new("cp").arg(harness::binary()).arg(&program).status();
    assert!(copied.unwrap().success());
    const NOBODY: u32 = 65534;
    let root = rustix::process::geteuid().is_root();
    let own = if root { NOBODY } else { rustix::process::geteuid().as_raw() };
    let start = |dumps: bool| {
        let mut command = harness::without_settings(Command::new(&program));
        command.env("TMPDIR", place.path());
        if !dumps {
            command.env_remove("CPM_CORE_DUMPS");
        }
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        Service::run(command, &["--insecure"])
    };
    let guarded = start(false);
    assert_eq!(dumps(guarded.pid()), (0, "0 0".to_owned()));
    assert_eq!(guarded.get("/health").0, 200);
    // Its own files in /proc are still its own to read.
    eventually("the guard has looked", || guarded.metric("connpool_connection_guard") == Some(1.0));
    assert_eq!(guarded.stop().code(), Some(0));
    let open = start(true);
    let system = dumps(std::process::id().try_into().unwrap()).1;
    assert_eq!(dumps(open.pid()), (own, system));
}

/// A service with a variable of the environment.
fn started_with(name: &str, value: &str) -> Service {
    let mut command = harness::command();
    command.env(name, value);
    Service::run(command, &[])
}

/// The value of a variable that a process was started with.
fn variable(service: &Service, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{}/environ", service.pid())).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let mut all = environment.split('\0').filter_map(|pair| pair.split_once('='));
    all.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// By how much the memory grows at the peak, and stays grown, in kB: for 10 large values
/// at a time. (Many small ones leave holes in the heap, with or without all this.)
fn kept_kb(service: &Service) -> (usize, usize) {
    let mut tenant = tenant().pool_of(10);
    // An idle connection keeps the buffer that it has read its largest message into.
    tenant.dsn.push_str(" pool_reset=close");
    let leases: Vec<_> = (0..10).map(|_| service.lease(&tenant)).collect();
    let before = service.proc_status("VmRSS:");
    // Of growing size: glibc left alone learns from each to keep the next.
    for size in [500_000, 1_000_000, 1_500_000, 2_000_000] {
        let sql = format!("select repeat('x', {size})");
        let calls: Vec<_> = leases.iter().map(|lease| lease.run_later(&sql)).collect();
        for call in calls {
            harness::answer(call).unwrap();
        }
    }
    leases.iter().for_each(harness::Held::release);
    service.wait_quiet(&tenant.name);
    let peak = service.proc_status("VmHWM:").saturating_sub(before);
    (peak, service.proc_status("VmRSS:").saturating_sub(before))
}

#[test]
fn freed_memory_goes_back_to_the_system() {
    let service = Service::start();
    let (peak, kept) = kept_kb(&service);
    println!("grown by {peak} kB at the peak, by {kept} kB afterwards");
    let left_alone = started_with("CPM_ALLOCATOR_SET", "");
    println!("left alone: {:?} kB", kept_kb(&left_alone));
    assert!(kept < peak / 3, "{kept} of {peak} kB are kept");
}

#[test]
fn the_allocator_is_set_up_once_and_the_operators_settings_stand() {
    let service = started_with("MALLOC_ARENA_MAX", "7");
    assert_eq!(variable(&service, "MALLOC_ARENA_MAX").as_deref(), Some("7"));
    assert_eq!(variable(&service, "MALLOC_TRIM_THRESHOLD_").as_deref(), Some("1048576"));
    let name = fs::read_to_string(format!("/proc/{}/comm", service.pid())).unwrap();
    assert_eq!(name.trim(), "connection-pool");
}

#[test]
fn a_program_whose_file_is_gone_starts_all_the_same() {
    let place = tempfile::tempdir_in("/tmp").unwrap();
    let program = place.path().join("connection-pool-manager");
    // The shell copies it, opens the copy, removes it, and becomes what it has opened.
    let script = place.path().join("start");
    let text = format!(
        "cp '{1}' '{0}'\nexec 9<'{0}'\nrm '{0}'\nexec /proc/self/fd/9 \"$@\"\n",
        program.display(),
        harness::binary().display()
    );
    fs::write(&script, text).unwrap();
    let mut shell = harness::without_settings(Command::new("/bin/sh"));
    shell.arg(&script);
    let service = Service::run(shell, &[]);
    assert!(!program.exists());
    assert_eq!(variable(&service, "MALLOC_ARENA_MAX").as_deref(), Some("2"));
    assert_eq!(service.get("/health").0, 200);
}

/// It serves, says that its allocator is as it was, and SIGPIPE does not end it: where an
/// exec fails, Rust has set that back.
fn serves_all_the_same(mut service: Service) {
    service.log().wait_for("event=allocator_not_set");
    assert_eq!(variable(&service, "MALLOC_ARENA_MAX"), None);
    service.signal(Signal::PIPE);
    let lease = service.lease(&tenant());
    lease.run(&["select 1"]);
    lease.release();
    assert_eq!(service.get("/health").0, 200);
    service.signal(Signal::TERM);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_program_that_is_started_by_way_of_the_loader_serves_all_the_same() {
    let linked = Command::new("ldd").arg(harness::binary()).output().unwrap();
    let linked = String::from_utf8(linked.stdout).unwrap();
    let mut words = linked.split_whitespace();
    let loader = words.find(|word| word.starts_with('/') && word.contains("/ld-")).unwrap();
    let mut command = harness::without_settings(Command::new(loader));
    command.arg(harness::binary());
    serves_all_the_same(Service::run(command, &[]));
}

/// A command of the binary with so many bytes of variables that mean nothing.
fn filled(bytes: usize) -> Command {
    // One may have 128 KiB.
    const PIECE: usize = 100_000;
    let mut command = harness::command();
    for (n, from) in (0..bytes).step_by(PIECE).enumerate() {
        command.env(format!("FILLER_{n}"), "x".repeat(PIECE.min(bytes - from)));
    }
    command
}

#[test]
fn a_program_that_cannot_be_started_anew_serves_all_the_same() {
    // The system takes so many bytes of arguments and variables: where the last is used
    // up, the program starts, and has no room for the allocator's variables.
    let starts = |bytes: &usize| {
        let place = tempfile::tempdir().unwrap();
        let files = ["cert.pem", "key.pem"].map(|name| place.path().join(name));
        let mut command = harness::serving(filled(*bytes), &files[0], &files[1], &[]);
        command.env("TMPDIR", place.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let end = |mut child: Child| child.kill().and_then(|()| child.wait());
        command.spawn().map(|child| end(child).unwrap()).is_ok()
    };
    let (mut most, mut step) = (0, 1 << 24);
    assert!(starts(&most) && !starts(&step));
    while step > 1 {
        step /= 2;
        most += if starts(&(most + step)) { step } else { 0 };
    }
    serves_all_the_same(Service::run(filled(most), &[]));
}

#[test]
fn a_service_without_proc_serves_all_the_same() {
    let hidden = "mount -t tmpfs none /proc && exec \"$@\"";
    let unshared = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", hidden, "sh"]);
        command
    };
    if !unshared().arg("true").status().is_ok_and(|status| status.success()) {
        println!("left out: this system lets nobody hide /proc from a process");
        return;
    }
    let mut command = harness::without_settings(unshared());
    command.arg(harness::binary());
    let service = Service::run(command, &[]);
    for part in ["event=allocator_not_set", "event=guard_powerless", "event=guard_blind"] {
        service.log().wait_for(part);
    }
    service.lease(&tenant()).run(&["select 1"]);
    assert_eq!(service.get("/health").0, 200);
    assert_eq!(service.metric("connpool_connection_guard"), Some(0.0));
}
