//! Each promise by itself: kept when it is answered, for as long as it holds, and nothing else.

use super::*;
use crate::harness::millis;
use connection_pool_manager::proto::admin::PauseTenantRequest;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;

#[test]
fn an_action_is_in_the_file_when_it_is_answered() {
    let state = StateFile::new();
    let [changed, gone] = [(); 2].map(|()| tenant());
    let tables = configured(&changed, 2) + &configured(&gone, 2);
    let service = Administered::with(&state.arguments(), &tables);
    let ops = service.operator("ops");
    // Whoever was answered before the write would often be too early.
    for size in 3..20 {
        assert_eq!(resize(&ops, &changed.name, size).unwrap(), "");
        assert!(state.text().contains(&format!("max_connections = {size}\n")));
        pause(&ops, &changed.name, PauseMode::PAUSE_MODE_WAIT);
        let text = state.text();
        assert!(text.contains("paused = \"wait\"\n"));
        assert!(text.contains(&format!("max_connections = {size}\n")), "a pause ends no size");
        resume(&ops, &changed.name);
        assert!(!state.text().contains("paused"));
        put(&ops, "made", &changed.dsn, size, &["shop"]);
        assert!(state.text().contains("[tenants.\"made\"]\n"));
        remove(&ops, "made");
        assert!(!state.text().contains("[tenants.\"made\"]\n"));
        let level = format!("warn,level{size}=info");
        set_level(&ops, &level);
        assert!(state.text().contains(&level));
    }
    remove(&ops, &gone.name);
    assert!(state.text().contains("removed = true\n"));
    let written = "connpool_state_file_writes_total{result=\"kept\"}";
    // One at the start.
    assert_eq!(service.metric(written), Some(1.0 + 6.0 * 17.0 + 1.0));
}

#[test]
fn what_is_kept_stays_kept_over_restarts_in_which_nobody_does_anything() {
    let state = StateFile::new();
    let (tenants, waits) = (ChangedTenants::new(), tenant());
    let tables = tenants.tables() + &configured(&waits, 2);
    let mut service = Administered::with(&state.arguments(), &tables);
    let ops = service.operator("ops");
    tenants.change(&ops);
    pause(&ops, &waits.name, PauseMode::PAUSE_MODE_WAIT);
    // The harness waits for lines of the start.
    set_level(&ops, "info,of_no_module=trace");
    // But for the salt, and the digests that have it.
    let kept = |text: String| -> Vec<String> {
        let digested = ["salt = ", "configured = \"", "configured_identities = "];
        let lines = text.lines().filter(|line| !digested.iter().any(|it| line.starts_with(it)));
        lines.map(str::to_owned).collect()
    };
    let before = kept(state.text());
    for part in
        ["removed = true", "paused = \"wait\"", "paused = \"refuse\"", "identities = [\"shop\"]"]
    {
        assert!(before.iter().any(|line| line == part), "{part}: {before:#?}");
    }
    for _ in 0..2 {
        service = service.again(&state.arguments());
        assert_eq!(kept(state.text()), before);
    }
    let client = service.client();
    client.release(&client.acquire("made", "").unwrap().connection_id).unwrap();
    assert_eq!(resize(&service.operator("ops"), "made", 6).unwrap(), "");
    service.log().wait_for("event=admin action=resize");
    let log = service.log().text();
    let (_, since) = log.split_once("event=state_restored key=\"log\"").unwrap();
    assert!(!since.contains(" DEBUG "), "the level that was set holds: {since}");
    let name = |one: &Tenant| one.name.clone();
    for (name, reason) in [
        (name(&tenants.paused), "TENANT_PAUSED"),
        (name(&waits), "WAIT_TIMEOUT"),
        (name(&tenants.gone), "TENANT_NOT_FOUND"),
    ] {
        let asked = ConnectionRequest {
            tenant_id: name,
            wait_timeout: millis(1),
            ..ConnectionRequest::default()
        };
        assert_eq!(refused(client.acquire_with(&asked)).reason, reason);
    }
    tenants.are_served_as_put(&service);
    assert_eq!(one(&service.operator("ops"), &tenants.sized.name).max_connections, 5);
}

