use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::config::load::{load, Loaded};
use crate::config::raw::tenants::TENANTS_MAX;
use crate::config::raw::{other_pools, RawSettings, SettingSources};
use crate::core::access::Authentication;
use crate::core::ids::TenantId;
use crate::settings::SettingFaults;

fn loaded(text: &str) -> Result<Loaded, SettingFaults> {
    loaded_with(text, &[("THE_DSN", "host=h user=u password=geheim")])
}

fn loaded_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, SettingFaults> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let raw = RawSettings::gather(&SettingSources {
        flags: Vec::new(),
        profile: None,
        file: Some(path),
        variable: &|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, text)| (*text).into())
        },
    })?;
    load(&raw)
}

/// What is said of a file, with its directory left out.
fn refusal(text: &str) -> String {
    let said = loaded(text).map(drop).expect_err(text).to_string();
    assert!(!said.contains("geheim"), "{said}");
    let line = |line: &str| match (line.find('('), line.find("x.toml")) {
        (Some(open), Some(name)) => format!("{}{}", &line[..=open], &line[name..]),
        _ => line.to_owned(),
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn tenant(text: &str) -> super::TenantConfig {
    let loaded = loaded(text).unwrap_or_else(|faults| panic!("{faults}"));
    let id = TenantId::parse("t").unwrap();
    loaded.config.tenants[&id].clone()
}

#[test]
fn a_tenant_has_its_dsn_from_any_of_its_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (dsn, password) = (dir.path().join("dsn"), dir.path().join("password"));
    std::fs::write(&dsn, "host=h user=u password=geheim\r\n").unwrap();
    std::fs::write(&password, "geheim\n").unwrap();
    let parts = format!("host = \"h\"\nuser = \"u\"\npassword_file = {password:?}");
    let all = [
        "dsn = \"postgres://u:geheim@h/u\"".to_owned(),
        format!("dsn_file = {dsn:?}"),
        "dsn_env = \"THE_DSN\"".to_owned(),
        parts.clone(),
    ];
    let tables = all.map(|keys| tenant(&format!("[tenants.t]\n{keys}\n")));
    for table in &tables {
        assert_eq!(*table, tables[0]);
        assert!(!format!("{table:?}").contains("geheim"));
    }
    let several = tenant(&format!(
        "[tenants.t]\n{}\nport = [1, 2]\nssl_mode = \"require\"\ndatabase = \"d\"\noptions = \"-c a.b=1\"\n",
        parts.replace("\"h\"", "[\"h\", \"g\"]")
    ));
    assert_eq!(several.dsn.to_string(), "host=h,g port=1,2 dbname=d user=u sslmode=require");
    assert_eq!(several.dsn.options.as_deref(), Some("-c a.b=1"));
}

#[test]
fn a_tenant_without_a_dsn_with_two_or_with_a_wrong_one_is_refused_with_its_place() {
    for (keys, expected) in [
        ("", "tenants.t (x.toml:1) must have one of dsn, dsn_file, dsn_env and host"),
        (
            "dsn = \"host=h user=u\"\nhost = \"h\"",
            "tenants.t.host (x.toml:3) must not be given beside dsn",
        ),
        (
            "dsn = \"host=h user=u\"\ndsn_env = \"X\"",
            "tenants.t.dsn_env (x.toml:3) must not be given beside dsn",
        ),
        (
            "dsn = \"host=h user=u password=geheim port=x\"",
            "tenants.t.dsn (x.toml:2) must be a DSN: port: must be an integer from 1 to 65535",
        ),
        ("dsn = 5", "tenants.t.dsn (x.toml:2) must be a string, and is an integer"),
        (
            "dsn_env = \"NO_SUCH\"",
            "tenants.t.dsn_env (x.toml:2) must name a variable that is set, and is \"NO_SUCH\"",
        ),
        ("dsn_file = \"/no/such\"", "tenants.t.dsn_file (x.toml:2) cannot be read: "),
        ("dsn_file = \"/tmp\"", "tenants.t.dsn_file (x.toml:2) must be a regular file"),
        ("dsn_file = \"/dev/zero\"", "tenants.t.dsn_file (x.toml:2) must be a regular file"),
        ("user = \"u\"", "tenants.t (x.toml:1) is wrong: host is required"),
        ("host = \"h\"", "tenants.t (x.toml:1) is wrong: user is required"),
        (
            "host = \"h\"\nuser = \"u\"\nport = 0",
            "tenants.t.port (x.toml:4) must be an integer from 1 to 65535",
        ),
        (
            "host = \"h\"\nuser = \"u\"\nssl_mode = \"on\"",
            "tenants.t.ssl_mode (x.toml:4) must be disable",
        ),
        (
            "host = \"h\"\nuser = \"u\"\nssl_mode = \"verify-full\"",
            "tenants.t.ssl_root_cert (x.toml:1) is required with sslmode=verify-full",
        ),
        (
            "host = \"/tmp\"\nuser = \"u\"",
            "tenants.t.host (x.toml:2) Unix sockets are not supported",
        ),
        ("hots = \"h\"", "tenants.t.hots (x.toml:2) is not known; did you mean host?"),
        (
            "password = \"geheim\"",
            "tenants.t.password (x.toml:2) is not known here; a password is in a file",
        ),
        (
            "dsn = \"host=h user=u\"\nreset = \"maybe\"",
            "tenants.t.reset (x.toml:3) must be clean or close, and is \"maybe\"",
        ),
        (
            "dsn = \"host=h user=u\"\nmax_connections = 0",
            "tenants.t.max_connections (x.toml:3) must be an integer from 1",
        ),
    ] {
        let said = refusal(&format!("[tenants.t]\n{keys}\n"));
        assert!(said.contains(expected), "{keys}: no {expected:?} in {said}");
    }
    let named = refusal("[tenants.\"a b\"]\ndsn = \"host=h user=u\"\n");
    assert!(named.contains("tenants.a b (x.toml:1) is no name: "), "{named}");
    assert!(refusal("[tenants]\nt = 1\n").contains("tenants.t (x.toml:2) must be a table"));
}

#[test]
fn a_tenants_pool_is_that_of_all_overridden_by_its_table_and_its_dsn() {
    let pool = tenant(
        "[defaults]\nidle_timeout = 7\nmax_lifetime = 9\n\
         [tenants.t]\ndsn = \"host=h user=u pool_min_conns=2 pool_reset=close\"\n\
         max_connections = 30\nmax_lifetime = 8\n",
    )
    .pool;
    assert_eq!((pool.min_connections, pool.max_connections), (2, 30));
    assert_eq!((pool.idle_timeout.as_secs(), pool.max_lifetime.as_secs()), (7, 8));
    assert_eq!(pool.reset.as_str(), "close");
    let few = tenant("[tenants.t]\ndsn = \"host=h user=u\"\nmax_connections = 2\n").pool;
    assert_eq!((few.min_connections, few.max_connections), (2, 2));
    let few = tenant("[tenants.t]\ndsn = \"host=h user=u pool_max_conns=3\"\n").pool;
    assert_eq!((few.min_connections, few.max_connections), (3, 3));
    // Those of all follow a small maximum; those of a tenant with a larger one do not.
    let large = "[defaults]\nmax_connections = 2\n[tenants.t]\ndsn = \"host=h user=u\"\nmax_connections = 9\n";
    assert_eq!(tenant(large).pool.min_connections, 5);
}

#[test]
fn a_minimum_above_the_maximum_is_refused_wherever_they_come_from() {
    let dsn = "dsn = \"host=h user=u\"";
    for (text, expected) in [
        (format!("[tenants.t]\n{dsn}\nmin_connections = 3\nmax_connections = 2\n"), "(2 < 3; the maximum comes from "),
        (format!("[defaults]\nmin_connections = 3\n[tenants.t]\n{dsn}\nmax_connections = 2\n"), "(2 < 3; the maximum comes from "),
        (format!("[defaults]\nmax_connections = 2\n[tenants.t]\n{dsn}\nmin_connections = 3\n"), "(2 < 3; the maximum comes from "),
        ("[defaults]\nmin_connections = 3\n[tenants.t]\ndsn = \"host=h user=u pool_max_conns=2\"\n".to_owned(), "(2 < 3; the maximum comes from "),
        ("[tenants.t]\ndsn = \"host=h user=u pool_max_conns=2 pool_min_conns=3\"\n".to_owned(), "(2 < 3; the maximum comes from the DSN, the minimum from the DSN)"),
        ("[tenants.t]\ndsn = \"host=h user=u pool_max_conns=2\"\nmax_connections = 3\n".to_owned(), "must not be given beside pool_max_conns in the DSN"),
        (format!("[service]\nmax_backends = 30\n[tenants.t]\n{dsn}\n[tenants.u]\n{dsn}\n"), "together cannot be greater than max_backends: 40 > 30 (max_backends: "),
    ] {
        let said = loaded(&text).map(drop).expect_err(&text).to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
}

#[test]
fn tenants_are_equal_by_what_they_say_and_not_by_how_it_is_written() {
    let of = |text: &str| loaded(text).unwrap_or_else(|it| panic!("{it}")).config.tenants;
    let one = of("[tenants.t]\ndsn = \"host=h user=u password=a\"\n");
    assert_eq!(one, of("\n\n[tenants.t]\ndsn = \"postgres://u:a@h\"\n"));
    // What only the defaults of all tenants say, no table says.
    let own = of("[tenants.t]\ndsn = \"host=h user=u password=a\"\nmax_connections = 20\n");
    assert_ne!(one, own);
    let defaults =
        "[defaults]\nidle_timeout = 9\n[tenants.t]\ndsn = \"host=h user=u password=a\"\n";
    let id = TenantId::parse("t").unwrap();
    assert!(of(defaults)[&id].says_as(&one[&id]) && !own[&id].says_as(&one[&id]));
    assert_ne!(one, of("[tenants.t]\ndsn = \"host=h user=u password=b\"\n"));
    assert_ne!(one, of("[tenants.t]\ndsn = \"host=h user=u password=a\"\nidle_timeout = 9\n"));
}

#[test]
fn too_many_tenants_are_refused_and_as_many_as_may_be_are_read() {
    let file = |count: usize| -> String {
        let head = "[service]\nmax_backends = 100000\n[defaults]\nmax_connections = 1\n".to_owned();
        let tables = (0..count).map(|n| format!("[tenants.t{n}]\ndsn=\"host=h user=u\"\n"));
        std::iter::once(head).chain(tables).collect()
    };
    let all = loaded(&file(TENANTS_MAX)).unwrap_or_else(|it| panic!("{it}"));
    assert_eq!(all.config.tenants.len(), TENANTS_MAX);
    let said = refusal(&file(TENANTS_MAX + 1));
    assert!(said.contains("must not have more than 5000 tenants"), "{said}");
}

#[test]
fn a_secret_in_a_file_that_others_can_read_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dsn");
    let exposed = |mode: u32, path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let loaded = loaded(&format!("[tenants.t]\ndsn_file = {path:?}\n"));
        loaded.unwrap_or_else(|it| panic!("{it}")).exposed.contains(&path.to_owned())
    };
    std::fs::write(&path, "host=h user=u").unwrap();
    assert!(!exposed(0o600, &path));
    assert!(exposed(0o644, &path));
    assert!(exposed(0o604, &path));
    for lines in ["host=h\nuser=u\n", "host=h user=u\n\n", "host=h\ruser=u"] {
        std::fs::write(&path, lines).unwrap();
        let said = refusal(&format!("[tenants.t]\ndsn_file = {path:?}\n"));
        assert!(said.contains("must have one line"), "{said}");
    }
    std::fs::write(&path, "x".repeat(8195)).unwrap();
    let said = refusal(&format!("[tenants.t]\ndsn_file = {path:?}\n"));
    assert!(said.contains("must not be longer than 8194 bytes"), "{said}");
}

