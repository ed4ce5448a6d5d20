//! What a reload does to what operators have changed: it holds until the file says something else
//! of the tenant, and what is reported, used and kept is the same.

use super::*;
use connection_pool_manager::proto::admin::{GetTenantRequest, GetTenantResponse, ReloadResponse};

fn reload(by: &Operator) -> ReloadResponse {
    by.ask(|stub, option| stub.reload(&ReloadRequest::default(), option)).unwrap()
}

/// What is reported of a tenant.
#[track_caller]
fn shown(by: &Operator, name: &str) -> GetTenantResponse {
    let asked = GetTenantRequest { tenant_id: name.to_owned(), ..GetTenantRequest::default() };
    by.ask(|stub, option| stub.get_tenant(&asked, option)).unwrap()
}

/// Whom a tenant logs in as: reported, and used.
#[track_caller]
fn user(service: &Administered, name: &str) -> (String, String) {
    let named = Tenant { name: name.to_owned(), ..tenant().by_name() };
    let lease = service.lease(&named);
    let used = lease.value("select current_user::text");
    lease.release();
    (shown(&service.operator("ops"), name).user, used)
}

/// The tenants of the file that operators change in each way, and a DSN that none of them has.
struct Scene {
    moved: Tenant,
    sized: Tenant,
    gone: Tenant,
    lent: Tenant,
    other: Tenant,
}

impl Scene {
    fn new() -> Scene {
        let [moved, sized, gone, lent, other] = [(); 5].map(|()| tenant());
        Scene { moved, sized, gone, lent, other }
    }

    /// A file whose tenants have these lines, and this from the defaults of all.
    fn file(&self, idle_timeout: u32, lines: &str) -> String {
        let open = format!("anonymous = true\nmin_connections = 0\nmax_connections = 2\n{lines}");
        let own = format!("identities = [\"ops\"]\nmin_connections = 0\n{lines}");
        let tables = [&self.moved, &self.sized, &self.gone].map(|one| one.table(&open)).concat();
        let defaults = format!("[defaults]\nidle_timeout = {idle_timeout}\nmax_connections = 4\n");
        defaults + &tables + &self.lent.table(&own)
    }

    /// Operators change all of them, and make one.
    fn change(&self, by: &Operator) {
        put(by, &self.moved.name, &self.other.dsn, 2, &[]);
        assert_eq!(resize(by, &self.sized.name, 6).unwrap(), "");
        remove(by, &self.gone.name);
        put(by, &self.lent.name, "", 4, &["shop"]);
        put(by, "made", &self.other.dsn, 3, &["shop"]);
    }

    /// Everything is as operators have changed it, in every place.
    #[track_caller]
    fn is_changed(&self, service: &Administered) {
        let (ops, client, other) = (service.operator("ops"), service.client(), &self.other.name);
        for name in [&self.moved.name, "made"] {
            assert_eq!(user(service, name), (other.clone(), other.clone()));
        }
        assert_eq!(one(&ops, &self.sized.name).max_connections, 6);
        for tenant in [&self.moved, &self.sized, &self.lent] {
            assert!(one(&ops, &tenant.name).changed);
        }
        assert_eq!(refused(client.acquire(&self.gone.name, "")).reason, "TENANT_NOT_FOUND");
        assert_eq!(user(service, &self.lent.name).1, self.lent.name, "shop may use it");
    }
}

#[test]
fn other_defaults_leave_what_operators_have_changed_in_use_and_in_the_file() {
    let (state, scene) = (StateFile::new(), Scene::new());
    for arguments in [&state.arguments()[..], &[]] {
        let service = Administered::with(arguments, &scene.file(55, ""));
        let ops = service.operator("ops");
        scene.change(&ops);
        scene.is_changed(&service);
        service.rewrite(&scene.file(44, ""));
        let reloaded = reload(&ops);
        assert!(reloaded.dropped_changes.is_empty(), "{reloaded}");
        assert!(reloaded.applied.contains(&"defaults.idle_timeout".to_owned()), "{reloaded}");
        scene.is_changed(&service);
        // What no operator has changed is as the file says by now.
        let idle = |service: &Administered, name: &str| {
            let settings = shown(&service.operator("ops"), name).settings;
            settings.idle_timeout.seconds
        };
        for name in [&scene.moved.name, &scene.sized.name, &scene.lent.name, "made"] {
            assert_eq!(idle(&service, name), 44);
        }
        if arguments.is_empty() {
            continue;
        }
        assert!(!state.text().contains("idle_timeout"), "nobody has put it: {}", state.text());
        service.rewrite(&scene.file(33, ""));
        let service = service.again(arguments);
        scene.is_changed(&service);
        assert_eq!((idle(&service, &scene.sized.name), idle(&service, "made")), (33, 33));
        assert!(!service.log().text().contains("event=state_dropped"));
    }
}

