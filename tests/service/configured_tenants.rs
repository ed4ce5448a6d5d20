//! Tenants of the configuration file.

use connection_pool_manager::client::service::{statement, text_at, CallError, Client};
use connection_pool_manager::proto::sql::{
    listen_response, CopyInStart, CopyOutRequest, ExecuteRequest, ListenRequest, QueryRequest,
};

use crate::harness::{
    code, command, eventually, http_get, permit, refused, repository, request, tenant, ConfigFile,
    Service, Tenant,
};

/// A service whose file has these tenants, each with these lines, and these settings.
fn service(tenants: &[(&Tenant, &str)], settings: &str) -> (Service, ConfigFile) {
    let tables: Vec<String> = tenants.iter().map(|(tenant, lines)| tenant.table(lines)).collect();
    let file = ConfigFile::new(&format!("[service]\n{settings}\n{}", tables.concat()));
    (Service::with(&["--config", &file.path]), file)
}

fn one_shot(tenant: &Tenant, sql: &str) -> ExecuteRequest {
    ExecuteRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        statements: vec![statement(sql)],
        ..ExecuteRequest::default()
    }
}

#[track_caller]
fn assert_refused<T>(answer: Result<T, CallError>, code: i32, reason: &str) -> CallError {
    let error = refused(answer);
    assert_eq!((error.code, error.reason.as_str()), (code, reason), "{error}");
    error
}

fn works(client: &Client, tenant: &Tenant) {
    let answer = client.execute(&one_shot(tenant, "select current_database()")).unwrap();
    assert_eq!(text_at(&answer, 0, 0, 0), tenant.name);
}

#[test]
fn every_call_takes_a_configured_tenant_by_its_name_alone() {
    let tenant = tenant();
    let (service, _file) = service(&[(&tenant, "")], "");
    let (client, named) = (service.client(), tenant.by_name());
    assert_eq!(service.lease(&named).value("select current_database()"), tenant.name);
    works(&client, &named);
    client.execute(&one_shot(&named, "create table t (n int)")).unwrap();
    let (mut session, _) = client.open_session(request(&named)).unwrap();
    session.execute(1, &["insert into t values (1)"]).unwrap();
    assert!(session.next().unwrap().is_some());
    session.close().unwrap();
    let start = CopyInStart {
        tenant_id: tenant.name.clone(),
        sql: "copy t from stdin".to_owned(),
        ..CopyInStart::default()
    };
    let mut copy = client.copy_in(start).unwrap();
    copy.data(b"2\n").unwrap();
    copy.finish().unwrap();
    let mut query = client
        .query(&QueryRequest {
            tenant_id: tenant.name.clone(),
            statement: Some(statement("select n from t")).into(),
            ..QueryRequest::default()
        })
        .unwrap();
    while query.next().unwrap().is_some() {}
    let mut copy = client
        .copy_out(&CopyOutRequest {
            tenant_id: tenant.name.clone(),
            sql: "copy t to stdout".to_owned(),
            ..CopyOutRequest::default()
        })
        .unwrap();
    while copy.next().unwrap().is_some() {}
    let mut listen = client
        .listen(&ListenRequest {
            tenant_id: tenant.name.clone(),
            channels: vec!["news".to_owned()],
            ..ListenRequest::default()
        })
        .unwrap();
    let first = listen.next().unwrap().unwrap().kind;
    assert!(matches!(first, Some(listen_response::Kind::Started(_))));
    // A request that is repeated without a DSN gets the same lease.
    let mut again = request(&named);
    again.request_id = b"sixteen bytes id".to_vec();
    let granted = client.acquire_with(&again).unwrap().connection_id;
    assert_eq!(client.acquire_with(&again).unwrap().connection_id, granted);
    assert_eq!(tenant.sql("select sum(n) from t"), "3");
}

#[test]
fn a_dsn_for_a_configured_tenant_is_taken_only_if_it_is_the_configured_one() {
    let (tenant, elsewhere) = (tenant(), tenant());
    let (service, _file) = service(&[(&tenant, "max_connections = 2")], "");
    let client = service.client();
    works(&client, &tenant);
    works(&client, &tenant.with("application_name=mine"));
    let stranger = Tenant { dsn: elsewhere.dsn.clone(), ..tenant.clone() };
    for (other, keys) in [
        (tenant.with("password=wrong"), "password"),
        (tenant.with("port=1"), "port"),
        (tenant.with("pool_max_conns=9"), "pool_max_conns"),
        (stranger, "dbname"),
    ] {
        let answer = client.execute(&one_shot(&other, "select 1"));
        let error = assert_refused(answer, code::FAILED_PRECONDITION, "DSN_MISMATCH");
        assert!(error.message.contains("the configured one of tenant "), "{error}");
        assert!(error.message.ends_with("; send none"), "{error}");
        let named = &error.info.as_ref().unwrap().metadata["keys"];
        assert!(named.split(',').any(|key| key == keys), "{named} for {keys}");
        let answer = client.acquire_with(&request(&other));
        assert_refused(answer, code::FAILED_PRECONDITION, "DSN_MISMATCH");
    }
    assert_eq!(elsewhere.backends(), 0);
    works(&service.client(), &tenant.by_name());
    assert_eq!(client.stats(&tenant.name).unwrap().max_connections, 2);
}

