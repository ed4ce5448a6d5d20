//! What operators change, kept over a restart by `--state-file`.

mod promises;
mod reloads;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    ListTenantsRequest, PauseMode, PauseTenantRequest, PutTenantRequest, ReloadRequest,
    RemoveTenantRequest, ResizeTenantRequest, ResumeTenantRequest, SetLogLevelRequest,
    TenantSource, TenantSummary,
};
use connection_pool_manager::proto::connection_pool::TenantState;

use crate::harness::{
    command, eventually, permit, refusal, refused, tenant, Administered, Operator, Tenant,
};

/// A directory with the file, which need not be there.
struct StateFile {
    dir: tempfile::TempDir,
    path: String,
}

impl StateFile {
    fn new() -> StateFile {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state.toml").display().to_string();
        StateFile { dir, path }
    }

    fn arguments(&self) -> [&str; 2] {
        ["--state-file", &self.path]
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).expect("it is there")
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("it is written");
        permit(Path::new(&self.path), 0o600);
    }

    /// Where the next file is written: a directory there is in the way.
    fn next(&self) -> PathBuf {
        self.dir.path().join("state.toml.new")
    }

    /// What `check-config` prints with this file, and whether it ends well.
    fn checked(&self, config: &Path) -> (String, Option<i32>) {
        let mut check = command();
        check.args(["check-config", "--config"]).arg(config).args(self.arguments());
        let done = check.output().expect("it runs");
        let both = [done.stdout, done.stderr].concat();
        (String::from_utf8(both).expect("UTF-8"), done.status.code())
    }

    /// What a start with this file says that fails.
    #[track_caller]
    fn refuses(&self, config: &Path) -> String {
        let mut serve = command();
        serve.args(["serve", "--insecure", "--listen", "127.0.0.1", "--port", "0"]);
        serve.args(["--http", "127.0.0.1:0", "--config"]).arg(config).args(self.arguments());
        refusal(serve)
    }
}

/// A tenant of the configuration, which is open to everybody.
fn configured(tenant: &Tenant, max: usize) -> String {
    tenant.table(&format!("anonymous = true\nmin_connections = 0\nmax_connections = {max}"))
}

/// Every answer says that the change is kept.
#[track_caller]
fn is_kept<T>(answer: Result<T, CallError>, not_kept: impl Fn(&T) -> &str) {
    let answer = answer.unwrap();
    assert_eq!(not_kept(&answer), "");
}

fn put(by: &Operator, name: &str, dsn: &str, max: i32, users: &[&str]) {
    let asked = PutTenantRequest {
        tenant_id: name.to_owned(),
        dsn: dsn.to_owned(),
        max_connections: Some(max),
        min_connections: Some(0),
        identities: users.iter().map(|name| (*name).to_owned()).collect(),
        ..PutTenantRequest::default()
    };
    is_kept(by.ask(|stub, option| stub.put_tenant(&asked, option)), |it| &it.not_kept);
}

fn resize(by: &Operator, name: &str, max_connections: i32) -> Result<String, CallError> {
    let tenant_id = name.to_owned();
    let asked = ResizeTenantRequest { tenant_id, max_connections, ..Default::default() };
    by.ask(|stub, option| stub.resize_tenant(&asked, option)).map(|it| it.not_kept)
}

fn pause(by: &Operator, name: &str, mode: PauseMode) {
    let tenant_id = name.to_owned();
    let asked = PauseTenantRequest { tenant_id, mode: mode.into(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.pause_tenant(&asked, option)), |it| &it.not_kept);
}

fn resume(by: &Operator, name: &str) {
    let asked = ResumeTenantRequest { tenant_id: name.to_owned(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.resume_tenant(&asked, option)), |it| &it.not_kept);
}

fn remove(by: &Operator, name: &str) {
    let asked = RemoveTenantRequest { tenant_id: name.to_owned(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.remove_tenant(&asked, option)), |it| &it.not_kept);
}

fn all(by: &Operator) -> Vec<TenantSummary> {
    let asked = ListTenantsRequest::default();
    by.ask(|stub, option| stub.list_tenants(&asked, option)).unwrap().tenants
}

#[track_caller]
fn one(by: &Operator, name: &str) -> TenantSummary {
    all(by).into_iter().find(|one| one.tenant_id == name).expect("it is there")
}

