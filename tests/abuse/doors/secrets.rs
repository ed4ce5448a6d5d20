//! What is told of secrets, wherever somebody may look: nothing.

use connection_pool_manager::proto::admin::{
    GetTenantRequest, ListLeasesRequest, ListTenantsRequest, PutTenantRequest, ReloadRequest,
};

use crate::harness::{
    command, refused, repository, tenant, Administered, ConfigFile, Operator, Tenant,
};

/// The answers to everything that an operator may ask, and to what it asks wrongly.
fn told(ops: &Operator, tenant: &Tenant, bad: &str) -> String {
    let (tenants, leases) = (ListTenantsRequest::default(), ListLeasesRequest::default());
    let one = GetTenantRequest { tenant_id: tenant.name.clone(), ..GetTenantRequest::default() };
    let put = |dsn: &str| PutTenantRequest {
        tenant_id: "put".to_owned(),
        dsn: dsn.to_owned(),
        identities: vec!["shop".to_owned()],
        ..PutTenantRequest::default()
    };
    let put = |dsn: &str| ops.ask(|stub, option| stub.put_tenant(&put(dsn), option));
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        ops.ask(|stub, option| stub.list_tenants(&tenants, option)).unwrap(),
        ops.ask(|stub, option| stub.list_leases(&leases, option)).unwrap(),
        ops.ask(|stub, option| stub.get_tenant(&one, option)).unwrap(),
        put(&tenant.dsn).unwrap(),
        refused(put(bad)),
    )
}

#[test]
fn no_secret_is_in_the_log_at_trace_in_errors_metrics_pages_or_arguments() {
    let (configured, brought) = (tenant(), tenant());
    let rest = |more: &str| {
        let users = configured.table("identities = [\"shop\"]");
        format!("[service]\nallow_client_dsn = true\n{more}\n{users}")
    };
    let service = Administered::with(&["--log-level", "trace"], &rest(""));
    let (ops, client) = (service.operator("ops"), service.client());
    let named = service.lease(&configured.by_name());
    let held = service.lease(&brought);
    held.run(&["select 1"]);
    let wrong = "wrong-password-of-nobody";
    let with_wrong = brought.with(&format!("password={wrong}"));
    let mut text = vec![
        refused(client.acquire(&brought.name, &with_wrong.dsn)).to_string(),
        refused(client.acquire("fresh", &with_wrong.dsn)).to_string(),
        refused(client.acquire("broken", &format!("{} nonsense", brought.dsn))).to_string(),
        refused(service.nameless().with_token("guessed-token").unwrap().stats("t")).to_string(),
        refused(client.run(&format!("{}0", held.id), &["select 1"])).to_string(),
        told(&ops, &configured, &format!("{} sslmode=nonsense", configured.dsn)),
    ];
    // A file with a mistake, by way of the log and of the answer.
    service.rewrite(&rest("wait = \"nonsense\""));
    let reload = ReloadRequest::default();
    let failed = refused(ops.ask(|stub, option| stub.reload(&reload, option)));
    text.push(failed.to_string());
    let path = service.rewrite(&rest(""));
    ops.ask(|stub, option| stub.reload(&reload, option)).unwrap();
    let mut checked = command();
    checked.args(["check-config", "--config", path.to_str().unwrap()]);
    let checked = checked.output().unwrap();
    assert!(checked.status.success());
    text.extend([checked.stdout, checked.stderr].map(|it| String::from_utf8(it).unwrap()));
    text.extend(["/", "/metrics", "/health/ready"].map(|page| service.get(page).1));
    let about = |file: &str| std::fs::read(format!("/proc/{}/{file}", service.pid())).unwrap();
    text.extend(["cmdline", "environ"].map(|it| String::from_utf8_lossy(&about(it)).into_owned()));
    held.release();
    named.release();
    service.log().wait_for("event=admin action=reload by=ops");
    text.push(service.log().text());
    let tokens = ["token-of-ops", "token-of-shop", "guessed-token"].map(str::to_owned);
    let secrets = [configured.password, brought.password, wrong.to_owned(), named.id, held.id];
    for secret in secrets.iter().chain(&tokens) {
        for text in &text {
            if let Some(at) = text.find(secret.as_str()) {
                panic!("{secret} in …{}…", &text[at.saturating_sub(200)..at]);
            }
        }
    }
}

#[test]
fn a_dsn_is_no_argument_of_the_command_line() {
    let secret = "argument-secret";
    for flag in ["--dsn", "--tenants", "--password"] {
        let mut program = command();
        program.args(["serve", flag, &format!("host=h password={secret}")]);
        assert!(!crate::harness::refusal(program).contains(secret), "{flag}");
    }
    let docs = std::fs::read_to_string(repository("docs/configuration.md")).unwrap();
    assert!(!docs.contains("| `--dsn`"), "there is no such flag");
    // Nor does the file with a mistake in it say what it is.
    let text = format!("[tenants.t]\ndsn = \"host=h user=u password={secret} nonsense=1\"\n");
    let file = ConfigFile::new(&text);
    let mut program = command();
    program.args(["serve", "--config", &file.path]);
    let said = crate::harness::refusal(program);
    assert!(said.contains("unknown key") && !said.contains(secret), "{said}");
}