#[test]
fn passwords_of_a_configured_tenant_cannot_be_guessed_quickly() {
    let tenant = tenant();
    let (service, _file) = service(&[(&tenant, "")], "");
    let client = service.client();
    let guess = |n: usize| client.execute(&one_shot(&tenant.with(&format!("password=x{n}")), ""));
    for n in 0..5 {
        assert_refused(guess(n), code::FAILED_PRECONDITION, "DSN_MISMATCH");
    }
    // One a second is compared from then on, right or wrong.
    let mut put_off = 0;
    for n in 5..40 {
        put_off += usize::from(refused(guess(n)).reason == "LOGIN_LIMIT");
    }
    assert!(put_off > 0);
    // Who does not bring one is not held up.
    works(&client, &tenant.by_name());
}

#[test]
fn clients_register_tenants_by_a_dsn_only_if_that_is_allowed_beside_configured_ones() {
    let (known, other) = (tenant(), tenant());
    for (settings, allowed) in [("", false), ("allow_client_dsn = true", true)] {
        let (service, _file) = service(&[(&known, "")], settings);
        let client = service.client();
        works(&client, &known.by_name());
        let (with, without) = (
            client.acquire_with(&request(&other)),
            client.acquire_with(&request(&other.by_name())),
        );
        match allowed {
            true => {
                with.unwrap();
                let rule = "dsn is required: no tenant of this name is configured";
                assert!(without.is_err_and(|error| error.message == rule));
            }
            false => {
                let error = assert_refused(with, code::PERMISSION_DENIED, "DSN_NOT_TAKEN");
                assert!(error.message.contains("allow_client_dsn"), "{error}");
                assert_refused(without, code::NOT_FOUND, "TENANT_NOT_FOUND");
                assert_eq!(other.backends(), 0);
            }
        }
    }
    // And not without any, if the operator has said so.
    let file = ConfigFile::new("[service]\nallow_client_dsn = false\n");
    let service = Service::with(&["--config", &file.path]);
    let answer = service.client().acquire_with(&request(&other));
    assert_refused(answer, code::PERMISSION_DENIED, "DSN_NOT_TAKEN");
}

#[test]
fn a_configured_tenant_has_its_name_whether_its_database_is_there_or_not() {
    let (gone, squatter) = (tenant(), tenant());
    let dead = gone.with("port=1");
    let (service, _file) =
        service(&[(&dead, "min_connections = 0\nconnect_retries = 0")], "allow_client_dsn = true");
    let client = service.client();
    assert_eq!(client.stats(&gone.name).unwrap().total_connections, 0);
    let squat = request(&Tenant { dsn: squatter.dsn.clone(), ..gone.clone() });
    for _ in 0..3 {
        let away = client.execute(&one_shot(&dead.by_name(), "select 1"));
        assert_refused(away, code::UNAVAILABLE, "DATABASE_UNAVAILABLE");
        let answer = client.acquire_with(&squat);
        assert_refused(answer, code::FAILED_PRECONDITION, "DSN_MISMATCH");
    }
    assert_eq!(client.stats(&gone.name).unwrap().max_connections, 20);
    assert_eq!(squatter.backends(), 0);
}

#[test]
fn each_tenant_has_a_pool_of_its_own_settings_filled_from_the_start() {
    let (eager, lazy) = (tenant(), tenant());
    let (service, _file) = service(
        &[(&eager, "max_connections = 3\nmin_connections = 2"), (&lazy, "min_connections = 0")],
        "",
    );
    service.wait_stats(&eager.name, "its minimum is open", |stats| stats.total_connections == 2);
    let line = service.log().wait_for(&format!("event=pool_created tenant={} ", eager.name));
    for part in [" max_connections=3 ", " min_connections=2 ", " peer=configuration"] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    let client = service.client();
    assert_eq!(client.stats(&lazy.name).unwrap().total_connections, 0);
    works(&client, &lazy.by_name());
    assert_eq!(client.stats(&eager.name).unwrap().max_connections, 3);
    assert_eq!(client.stats(&lazy.name).unwrap().max_connections, 20);
}

