//! What operators change, kept over a restart by `--state-file`.

mod promises;
mod reloads;
mod scene;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use connection_pool_manager::proto::admin::{
    PauseMode, ReloadRequest, TenantSource, TenantSummary,
};

use crate::harness::{eventually, permit, refused, tenant, Administered, Operator, Tenant};
use scene::*;

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let state = StateFile::new();
    let tenants = ChangedTenants::new();
    let service = Administered::with(&state.arguments(), &tenants.tables());
    let ops = service.operator("ops");
    tenants.change(&ops);
    set_level(&ops, "trace");
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
    let ChangedTenants { sized, paused, gone, made, .. } = &tenants;
    assert_eq!(one(&ops, &sized.name).max_connections, 5);
    let made_one = one(&ops, "made");
    assert_eq!(made_one.source.enum_value(), Ok(TenantSource::TENANT_SOURCE_ADMIN));
    let client = service.client();
    assert_eq!(refused(client.acquire(&paused.name, "")).reason, "TENANT_PAUSED");
    assert_eq!(refused(client.acquire(&gone.name, "")).reason, "TENANT_NOT_FOUND");
    tenants.are_served_as_put(&service);
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
