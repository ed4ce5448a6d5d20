mod at_once;
mod every_key;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::config::raw::SettingSources;
use crate::config::GrpcTls;

/// The settings of a file with this text, of flags and of variables.
fn loaded(
    text: &str,
    flags: &[(&'static str, &str)],
    variables: &[(&str, &str)],
) -> Result<Loaded, String> {
    let dir = std::env::temp_dir();
    let name = format!("{}-{:p}.toml", std::process::id(), text);
    let path = dir.join(format!("{name}-{:?}", std::thread::current().id()));
    std::fs::write(&path, text).unwrap();
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    let raw = RawSettings::gather(&SettingSources {
        flags: flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(),
        profile: None,
        file: Some(path.clone()),
        variable: &|name| variables.get(name).map(|text| (*text).into()),
    });
    let loaded = raw.and_then(|raw| load(&raw));
    std::fs::remove_file(&path).unwrap();
    loaded.map_err(|faults| faults.to_string().replace(&path.display().to_string(), "x.toml"))
}

fn refusal(text: &str) -> String {
    loaded(text, &[], &[]).map(drop).expect_err("it is wrong")
}

fn effective(loaded: &Loaded, name: &str) -> String {
    let key = keys::find(name).unwrap();
    format!("{:?} {}", key.show(&Draft::of(&loaded.config)), loaded.origin(key))
}

#[test]
fn the_strongest_source_wins_and_each_value_knows_its_own() {
    let file = "profile = \"local\"\n[service]\nport = 1\n[defaults]\nmax_connections = 7\n";
    let all = loaded(
        file,
        &[("port", "3")],
        &[("CPM_PORT", "2"), ("CPM_MAX_LIFETIME", "1h"), ("DB_MAX_CONN_LIFETIME", "2h")],
    )
    .unwrap();
    assert_eq!(effective(&all, "port"), "Some(\"3\") --port");
    assert_eq!(effective(&all, "max_lifetime"), "Some(\"3600\") CPM_MAX_LIFETIME");
    assert!(effective(&all, "max_connections").contains("\"7\""));
    assert_eq!(effective(&all, "ping_interval"), "Some(\"0\") profile local");
    assert_eq!(effective(&all, "idle_timeout"), "Some(\"300\") default");
    let others = loaded(file, &[], &[("CPM_PORT", "2"), ("DB_MAX_CONNS", "8")]).unwrap();
    assert_eq!(effective(&others, "port"), "Some(\"2\") CPM_PORT");
    assert_eq!(effective(&others, "max_connections"), "Some(\"8\") DB_MAX_CONNS");
    let filed = loaded(file, &[], &[]).unwrap();
    assert!(effective(&filed, "port").ends_with(":3"));
}

#[test]
fn the_variables_of_other_pools_are_read_and_those_of_grpc_itself_are_not() {
    let all = loaded(
        "",
        &[],
        &[
            ("GRPC_CONNECTION_POOL_SIZE", "9"),
            ("GRPC_CONNECTION_TIMEOUT_SECS", "30"),
            ("GRPC_HEALTH_CHECK_INTERVAL_SECS", "11"),
            ("DB_MIN_CONNS", "2"),
            ("DB_MAX_CONN_IDLE_TIME", "5m"),
            ("GRPC_VERBOSITY", "nonsense"),
        ],
    )
    .unwrap();
    let pool = &all.config.pool;
    assert_eq!((pool.max_connections, pool.min_connections), (9, 2));
    assert_eq!(pool.connect_timeout, Duration::from_secs(30));
    assert_eq!(pool.health_interval, Duration::from_secs(11));
    assert_eq!(pool.idle_timeout, Duration::from_secs(300));
}

#[test]
fn what_is_unknown_or_wrong_is_told_with_its_place_and_what_is_allowed() {
    let said = refusal("[service]\nprot = 1\n\n[defaults]\nmax_connections = 0\n[x]\n");
    for part in
        ["service.prot (x.toml:2) is not known; did you mean port?", "x (x.toml:6) is not known"]
    {
        assert!(said.contains(part), "{said}");
    }
    let said = refusal("[service]\nport = 70000\n\n[defaults]\nmax_connections = 0\n");
    for part in [
        "service.port (x.toml:2) must be an integer from 0 to 65535, and is 70000",
        "defaults.max_connections (x.toml:5) must be an integer from 1",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let said = loaded("", &[("port", "x")], &[("CPM_RESET", "maybe")]).map(drop).unwrap_err();
    assert!(said.contains("port (--port) must be an integer"), "{said}");
    assert!(said.contains("reset (CPM_RESET) must be clean or close"), "{said}");
    assert!(refusal("profile = \"fast\"").contains("must be local, test or production"));
}

#[test]
fn all_settings_that_do_not_go_together_are_told_each_with_its_place() {
    let text = "[service]\nlease_ttl = 20\nmax_lease_ttl = 10\nhttp_tls = true\ninsecure = true\n\
                http_auth = true\n[defaults]\nmin_connections = 3\n\
                [identities.shop]\ncertificates = [\"shop\"]\n";
    let flags = [("max_connections", "2"), ("max_backends", "1"), ("listen_pause", "6")];
    let said = loaded(text, &flags, &[]).map(drop).expect_err("nothing goes together");
    let told: Vec<&str> = said.lines().collect();
    let expected = [
        "min connections cannot be greater than max connections: 3 > 2 \
         (min_connections: x.toml:8, max_connections: --max-connections)",
        "lease_ttl cannot be greater than max_lease_ttl: 20 s > 10 s \
         (lease_ttl: x.toml:2, max_lease_ttl: x.toml:3)",
        "listen_pause cannot be greater than listen_pause_max: 6 s > 5 s \
         (listen_pause: --listen-pause, listen_pause_max: default)",
        "identities.shop (x.toml:9) has certificates, so client_ca must name the authority that \
         signs them (client_ca: default)",
        "http_tls needs a certificate, and insecure uses none \
         (http_tls: x.toml:4, insecure: x.toml:5)",
        "http_auth needs an identity with role = \"observer\" or \"admin\" in the file; without \
         one nobody could look (http_auth: x.toml:6)",
        "max connections of a tenant cannot be greater than those of all tenants: 2 > 1 \
         (max_connections: --max-connections, max_backends: --max-backends)",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_key_in_a_wrong_table_or_there_twice_is_told_with_where_it_belongs() {
    for (text, told) in [
        (
            "[service]\nmax_connections = 3\n",
            "service.max_connections (x.toml:2) is not known here; it belongs in [defaults]",
        ),
        ("port = 3\n", "port (x.toml:1) is not known here; it belongs in [service]"),
        (
            "[defaults]\nssl_mode = \"require\"\n",
            "defaults.ssl_mode (x.toml:2) is not known here; it belongs in [tenants.NAME]",
        ),
        (
            "[service]\nrole = \"admin\"\n",
            "service.role (x.toml:2) is not known here; it belongs in [identities.NAME]",
        ),
        (
            "[tenants.t]\nhost = \"h\"\nuser = \"u\"\npassword = \"geheim\"\n",
            "tenants.t.password (x.toml:4) is not known here; a password is in a file that \
             password_file names, or in a DSN",
        ),
        (
            "[service]\nport = 3\nlisten = \"::\"\nport = 4\n",
            "service.port (x.toml:4) must not be there twice",
        ),
        (
            "[tenants.\"a/b\"]\ndsn_env = \"A\"\n[tenants.c]\n[tenants.\"a/b\"] # again\n",
            "tenants.a/b (x.toml:4) must not be there twice",
        ),
        (
            "[tenants.c]\nhost = [\n[\"a\"]\n]\nuser = 'c'\nuser = 'd'\n",
            "tenants.c.user (x.toml:6) must not be there twice",
        ),
        ("profile = 'test'\nprofile = 'test'\n", "profile (x.toml:2) must not be there twice"),
        (
            "[tenants.t]\nhost = \"h\"\nuser = \"u\"\ndbname = \"d\"\n",
            "tenants.t.dbname (x.toml:4) is not known here; it is a key of DSNs, and database in \
             [tenants.NAME]",
        ),
        (
            "[tenants.t]\nhost = \"h\"\nuser = \"u\"\npool_max_conns = 3\n",
            "tenants.t.pool_max_conns (x.toml:4) is not known here; it is a key of DSNs, and \
             max_connections in [tenants.NAME]",
        ),
        (
            "[service]\nmemory_limit = \"512MB\"\n",
            "service.memory_limit (x.toml:2) must be a number of bytes, or with KiB, MiB or GiB, \
             such as 512MiB, from 4MiB, and is \"512MB\"",
        ),
        (
            "[service]\nallowed_hosts = \"10.0.0.0/8,db\"\n",
            "service.allowed_hosts (x.toml:2) must have each entry by itself: the list is an array \
             in the file, and is \"10.0.0.0/8,db\"",
        ),
        (
            "[service]\nallowed_hosts = [\"10.0.0.0/33\", \"db\", \"10.0.0.1/8\"]\n",
            "service.allowed_hosts (x.toml:2) must have networks of 0 to 32 bits, or to 128 for \
             IPv6, and is \"10.0.0.0/33\"; must have networks whose bits behind the prefix are 0, \
             and is \"10.0.0.1/8\"",
        ),
        ("[service]\n[defaults]\n[service]\n", "service (x.toml:3) must not be there twice"),
    ] {
        let said = refusal(text);
        assert!(said.starts_with(told), "{text}: {said}");
        assert!(!said.contains("geheim"), "{said}");
    }
}

#[test]
fn a_relative_file_that_is_not_there_is_told_with_the_path_that_was_tried() {
    let said =
        refusal("[tenants.t]\nhost = \"h\"\nuser = \"u\"\npassword_file = \"no/such.file\"\n");
    let tried = std::path::absolute("no/such.file").unwrap();
    let end = format!("({})", tried.display());
    assert!(
        said.contains("password_file (x.toml:4) cannot be read: ") && said.ends_with(&end),
        "{said}"
    );
    // What may be a secret in the wrong place is not shown.
    for secret in ["geheim", "host=h password=geheim", "postgres://u:geheim@h/d"] {
        let said = refusal(&format!("[tenants.t]\ndsn_file = {secret:?}\n"));
        assert!(said.contains("cannot be read") && !said.contains("geheim"), "{said}");
    }
}

#[test]
fn identities_are_shown_by_what_proves_them_and_without_a_digest() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = format!(
        "[service]\ninsecure = true\n[identities.ops]\nrole = \"admin\"\n\
         tokens = [{{ sha256 = \"{digest}\" }}]\n"
    );
    let found = loaded(&text, &[], &[]).unwrap();
    let shown = found.effective();
    let line = "identities.ops = (tokens: 1, role: admin)  # ";
    assert!(shown.lines().any(|shown| shown.starts_with(line) && shown.ends_with(":3")), "{shown}");
    assert!(!shown.contains(&digest[..8]), "{shown}");
    let warned = found.warnings(0);
    assert!(warned.len() == 1 && warned[0].starts_with("insecure ("), "{warned:?}");
    let secure = loaded(&text.replace("true", "false"), &[], &[]).unwrap();
    assert!(secure.warnings(0).is_empty());
    let text = text.replace("\" }]", "\", expires = 2027-01-31T00:00:00Z }]");
    let expiring = loaded(&text.replace("true", "false"), &[], &[]).unwrap();
    assert!(expiring.warnings(1_801_353_599).is_empty());
    let warned = expiring.warnings(1_801_353_600);
    let told = ":3) has a token that has expired";
    assert!(warned.len() == 1 && warned[0].ends_with(told), "{warned:?}");
}

#[test]
fn what_does_nothing_or_shows_tokens_is_warned_of_with_its_place() {
    let text = "[service]\nclient_certificates = \"required\"\nrequest_burst = 5\n\
                http_auth = true\nhttp = \":8082\"\n\
                [identities.ops]\nrole = \"admin\"\ntokens = [{ sha256 = \"DIGEST\" }]\n\
                [tenants.t]\ndsn = \"host=h user=u\"\nidentities = [\"ops\", \"team/*\"]\n";
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let text = text.replace("DIGEST", digest);
    let warned = |text: &str| {
        let found = loaded(text, &[], &[]).unwrap();
        let path = found.origin_of("request_burst").to_string();
        let path = path.rsplit_once(':').unwrap().0;
        found.warnings(0).join("\n").replace(path, "x.toml")
    };
    assert_eq!(
        warned(&text).lines().collect::<Vec<_>>(),
        [
            "http_auth (x.toml:4) takes tokens that everybody on the network path can read, at \
             [::]:8082: it needs http_tls, or an address of this machine alone",
            "client_certificates (x.toml:2) does nothing without client_ca",
            "request_burst (x.toml:3) does nothing without requests_per_second",
            "tenants.t.identities (x.toml:11) has \"team/*\", which is no identity's name",
        ]
    );
    let meant = text
        .replace("\":8082\"", "\"127.0.0.1:8082\"")
        .replace("request_burst", "requests_per_second = 5\nrequest_burst")
        .replace("client_certificates", "client_ca = \"ca.pem\"\nclient_certificates")
        .replace("team/*", "*");
    assert_eq!(warned(&meant), "");
    let star = meant.replace("role = ", "certificates = [\"*\", \"*.example.com\"]\nrole = ");
    assert_eq!(
        warned(&star),
        "identities.ops (x.toml:8) has the certificate \"*\", and * stands for nothing there: \
         names of certificates are compared exactly"
    );
}

#[test]
fn production_refuses_what_lets_others_read_passwords() {
    for (name, line) in [("insecure", 3), ("core_dumps", 3)] {
        let said = refusal(&format!(
            "profile = \"production\"\n[service]\n{name} = true\nclient_ca = \"ca.pem\"\n"
        ));
        let rule = format!("{name} (x.toml:{line}) is refused by the production profile");
        assert!(said.contains(&rule), "{said}");
    }
    let said = refusal("profile = \"production\"\n");
    assert!(said.starts_with("client_ca must be given in the production profile"), "{said}");
    for line in ["client_ca = \"ca.pem\"", "client_certificates = \"optional\""] {
        let text = format!("profile = \"production\"\n[service]\n{line}\n");
        let good = loaded(&text, &[], &[]).unwrap();
        assert!(matches!(good.config.tls, GrpcTls::Files { .. }));
    }
}

#[test]
fn certificates_of_clients_need_an_authority_and_that_needs_tls() {
    let said = refusal("[service]\nclient_ca = \"ca.pem\"\ninsecure = true\n");
    assert!(said.contains("client_ca needs TLS"), "{said}");
    let identity = "[identities.shop]\ncertificates = [\"shop\"]\n";
    let said = refusal(identity);
    assert!(said.contains("identities.shop (x.toml:1) has certificates, so client_ca"), "{said}");
    let good = format!("[service]\nclient_ca = \"ca.pem\"\n{identity}");
    assert_eq!(loaded(&good, &[], &[]).unwrap().config.access.names().count(), 1);
}