#[test]
fn a_tenant_is_told_in_files_in_parts_or_in_a_variable_and_no_secret_is_shown() {
    let tenants = [tenant(), tenant(), tenant()];
    let [filed, parted, varied] = &tenants;
    let file = ConfigFile::new("");
    let dsn = file.beside("dsn", &format!("{}\n", filed.dsn));
    let password = file.beside("password", &format!("{}\n", parted.password));
    let port = parted.dsn.split("port=").nth(1).unwrap().split(' ').next().unwrap();
    file.write(&format!(
        "[tenants.{}]\ndsn_file = {dsn:?}\n\
         [tenants.{}]\nhost = \"127.0.0.1\"\nport = {port}\nuser = {:?}\ndatabase = {:?}\n\
         password_file = {password:?}\nssl_mode = \"disable\"\n\
         [tenants.{}]\ndsn_env = \"THE_DSN\"\nmax_connections = 4\n",
        filed.name, parted.name, parted.name, parted.name, varied.name
    ));
    let mut program = command();
    program.env("THE_DSN", &varied.dsn).args(["check-config", "--config", &file.path]);
    let shown = program.output().unwrap();
    let mut said = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    for (key, line) in [
        (format!("{}.max_connections = 4", varied.name), 12),
        (format!("{}.port = \"{port}\"", parted.name), 5),
        (format!("{}.dsn_env = \"THE_DSN\"", varied.name), 11),
    ] {
        let line = format!("tenants.{key}  # {}:{line}", file.path);
        assert!(said.lines().any(|said| said == line), "no {line} in {said}");
    }
    permit(&password, 0o644);
    let mut program = command();
    program.env("THE_DSN", &varied.dsn);
    let service = Service::run(program, &["--config", &file.path]);
    let client = service.client();
    for tenant in &tenants {
        works(&client, &tenant.by_name());
    }
    service
        .log()
        .wait_for(&format!("event=config_readable_by_others path=\"{}\"", password.display()));
    for path in ["/", "/metrics", "/health/ready"] {
        said.push_str(&http_get(service.http_port, path).1);
    }
    said.push_str(&service.log().text());
    for tenant in &tenants {
        assert!(!said.contains(&tenant.password), "a password is shown");
    }
}

#[test]
fn the_connections_of_configured_tenants_are_reserved_for_them() {
    let (configured, first, second) = (tenant(), tenant(), tenant());
    let (service, _file) = service(
        &[(&configured, "max_connections = 8\nmin_connections = 0")],
        "allow_client_dsn = true\nmax_backends = 10",
    );
    let client = service.client();
    let held = client.acquire_with(&request(&first.pool_of(2))).unwrap();
    let answer = client.acquire_with(&request(&second.pool_of(1)));
    assert_refused(answer, code::RESOURCE_EXHAUSTED, "SERVICE_LIMIT");
    let named = configured.by_name();
    let all: Vec<_> = (0..8).map(|_| service.lease(&named)).collect();
    assert_eq!(all.len(), 8);
    client.release(&held.connection_id).unwrap();
    eventually("all are idle", || client.stats(&first.name).is_ok_and(|it| it.leases == 0));
}

#[test]
fn the_example_starts_with_its_three_tenants() {
    let [acme, globex, reports] = [tenant(), tenant(), tenant()];
    let port = acme.dsn.split("port=").nth(1).unwrap().split(' ').next().unwrap();
    let text = std::fs::read_to_string(repository("examples/config.toml")).unwrap();
    let (text, file) =
        (text.replace("port = 5432", &format!("port = {port}")), ConfigFile::new(""));
    // The tenants of a test have names of their own.
    let text = text.replace("\"acme\"", &format!("{:?}", acme.name));
    file.write(&text);
    file.beside("acme.password", &format!("{}\n", acme.password));
    file.beside("reports.dsn", &format!("{}\n", reports.dsn));
    let mut program = command();
    program.current_dir(file.dir.path()).env("GLOBEX_DSN", &globex.dsn);
    let service = Service::run(program, &["--config", &file.path]);
    let client = service.client();
    for (name, tenant, most) in
        [("acme", &acme, 40), ("globex", &globex, 10), ("initech/reports", &reports, 2)]
    {
        let named = Tenant { name: name.to_owned(), ..tenant.by_name() };
        let answer = client.execute(&one_shot(&named, "select current_database()")).unwrap();
        assert_eq!(text_at(&answer, 0, 0, 0), tenant.name);
        assert_eq!(client.stats(name).unwrap().max_connections, most);
    }
    assert!(!service.log().text().contains("event=config_readable_by_others"));
    let answer = client.acquire_with(&request(&acme));
    assert_refused(answer, code::PERMISSION_DENIED, "DSN_NOT_TAKEN");
}