fn is_paused(summary: &TenantSummary) -> bool {
    summary.state.enum_value() == Ok(TenantState::TENANT_STATE_PAUSED)
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let state = StateFile::new();
    let [sized, paused, gone, other, made] = [(); 5].map(|()| tenant());
    let tables: String =
        [&sized, &paused, &gone, &other].iter().map(|one| configured(one, 2)).collect();
    let service = Administered::with(&state.arguments(), &tables);
    let ops = service.operator("ops");
    assert_eq!(resize(&ops, &sized.name, 5).unwrap(), "");
    pause(&ops, &paused.name, PauseMode::PAUSE_MODE_REFUSE);
    remove(&ops, &gone.name);
    put(&ops, &other.name, &made.dsn, 3, &["shop"]);
    put(&ops, "made", &made.dsn, 4, &["shop"]);
    let level = SetLogLevelRequest { level: "trace".to_owned(), ..Default::default() };
    is_kept(ops.ask(|stub, option| stub.set_log_level(&level, option)), |it| &it.not_kept);
    let before = all(&ops);

    let service = service.again(&state.arguments());
    let ops = service.operator("ops");
    let after = all(&ops);
    let told = |all: &[TenantSummary]| {
        let of = |one: &TenantSummary| {
            let (name, source) = (one.tenant_id.clone(), one.source.enum_value());
            (name, source, one.changed, one.max_connections, is_paused(one))
        };
        all.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(told(&after), told(&before));
    assert_eq!(after.len(), 4, "one was removed, one was made: {after:?}");
    assert_eq!(one(&ops, &sized.name).max_connections, 5);
    let made_one = one(&ops, "made");
    assert_eq!(made_one.source.enum_value(), Ok(TenantSource::TENANT_SOURCE_ADMIN));
    let client = service.client();
    assert_eq!(refused(client.acquire(&paused.name, "")).reason, "TENANT_PAUSED");
    assert_eq!(refused(client.acquire(&gone.name, "")).reason, "TENANT_NOT_FOUND");
    for name in ["made", &other.name] {
        let named = Tenant { name: name.to_owned(), ..made.by_name() };
        let lease = service.lease(&named);
        assert_eq!(lease.value("select current_user::text"), made.name, "the DSN that was put");
        lease.release();
        // Those who may use it are those who were put, and nobody else.
        assert_eq!(refused(service.nameless().acquire(name, "")).reason, "UNAUTHENTICATED");
    }
    service.log().wait_for("event=state_restored key=\"log\" what=\"level\"");
    let mode = fs::metadata(&state.path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert!(
        state.text().contains(&made.password),
        "the file has the password, and no other place:"
    );
    assert!(!service.log().text().contains(&made.password));
    let (shown, code) = state.checked(&service.path());
    assert_eq!(code, Some(0), "{shown}");
    let line = "state.tenants.made = \"dsn, max_connections";
    assert!(shown.contains(line) && shown.contains(&format!("# {}:", state.path)), "{shown}");
    assert!(!shown.contains(&made.password), "{shown}");

    // What is taken back is not kept either.
    resume(&ops, &paused.name);
    assert_eq!(resize(&ops, &sized.name, 2).unwrap(), "");
    remove(&ops, "made");
    let service = service.again(&state.arguments());
    let ops = service.operator("ops");
    assert!(!is_paused(&one(&ops, &paused.name)));
    assert_eq!(one(&ops, &sized.name).max_connections, 2);
    assert!(all(&ops).iter().all(|one| one.tenant_id != "made"));
    let text = state.text();
    assert!(!text.contains(&sized.name) && !text.contains("[tenants.\"made\"]"), "{text}");
}

#[test]
fn what_the_configuration_says_otherwise_is_dropped_by_a_reload_and_by_a_restart() {
    let state = StateFile::new();
    let [first, second, third] = [(); 3].map(|()| tenant());
    let file = |of_first: usize, of_second: usize| {
        configured(&first, of_first) + &configured(&second, of_second) + &configured(&third, 2)
    };
    let service = Administered::with(&state.arguments(), &file(2, 2));
    let ops = service.operator("ops");
    for tenant in [&first, &second, &third] {
        assert_eq!(resize(&ops, &tenant.name, 7).unwrap(), "");
        pause(&ops, &tenant.name, PauseMode::PAUSE_MODE_WAIT);
    }
    service.rewrite(&file(4, 2));
    ops.ask(|stub, option| stub.reload(&ReloadRequest::default(), option)).unwrap();
    let table = |name: &str| {
        let text = state.text();
        let (_, from) = text.split_once(&format!("[tenants.\"{name}\"]")).expect("it is there");
        from.split('[').next().unwrap_or_default().to_owned()
    };
    eventually("the reload has dropped the size, and no pause", || {
        let of_first = table(&first.name);
        !of_first.contains("max_connections") && of_first.contains("paused")
    });
    assert!(table(&second.name).contains("max_connections = 7"));
    service.rewrite(&file(4, 3));
    let (shown, code) = state.checked(&service.path());
    assert_eq!(code, Some(0));
    let warned = format!("warning: tenants.{} ({}:", second.name, state.path);
    assert!(shown.contains(&warned) && shown.contains("holds no more (max_conn"), "{shown}");

    let service = service.again(&state.arguments());
    let ops = service.operator("ops");
    service
        .log()
        .wait_for(&format!("event=state_dropped key=\"tenants.{}\" what=\"max", second.name));
    for (tenant, max) in [(&first, 4), (&second, 3), (&third, 7)] {
        let now = one(&ops, &tenant.name);
        assert_eq!((now.max_connections, is_paused(&now)), (max, true), "as after a reload");
    }
    assert!(!table(&second.name).contains("max_connections"), "it is dropped for good");
}

#[test]
fn a_change_that_cannot_be_kept_holds_and_its_answer_says_so() {
    let state = StateFile::new();
    let [first, second] = [(); 2].map(|()| tenant());
    let tables = configured(&first, 2) + &configured(&second, 2);
    let service = Administered::with(&state.arguments(), &tables);
    let ops = service.operator("ops");
    let failed = "connpool_state_file_writes_total{result=\"failed\"}";
    assert_eq!(service.metric(failed), Some(0.0));
    fs::create_dir(state.next()).unwrap();
    let why = resize(&ops, &first.name, 7).unwrap();
    assert!(why.contains("irectory"), "{why}");
    assert_eq!(one(&ops, &first.name).max_connections, 7);
    assert_eq!(service.metric(failed), Some(1.0));
    service.log().wait_for("event=state_not_kept path=");
    fs::remove_dir(state.next()).unwrap();
    // The next one keeps both.
    assert_eq!(resize(&ops, &second.name, 6).unwrap(), "");
    let service = service.again(&state.arguments());
    let ops = service.operator("ops");
    assert_eq!(one(&ops, &first.name).max_connections, 7);
    assert_eq!(one(&ops, &second.name).max_connections, 6);
}

#[test]
fn changes_of_many_operators_at_once_are_each_kept_when_they_are_answered() {
    let state = StateFile::new();
    let tenants = [(); 4].map(|()| tenant());
    let tables: String = tenants.iter().map(|one| configured(one, 2)).collect();
    let service = Administered::with(&state.arguments(), &tables);
    let last = std::thread::scope(|scope| {
        let threads = tenants.each_ref().map(|tenant| {
            let ops = service.operator("ops");
            scope.spawn(move || {
                for size in 3..20 {
                    assert_eq!(resize(&ops, &tenant.name, size).unwrap(), "");
                }
                19
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let service = service.again(&state.arguments());
    let ops = service.operator("ops");
    for (tenant, size) in tenants.iter().zip(last) {
        assert_eq!(one(&ops, &tenant.name).max_connections, size);
    }
}

#[test]
fn a_file_that_is_none_of_the_service_is_a_start_error_with_its_place() {
    let state = StateFile::new();
    let tenant = tenant();
    let service = Administered::with(&state.arguments(), &configured(&tenant, 2));
    let ops = service.operator("ops");
    put(&ops, "made", &tenant.dsn, 4, &["shop"]);
    let config = service.path();
    let good = state.text();
    let said = state.refuses(&config);
    assert!(said.contains("is in use by another process"), "{said}");
    let (_, code) = state.checked(&config);
    assert_eq!(code, Some(0), "whoever only looks needs no lock");
    let _files = service.killed();
    let path = &state.path;
    let size = good.replace("max_connections = 4", "max_connections = 4000");
    for (text, part) in [
        ("", format!("{path}:1: must be a file that the service wrote")),
        (&good[..good.len() / 2], format!("{path}:")),
        (good.split("[end]").next().unwrap(), format!("{path}:1: must end with the table [end]")),
        (&good.replace("dsn = \"", "dsn = \"colour=blue "), "made.dsn (".to_owned()),
        (&format!("{good}\0"), format!("{path}:")),
    ] {
        state.write(text);
        let said = state.refuses(&config);
        assert!(said.contains(&part), "{part}\n{said}");
        let (shown, code) = state.checked(&config);
        assert!(shown.contains(&part) && code == Some(2), "{part}\n{shown}");
        assert!(!(said + &shown).contains(&tenant.password));
        assert_eq!(state.text(), text, "it stays for who looks into it");
    }
    // Good by itself, and more than the settings allow.
    state.write(&size);
    let said = state.refuses(&config);
    assert!(said.contains("tenants.made (") && said.contains("cannot be taken up again"), "{said}");
    state.write(&good);
    permit(Path::new(path), 0o640);
    let said = state.refuses(&config);
    assert!(said.contains("must be open to its owner only (chmod 600)"), "{said}");
    let nowhere = StateFile { path: format!("{path}/none/state.toml"), dir: state.dir };
    let said = nowhere.refuses(&config);
    assert!(said.contains("needs a directory that can be written"), "{said}");
}
