//! The file, those whom operators change, and how.

use std::fs;
use std::path::{Path, PathBuf};

use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::admin::{
    ListTenantsRequest, PauseMode, PauseTenantRequest, PutTenantRequest, RemoveTenantRequest,
    ResizeTenantRequest, ResumeTenantRequest, SetLogLevelRequest, TenantSummary,
};
use connection_pool_manager::proto::connection_pool::TenantState;

use crate::harness::{command, permit, refusal, refused, tenant, Administered, Operator, Tenant};

/// A directory with the file, which need not be there.
pub(super) struct StateFile {
    pub(super) dir: tempfile::TempDir,
    pub(super) path: String,
}

impl StateFile {
    pub(super) fn new() -> StateFile {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("state.toml").display().to_string();
        StateFile { dir, path }
    }

    pub(super) fn arguments(&self) -> [&str; 2] {
        ["--state-file", &self.path]
    }

    pub(super) fn text(&self) -> String {
        fs::read_to_string(&self.path).expect("it is there")
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("it is written");
        permit(Path::new(&self.path), 0o600);
    }

    /// Where the next file is written: a directory there is in the way.
    pub(super) fn next(&self) -> PathBuf {
        self.dir.path().join("state.toml.new")
    }

    /// What `check-config` prints with this file, and whether it ends well.
    pub(super) fn checked(&self, config: &Path) -> (String, Option<i32>) {
        let mut check = command();
        check.args(["check-config", "--config"]).arg(config).args(self.arguments());
        let done = check.output().expect("it runs");
        let both = [done.stdout, done.stderr].concat();
        (String::from_utf8(both).expect("UTF-8"), done.status.code())
    }

    /// What a start with this file says that fails.
    #[track_caller]
    pub(super) fn refuses(&self, config: &Path) -> String {
        let mut serve = command();
        serve.args(["serve", "--insecure", "--listen", "127.0.0.1", "--port", "0"]);
        serve.args(["--http", "127.0.0.1:0", "--config"]).arg(config).args(self.arguments());
        refusal(serve)
    }
}

/// A tenant of the configuration, which is open to everybody.
pub(super) fn configured(tenant: &Tenant, max: usize) -> String {
    tenant.table(&format!("anonymous = true\nmin_connections = 0\nmax_connections = {max}"))
}

/// Every answer says that the change is kept.
#[track_caller]
pub(super) fn is_kept<T>(answer: Result<T, CallError>, not_kept: impl Fn(&T) -> &str) {
    let answer = answer.unwrap();
    assert_eq!(not_kept(&answer), "");
}

pub(super) fn put(by: &Operator, name: &str, dsn: &str, max: i32, users: &[&str]) {
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

pub(super) fn resize(by: &Operator, name: &str, max_connections: i32) -> Result<String, CallError> {
    let tenant_id = name.to_owned();
    let asked = ResizeTenantRequest { tenant_id, max_connections, ..Default::default() };
    by.ask(|stub, option| stub.resize_tenant(&asked, option)).map(|it| it.not_kept)
}

pub(super) fn pause(by: &Operator, name: &str, mode: PauseMode) {
    let tenant_id = name.to_owned();
    let asked = PauseTenantRequest { tenant_id, mode: mode.into(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.pause_tenant(&asked, option)), |it| &it.not_kept);
}

pub(super) fn resume(by: &Operator, name: &str) {
    let asked = ResumeTenantRequest { tenant_id: name.to_owned(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.resume_tenant(&asked, option)), |it| &it.not_kept);
}

pub(super) fn remove(by: &Operator, name: &str) {
    let asked = RemoveTenantRequest { tenant_id: name.to_owned(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.remove_tenant(&asked, option)), |it| &it.not_kept);
}

pub(super) fn all(by: &Operator) -> Vec<TenantSummary> {
    let asked = ListTenantsRequest::default();
    by.ask(|stub, option| stub.list_tenants(&asked, option)).unwrap().tenants
}

#[track_caller]
pub(super) fn one(by: &Operator, name: &str) -> TenantSummary {
    all(by).into_iter().find(|one| one.tenant_id == name).expect("it is there")
}

pub(super) fn set_level(by: &Operator, level: &str) {
    let asked = SetLogLevelRequest { level: level.to_owned(), ..Default::default() };
    is_kept(by.ask(|stub, option| stub.set_log_level(&asked, option)), |it| &it.not_kept);
}

/// Tenants of the configuration, each of which an operator changes in one way, and the one whose
/// DSN is put.
pub(super) struct ChangedTenants {
    pub(super) sized: Tenant,
    pub(super) paused: Tenant,
    pub(super) gone: Tenant,
    pub(super) other: Tenant,
    pub(super) made: Tenant,
}

impl ChangedTenants {
    pub(super) fn new() -> ChangedTenants {
        let [sized, paused, gone, other, made] = [(); 5].map(|()| tenant());
        ChangedTenants { sized, paused, gone, other, made }
    }

    pub(super) fn tables(&self) -> String {
        let configured_ones = [&self.sized, &self.paused, &self.gone, &self.other];
        configured_ones.iter().map(|one| configured(one, 2)).collect()
    }

    pub(super) fn change(&self, by: &Operator) {
        assert_eq!(resize(by, &self.sized.name, 5).unwrap(), "");
        pause(by, &self.paused.name, PauseMode::PAUSE_MODE_REFUSE);
        remove(by, &self.gone.name);
        put(by, &self.other.name, &self.made.dsn, 3, &["shop"]);
        put(by, "made", &self.made.dsn, 4, &["shop"]);
    }

    /// What was put leads to its DSN, for those who were put with it and for nobody else.
    #[track_caller]
    pub(super) fn are_served_as_put(&self, service: &Administered) {
        for name in ["made", &self.other.name] {
            let named = Tenant { name: name.to_owned(), ..self.made.by_name() };
            let lease = service.lease(&named);
            let user = lease.value("select current_user::text");
            assert_eq!(user, self.made.name, "the DSN that was put");
            lease.release();
            assert_eq!(refused(service.nameless().acquire(name, "")).reason, "UNAUTHENTICATED");
        }
    }
}

pub(super) fn is_paused(summary: &TenantSummary) -> bool {
    summary.state.enum_value() == Ok(TenantState::TENANT_STATE_PAUSED)
}