#[test]
fn clients_may_send_dsns_unless_there_are_tenants_or_it_is_said() {
    let of = |text: &str| loaded(text).unwrap_or_else(|it| panic!("{it}")).config.allow_client_dsn;
    let tenant = "[tenants.t]\ndsn = \"host=h user=u\"\n";
    assert!(of(""));
    assert!(!of(tenant));
    assert!(of(&format!("[service]\nallow_client_dsn = true\n{tenant}")));
    assert!(!of("[service]\nallow_client_dsn = false\n"));
}

#[test]
fn the_variables_of_other_pools_make_a_tenant_and_leave_dsns_of_clients_allowed() {
    let variables = [
        ("DB_HOST", "db"),
        ("DB_PORT", "6432"),
        ("DB_NAME", "orders"),
        ("DB_USER", "shop"),
        ("DB_PASSWORD", "geheim"),
        ("DB_SSL_MODE", "require"),
        ("DB_MAX_CONNS", "7"),
    ];
    let all = loaded_with("", &variables).unwrap_or_else(|it| panic!("{it}"));
    let tenant = &all.config.tenants[&TenantId::parse("default").unwrap()];
    let whole = "host=db port=6432 dbname=orders user=shop sslmode=require";
    assert_eq!(tenant.dsn.to_string(), whole);
    assert_eq!(tenant.dsn.password.as_ref().map(|it| it.reveal()), Some("geheim"));
    assert_eq!(tenant.pool.max_connections, 7);
    assert!(all.config.allow_client_dsn);
    let shown = all.effective();
    assert!(shown.contains("tenants.default.port = \"6432\"  # DB_PORT\n"), "{shown}");
    assert!(shown.contains("tenants.default.password = (hidden)  # DB_PASSWORD\n"), "{shown}");
    assert!(!shown.contains("geheim"));
    // A tenant of the file decides for all.
    let beside = loaded_with("[tenants.t]\ndsn = \"host=h user=u\"\n", &variables);
    let beside = beside.unwrap_or_else(|it| panic!("{it}")).config;
    assert_eq!((beside.tenants.len(), beside.allow_client_dsn), (2, false));
    for (text, variables, expected) in [
        ("", &[("DB_HOST", "h")][..], "tenants.default (DB_HOST) is wrong: user is required"),
        (
            "",
            &[("DB_HOST", "h"), ("DB_USER", "u"), ("DB_PORT", "x")],
            "tenants.default.port (DB_PORT) must be an integer",
        ),
        (
            "[tenants.default]\ndsn = \"host=h user=u\"\n",
            &[("DB_HOST", "h")],
            "must not be configured beside DB_HOST",
        ),
    ] {
        let said = loaded_with(text, variables).map(drop).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
    assert!(loaded_with("", &variables[1..]).is_ok_and(|it| it.config.tenants.is_empty()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    for (name, _) in other_pools::VARIABLES {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn who_may_use_a_tenant_is_said_once_callers_have_to_be_known() {
    let tenant = "[tenants.a]\ndsn = \"host=h user=u\"\n";
    let shop = "[identities.shop]\ntokens = [{ sha256 = \"DIGEST\" }]\n";
    let shop = shop.replace("DIGEST", &"0f".repeat(32));
    for (text, said) in [
        (
            format!("{tenant}{shop}"),
            "tenants.a (x.toml:1) must list the identities that may use it, or have anonymous = true",
        ),
        (
            format!("{tenant}[service]\nclient_ca = \"ca.pem\"\n"),
            "tenants.a (x.toml:1) must list the identities that may use it, or have anonymous = true",
        ),
        (
            format!("{tenant}identities = [\"shpo\"]\n{shop}"),
            "tenants.a.identities (x.toml:3) must name identities of the file, and \"shpo\" is none; did you mean shop?",
        ),
        (
            format!("{tenant}identities = [\"sh*\"]\n{shop}"),
            "tenants.a.identities (x.toml:3) must be the names of identities, in which one part between slashes may be *",
        ),
        (
            format!("{tenant}identities = [\"shop\"]\n"),
            "tenants.a.identities (x.toml:3) must name identities of the file, and \"shop\" is none",
        ),
        (
            format!("{tenant}anonymous = \"maybe\"\n"),
            "tenants.a.anonymous (x.toml:3) must be true or false, and is \"maybe\"",
        ),
    ] {
        assert_eq!(refusal(&text), said);
    }
    let may = |more: &str| {
        let text = format!("{tenant}{more}\n{shop}");
        let loaded = loaded(&text).unwrap_or_else(|faults| panic!("{faults}"));
        let access = Arc::clone(&loaded.config.access);
        let shop = Authentication::Known(Arc::clone(access.identity("shop").unwrap()));
        [("a", &shop), ("a", &Authentication::Anonymous), ("b", &shop)]
            .map(|(name, who)| access.may_use(&TenantId::parse(name).unwrap(), who).is_ok())
    };
    assert_eq!(may("identities = [\"shop\"]"), [true, false, false]);
    assert_eq!(may("identities = [\"*\"]"), [true, false, false]);
    assert_eq!(may("anonymous = true"), [true, true, false]);
    let shown = loaded(&format!("{tenant}identities = [\"shop\"]\nanonymous = false\n{shop}"));
    let shown = shown.unwrap_or_else(|faults| panic!("{faults}")).effective();
    for line in ["tenants.a.identities = \"shop\"  # ", "tenants.a.anonymous = false  # "] {
        assert!(shown.contains(line), "{shown}");
    }
}