#[test]
fn a_file_that_says_something_else_of_a_tenant_wins_at_once_and_says_what_it_ends() {
    let (state, scene) = (StateFile::new(), Scene::new());
    for arguments in [&state.arguments()[..], &[]] {
        let service = Administered::with(arguments, &scene.file(55, ""));
        let ops = service.operator("ops");
        scene.change(&ops);
        let file = scene.file(55, "ping_interval = 20\n");
        service.rewrite(&file);
        let reloaded = reload(&ops);
        let dropped = |name: &str| {
            let key = format!("tenants.{name}");
            let found = reloaded.dropped_changes.iter().find(|one| one.key == key);
            found.map(|one| one.what.as_str())
        };
        let is_file = |service: &Administered| {
            let ops = service.operator("ops");
            for name in [&scene.moved.name, &scene.gone.name] {
                assert_eq!(user(service, name), (name.clone(), name.clone()));
            }
            let is_changed = |name: &String| one(&ops, name).changed;
            assert!(![&scene.moved.name, &scene.sized.name].into_iter().any(is_changed));
            assert_eq!(one(&ops, &scene.sized.name).max_connections, 2);
            let refusal = refused(service.client().acquire(&scene.lent.name, ""));
            assert_eq!(refusal.reason, "PERMISSION_DENIED");
        };
        is_file(&service);
        for (tenant, what) in [
            (&scene.moved, "dsn"),
            (&scene.sized, "max_connections"),
            (&scene.gone, "removed"),
            (&scene.lent, "identities"),
        ] {
            assert_eq!(dropped(&tenant.name), Some(what), "{reloaded}");
            let key = format!("tenants.{}", tenant.name);
            let line = format!("event=change_dropped key={key:?} what={what:?} ");
            service.log().wait_for(&line);
        }
        assert_eq!(dropped("made"), None, "the file does not say anything of it");
        if arguments.is_empty() {
            continue;
        }
        eventually("it is dropped from the file", || {
            !state.text().contains("configured = ") && state.text().contains("\"made\"")
        });
        let service = service.again(arguments);
        is_file(&service);
        assert!(!service.log().text().contains("event=state_dropped"));
    }
}

#[test]
fn other_identities_of_a_tenant_end_only_those_that_were_put() {
    let (state, tenant) = (StateFile::new(), tenant());
    let file = |who: &str| tenant.table(&format!("identities = [{who:?}]\nmin_connections = 0"));
    let service = Administered::with(&state.arguments(), &file("ops"));
    let ops = service.operator("ops");
    put(&ops, &tenant.name, "", 7, &["shop"]);
    service.rewrite(&file("eyes"));
    let reloaded = reload(&ops);
    let [dropped] = reloaded.dropped_changes.as_slice() else { panic!("{reloaded}") };
    assert_eq!(dropped.what, "identities");
    let now = one(&ops, &tenant.name);
    assert_eq!((now.max_connections, now.changed), (7, true));
    assert_eq!(refused(service.client().acquire(&tenant.name, "")).reason, "PERMISSION_DENIED");
}

#[test]
fn a_reload_and_check_config_refuse_what_leaves_no_room_for_what_is_kept() {
    let (state, first, second) = (StateFile::new(), tenant(), tenant());
    let file = |max_backends: usize, more: &str| {
        let head = format!(
            "[service]\nmax_backends = {max_backends}\nmax_connections_per_dsn = 6\n\
             [defaults]\nmax_connections = 2\nmin_connections = 0\n"
        );
        head + &configured(&first, 4) + more
    };
    let service = Administered::with(&state.arguments(), &file(12, ""));
    let ops = service.operator("ops");
    put(&ops, "made", &second.dsn, 5, &["shop"]);
    assert_eq!(resize(&ops, &first.name, 6).unwrap(), "");
    let known = format!("{} 6 ({}:", first.name, state.path);
    for (text, sum, most) in [
        (file(10, ""), "together are 11,", "max_backends is 10."),
        (file(12, &configured(&second, 2)), "together are 13,", "max_backends is 12."),
    ] {
        service.rewrite(&text);
        let asked = ops.ask(|stub, option| stub.reload(&ReloadRequest::default(), option));
        let said = asked.unwrap_err().to_string();
        let (shown, code) = state.checked(&service.path());
        assert_eq!(code, Some(2), "{shown}");
        for part in [sum, most, known.as_str(), "made 5 ("] {
            assert!(said.contains(part), "no {part:?} in the reload's {said}");
            assert!(shown.contains(part), "no {part:?} in check-config's {shown}");
        }
    }
    let lower = file(12, "").replace("per_dsn = 6", "per_dsn = 4");
    service.rewrite(&lower);
    let asked = ops.ask(|stub, option| stub.reload(&ReloadRequest::default(), option));
    let said = asked.unwrap_err().to_string();
    assert!(said.contains("cannot be taken up again: max_connections must be 1 to 4 "), "{said}");
    // As large as they are by the file: it ends what operators have changed of the first.
    service.rewrite(&file(10, "").replace("max_connections = 4", "max_connections = 5"));
    let reloaded = reload(&ops);
    assert_eq!(reloaded.dropped_changes.len(), 1, "{reloaded}");
    let service = service.again(&state.arguments());
    assert_eq!(one(&service.operator("ops"), "made").max_connections, 5);
}