#[test]
fn what_is_done_to_a_tenant_of_a_client_is_not_kept() {
    let state = StateFile::new();
    let (service, tenant) = (Administered::with(&state.arguments(), ""), tenant());
    let ops = service.operator("ops");
    service.lease(&tenant).release();
    let why = "a client has registered the tenant: there is none after a restart, until a client \
               brings its DSN again";
    assert_eq!(resize(&ops, &tenant.name, 7).unwrap(), why);
    let asked = PauseTenantRequest { tenant_id: tenant.name.clone(), ..Default::default() };
    let paused = ops.ask(|stub, option| stub.pause_tenant(&asked, option)).unwrap();
    assert_eq!(paused.not_kept, why);
    assert!(!state.text().contains("[tenants"), "{}", state.text());
    let service = service.again(&state.arguments());
    assert!(all(&service.operator("ops")).is_empty());
    service.lease(&tenant).release();
}

#[test]
fn another_level_in_a_reload_wins_for_good_over_the_one_that_was_set() {
    let state = StateFile::new();
    let file = |level: &str| {
        format!("[service]\nstate_file = {:?}\nlog_level = \"{level}\"\n", state.path)
    };
    // Without the harness's own level, which would be stronger.
    let service = Administered::undisturbed(&file("info"));
    let ops = service.operator("ops");
    set_level(&ops, "warn");
    assert!(state.text().contains("[log]"));
    set_level(&ops, "info");
    assert!(!state.text().contains("[log]"), "it is as configured");
    set_level(&ops, "warn");
    assert!(state.text().contains("level = \"warn\""));
    service.rewrite(&file("debug"));
    ops.ask(|stub, option| stub.reload(&ReloadRequest::default(), option)).unwrap();
    eventually("it is dropped", || !state.text().contains("[log]"));
}

#[test]
fn a_start_that_could_not_write_the_file_fails() {
    let state = StateFile::new();
    let tenant = tenant();
    let service = Administered::with(&state.arguments(), &configured(&tenant, 2));
    let config = service.path();
    let _files = service.killed();
    fs::create_dir(state.next()).unwrap();
    let said = state.refuses(&config);
    assert!(said.contains(&format!("{}: cannot be written: ", state.path)), "{said}");
}

#[test]
fn what_is_told_of_a_tenant_is_the_same_after_a_restart() {
    let state = StateFile::new();
    let [again, back, lent, made] = [(); 4].map(|()| tenant());
    let tables: String = [&again, &back, &lent].iter().map(|one| configured(one, 2)).collect();
    let service = Administered::with(&state.arguments(), &tables);
    let ops = service.operator("ops");
    remove(&ops, &again.name);
    put(&ops, &again.name, &made.dsn, 3, &["shop"]);
    assert_eq!(resize(&ops, &back.name, 5).unwrap(), "");
    assert_eq!(resize(&ops, &back.name, 2).unwrap(), "");
    put(&ops, &lent.name, "", 2, &["shop", "eyes"]);
    put(&ops, "made", &made.dsn, 3, &["eyes"]);
    assert_eq!(resize(&ops, "made", 4).unwrap(), "");
    let told = |service: &Administered| -> Vec<_> {
        let listed = all(&service.operator("ops")).into_iter();
        let told = listed.map(|one| {
            let source = one.source.enum_value().unwrap();
            (one.tenant_id, source, one.changed, one.identities, one.anonymous)
        });
        told.collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (file, admin) = (TenantSource::TENANT_SOURCE_FILE, TenantSource::TENANT_SOURCE_ADMIN);
    let mut expected = vec![
        (again.name.clone(), file, true, names(&["shop"]), false),
        (back.name.clone(), file, false, names(&[]), true),
        (lent.name.clone(), file, true, names(&["shop", "eyes"]), false),
        ("made".to_owned(), admin, false, names(&["eyes"]), false),
    ];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told(&service), expected);
    let service = service.again(&state.arguments());
    assert_eq!(told(&service), expected);
    let line =
        service.log().wait_for(&format!("event=state_restored key=\"tenants.{}\"", lent.name));
    assert!(line.contains("what=\"identities (shop eyes)\""), "{line}");
}
