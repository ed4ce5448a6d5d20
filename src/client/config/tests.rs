//! Presets, variables, and every rule.

#[cfg(feature = "config-file")]
mod refused;

use super::env::read;
use super::variables::Variables;
use super::*;
use crate::client::outlier::OutlierConfig;
use crate::core::testing::ms;
use crate::settings::{Content, Origin, SettingValue};

fn of(variables: &[(&str, &str)]) -> Result<ServiceConfig, String> {
    read("GRPC_USERS_", &Variables::of(variables)).map_err(|error| error.to_string())
}

#[test]
fn presets_are_as_documented_and_keep_all_rules() {
    let production = ServiceConfig::production("users.example.com");
    assert_eq!(production.addresses, ["users.example.com:443"]);
    assert_eq!((production.pool.size, production.tls.required), (5, true));
    let local = ServiceConfig::local();
    assert_eq!((&*local.addresses[0], local.pool.size), ("localhost:9090", 3));
    let test = ServiceConfig::test("::1", 50051);
    assert_eq!((&*test.addresses[0], test.pool.size), ("[::1]:50051", 1));
    assert_eq!(test.connection.reconnect_backoff_min, ms(500));
    let ours = ServiceConfig::connection_pool("db.example.com");
    assert_eq!((&*ours.addresses[0], ours.pool.size), ("db.example.com:50052", 5));
    assert_eq!(ours.health.service, "connectionpool.ConnectionPoolService");
    for config in [production, local, test, ours] {
        assert!(config.check().is_ok(), "{config:?}");
    }
}

#[test]
fn tls_is_on_for_others_and_off_for_this_machine() {
    let secure = |address: &str, mode| {
        let mut config = ServiceConfig::of(vec![address.to_owned()]);
        config.tls.mode = mode;
        config.check().unwrap().endpoints[0].1
    };
    assert!(secure("example.com:1", TlsMode::Auto) && !secure("localhost:1", TlsMode::Auto));
    assert!(secure("localhost:1", TlsMode::On) && !secure("example.com:1", TlsMode::Off));
    assert!(secure("https://localhost", TlsMode::Off) && !secure("http://a:1", TlsMode::On));
    // Whoever names a file of TLS means TLS.
    let mut config = ServiceConfig::of(vec!["localhost:1".to_owned()]);
    config.tls.ca_file = Some("/no/such/file".to_owned());
    assert!(config.check().unwrap().endpoints[0].1);
    config.tls.mode = TlsMode::Off;
    assert!(!config.check().unwrap().endpoints[0].1);
}

#[test]
fn too_many_addresses_are_counted_and_a_password_in_one_is_not_shown() {
    let many = (0..1002).map(|number| format!("host-{number}:1")).collect();
    let said = ServiceConfig::of(many).check().unwrap_err().to_string();
    assert!(said.contains("addresses") && said.contains("1002"), "{said}");
    let said = ServiceConfig::of(vec!["https://me:secret@a:1".to_owned()]).check();
    let said = said.unwrap_err().to_string();
    assert!(said.contains("...@a:1") && !said.contains("secret"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut config = ServiceConfig::of(vec!["a:1".into(), "a:1".into(), "b".into()]);
    config.pool.size = 0;
    config.pool.min_size = Some(2);
    config.outlier = Some(OutlierConfig {
        failures: 0,
        error_ratio: Some(0.0),
        window: Duration::ZERO,
        min_calls: 0,
        ejection_time: Duration::from_secs(2),
        max_ejection_time: Duration::from_secs(1),
        max_ejected: 1.5,
    });
    config.pool.idle_timeout = Duration::ZERO;
    config.connection.keepalive_time = Some(Duration::ZERO);
    config.call.timeout = Some(Duration::MAX);
    config.tls.cert_file = Some("cert.pem".into());
    let said = config.check().unwrap_err().to_string();
    for part in [
        "invalid config: ",
        "a:1 must not be there twice",
        "address \"b\" must have a port",
        "pool.size must be from 1 to 1000, and is 0",
        "pool.min_size must be from 1 to 1, and is 2",
        "pool.idle_timeout must be greater than 0",
        "outlier.failures must be from 1 to 1000000, and is 0",
        "outlier.error_ratio must be from 0.01 to 1, and is 0",
        "outlier.window must be greater than 0",
        "outlier.min_calls must be from 1 to 1000000, and is 0",
        "outlier.max_ejection_time must not be less than outlier.ejection_time",
        "outlier.max_ejected must be from 0 to 1, and is 1.5",
        "connection.keepalive_time must be greater than 0",
        "call.timeout must be at most 168h, which are 7 days",
        "tls.cert_file must come with tls.key_file",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn production_refuses_plaintext_however_it_is_said() {
    let refused = |change: fn(&mut ServiceConfig)| {
        let mut config = ServiceConfig::production("users.example.com");
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    for said in [
        refused(|config| config.tls.mode = TlsMode::Off),
        refused(|config| config.addresses = vec!["http://users.example.com".into()]),
    ] {
        assert!(said.contains("production refuses plaintext"), "{said}");
    }
    assert!(ServiceConfig::production("").check().is_err());
}

#[test]
fn variables_change_a_preset() {
    let config = of(&[
        ("GRPC_USERS_PROFILE", "production"),
        ("GRPC_USERS_HOST", "users.example.com"),
        ("GRPC_USERS_PORT", "8443"),
        ("GRPC_USERS_CONNECTION_POOL_SIZE", "8"),
        ("GRPC_USERS_CHECKOUT_TIMEOUT_MS", "250"),
        ("GRPC_USERS_CONNECTION_TIMEOUT_SECS", "7"),
        ("GRPC_USERS_CALL_TIMEOUT_MS", "1500"),
        ("GRPC_USERS_CA_FILE", "/etc/ca.pem"),
        ("GRPC_VERBOSITY", "debug"),
        ("GRPC_USERS_POOL_SISE", "9"),
    ]);
    let config = config.unwrap();
    let hint = "GRPC_USERS_POOL_SISE is not known; did you mean GRPC_USERS_POOL_SIZE?";
    assert_eq!(config.advice(), [hint]);
    assert_eq!(config.addresses, ["users.example.com:8443"]);
    assert_eq!((config.pool.size, config.pool.checkout_timeout), (8, ms(250)));
    assert_eq!((config.pool.open_timeout, config.call.timeout), (ms(7000), Some(ms(1500))));
    assert_eq!(config.tls.ca_file.as_deref(), Some("/etc/ca.pem"));
    assert!(config.tls.required);
    let two = of(&[("GRPC_USERS_ADDRESSES", "a:1, b:2")]).unwrap();
    assert_eq!(two.addresses, ["a:1", "b:2"]);
    let local = of(&[("GRPC_USERS_PROFILE", "local"), ("GRPC_USERS_PORT", "7")]).unwrap();
    assert_eq!(local.addresses, ["localhost:7"]);
}

#[test]
fn a_bad_variable_is_named_with_its_rule() {
    for (name, value, rule) in [
        ("PORT", "0", "must be an integer from 1 to 65535, and is \"0\""),
        ("PORT", "abc", "must be an integer from 1 to 65535"),
        ("POOL_SIZE", "0", "must be from 1 to 1000, and is 0"),
        ("POOL_SIZE", "-1", "must be an integer, and is \"-1\""),
        ("CONNECTION_POOL_SIZE", "abc", "must be an integer"),
        ("CONNECTION_TIMEOUT_SECS", "abc", "must be a number of seconds, and is \"abc\""),
        ("CONNECTION_TIMEOUT_SECS", "0", "must be greater than 0"),
        ("CONNECTION_TIMEOUT_SECS", "-1", "must be a number of seconds"),
        ("HEALTH_CHECK_INTERVAL_SECS", "1s", "must be a number of seconds"),
        ("CHECKOUT_TIMEOUT_MS", "", "must be a number of milliseconds"),
        ("TLS", "maybe", "must be auto, on or off"),
        ("PROFILE", "prod", "must be production, local, test or connection_pool"),
        ("ADDRESSES", "a:1", "must not be there together with addresses"),
        ("UPSTREAM_ENDPOINT", "a:1", "must not be there together with endpoint"),
        ("ENABLE_RETRY", "perhaps", "must be true or false"),
    ] {
        let name = format!("GRPC_USERS_{name}");
        let said = of(&[("GRPC_USERS_HOST", "a"), (&name, value)]).unwrap_err();
        let named = said.contains(&name) || said.contains("(GRPC_USERS_HOST)");
        assert!(named && said.contains(rule), "{name}: {said}");
    }
    assert!(of(&[]).unwrap_err().contains("host is required for endpoint configuration"));
    let said = of(&[("GRPC_USERS_HSOT", "a")]).unwrap_err();
    let near = "host is required for endpoint configuration; \
                GRPC_USERS_HSOT is not known; did you mean GRPC_USERS_HOST?";
    assert_eq!(said, format!("invalid config: {near}"));
    let twice = [("GRPC_USERS_POOL_SIZE", "1"), ("GRPC_USERS_CONNECTION_POOL_SIZE", "2")];
    let twice = [&[("GRPC_USERS_HOST", "a")], &twice[..]].concat();
    let said = of(&twice).unwrap_err();
    assert!(
        said.contains("(GRPC_USERS_CONNECTION_POOL_SIZE) must be the same as GRPC_USERS_POOL_SIZE")
    );
    let production = of(&[("GRPC_USERS_PROFILE", "production")]).unwrap_err();
    assert!(production.contains("host is required for production configuration"), "{production}");
}

#[test]
fn switches_turn_parts_off_and_times_may_be_off() {
    let config = of(&[
        ("GRPC_USERS_HOST", "a"),
        ("GRPC_USERS_ENABLE_RETRY", "false"),
        ("GRPC_USERS_ENABLE_CIRCUIT_BREAKER", "off"),
        ("GRPC_USERS_ENABLE_METRICS", "0"),
        ("GRPC_USERS_PING_INTERVAL_SECS", "off"),
        ("GRPC_USERS_HEALTH_CHECK_INTERVAL_SECS", "90"),
        ("GRPC_USERS_TYPE", "database"),
    ])
    .unwrap();
    assert_eq!((config.retry, config.breaker, config.enable_metrics), (None, None, false));
    assert_eq!((config.connection.ping_interval, config.health.interval), (None, ms(90_000)));
    assert_eq!(config.kind, "database");
}

#[test]
fn what_is_rarely_meant_is_said_but_not_of_a_preset() {
    let mut config = ServiceConfig::new("a", 1);
    assert_eq!(config.advice(), Vec::<String>::new());
    config.pool.size = 4;
    config.pool.open_timeout = ms(4000);
    config.health.interval = ms(121_000);
    config.connection.ping_interval = None;
    let said = config.advice().join("\n");
    for part in [
        "pool.size is usually from 5 to 20, and is 4",
        "pool.open_timeout is usually from 5 to 300 s, and is 4 s",
        "health.interval is usually from 30 to 120 s, and is 121 s",
        "GOAWAY",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    config.pool.size = 13;
    assert!(!config.advice_within(Some(26)).join("\n").contains("open files"));
    let few = config.advice_within(Some(24)).join("\n");
    assert!(few.contains("pool.size is 13, and the process may have 24 open files"), "{few}");
    for preset in [ServiceConfig::local(), ServiceConfig::test("a", 1)] {
        assert_eq!(preset.advice(), Vec::<String>::new());
    }
}

#[test]
fn every_setting_reads_what_it_shows_and_refuses_nonsense() {
    let filled = {
        let mut config = ServiceConfig::new("a", 1);
        let text = || Some("word".to_owned());
        config.tls.ca_file = text();
        config.tls.cert_file = text();
        config.tls.key_file = text();
        config.tls.server_name = text();
        config.health.method = text();
        config.connection.user_agent = text();
        config.hedge = Some(Hedge::default());
        config.pool.min_size = Some(2);
        config
    };
    for key in keys::KEYS {
        let shown = (key.get)(&filled);
        let value = |text: &str| SettingValue::text_of(key.name, text, Origin::Default);
        let mut config = ServiceConfig::new("a", 1);
        let read = (key.set)(&mut config, &value(shown.trim_matches('"')));
        assert!(read.is_ok(), "{} {shown}: {read:?}", key.name);
        assert_eq!((key.get)(&config), shown, "{}", key.name);
        let list = SettingValue { content: Content::List(vec![value("?")]), ..value("") };
        assert!((key.set)(&mut config, &list).is_err(), "{}", key.name);
        assert!(!(key.kind)(&config).is_empty());
        let bare = SettingValue { content: Content::Integer(-1), ..value("") };
        assert!((key.set)(&mut config, &bare).is_err(), "{}: a bare -1", key.name);
    }
}

#[cfg(feature = "config-file")]
mod file {
    use super::*;
    use crate::settings::file::parse;

    const FILE: &str = r#"
[defaults]
enable_metrics = false
[defaults.pool]
size = 7
checkout_timeout = "2s"

[services.users]
profile = "production"
host = "users.example.com"
[services.users.pool]
size = 8
[services.users.retry]
max_attempts = 5
codes = ["UNAVAILABLE", "ABORTED"]
[services.users.connection]
ping_interval = "off"

[services.users.methods."/shop.Users/Get*"]
idempotent = true
timeout = "500ms"
hedge = { delay = "50ms" }
retry = { max_attempts = 2, budget = { most = 5 } }

[services.pay]
addresses = ["a:1", "b:2"]
"#;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let root = parse("clients.toml", text).map_err(|error| error.to_string())?;
        Config::of(root, &Variables::of(variables)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_has_services_and_variables_win_over_it() {
        let config = load(FILE, &[("GRPC_USERS_POOL_SIZE", "9"), ("GRPC_POOL_SIZE", "3")]).unwrap();
        let users = &config.services["users"];
        assert_eq!(users.addresses, ["users.example.com:443"]);
        assert_eq!((users.pool.size, users.pool.checkout_timeout), (9, ms(2000)));
        assert!(users.tls.required && !users.enable_metrics);
        let retry = users.retry.as_ref().unwrap();
        assert_eq!((retry.max_attempts, retry.codes.len()), (5, 2));
        assert_eq!(users.connection.ping_interval, None);
        let get = users.methods.find("/shop.Users/GetAll").unwrap();
        assert_eq!((get.idempotent, get.timeout), (true, Some(ms(500))));
        assert_eq!((get.hedge.unwrap().delay, get.hedge.unwrap().max_attempts), (ms(50), 2));
        assert_eq!(get.retry.as_ref().unwrap().max_attempts, 2);
        assert!(get.breaker.is_none() && users.methods.find("/shop.Users/Put").is_none());
        let pay = &config.services["pay"];
        assert_eq!((pay.addresses.len(), pay.pool.size), (2, 7));
        let one = "[services.users]\nhost = \"a\"\nport = 5";
        let alone = load(one, &[("GRPC_POOL_SIZE", "3"), ("GRPC_USERS_PORT", "6")]).unwrap();
        let users = &alone.services["users"];
        assert_eq!((users.pool.size, &*users.addresses[0]), (3, "a:6"));
        let near = [("GRPC_POOL_SISE", "3"), ("GRPC_USERS_PROT", "6"), ("GRPC_PAY_PROT", "6")];
        let said = load(one, &near).unwrap().services["users"].advice().join("\n");
        assert!(said.contains("did you mean GRPC_POOL_SIZE?"), "{said}");
        assert!(said.contains("did you mean GRPC_USERS_PORT?") && !said.contains("PAY"), "{said}");
        let said = load("[services.users]\nport = 5", &[("GRPC_USERS_HSOT", "a")]).unwrap_err();
        assert!(said.contains("; GRPC_USERS_HSOT is not known; did you mean"), "{said}");
        let several = load(FILE, &near).unwrap().services["users"].advice().join("\n");
        assert!(!several.contains("SISE") && several.contains("GRPC_USERS_PORT?"), "{several}");
        let moved = load(one, &[("GRPC_ADDRESSES", "b:1,c:2")]).unwrap();
        assert_eq!(moved.services["users"].addresses, ["b:1", "c:2"]);
    }

    #[test]
    fn the_effective_settings_name_their_sources() {
        let mut config = load(FILE, &[("GRPC_USERS_CHECKOUT_TIMEOUT_MS", "250")]).unwrap();
        config.services.get_mut("users").unwrap().pool.max_waiters = 5;
        let said = config.effective();
        for line in [
            "users.addresses = users.example.com:443 (clients.toml:10)",
            "users.pool.size = 8 (clients.toml:12)",
            "users.pool.checkout_timeout = 250ms (GRPC_USERS_CHECKOUT_TIMEOUT_MS)",
            "users.pool.max_waiters = 5 (code)",
            "users.tls.mode = on (profile production)",
            "users.pool.open_timeout = 30s (default)",
            "users.retry.codes = UNAVAILABLE,ABORTED (clients.toml:15)",
            "users.connection.ping_interval = off (clients.toml:17)",
            "pay.pool.size = 7 (clients.toml:5)",
            "pay.addresses = a:1,b:2 (clients.toml:26)",
            "users.methods.\"/shop.Users/Get*\".idempotent = true (clients.toml:20)",
            "users.methods.\"/shop.Users/Get*\".timeout = 500ms (clients.toml:21)",
            "users.methods.\"/shop.Users/Get*\".hedge.delay = 50ms (clients.toml:22)",
            "users.methods.\"/shop.Users/Get*\".hedge.max_attempts = 2 (default)",
            "users.methods.\"/shop.Users/Get*\".retry.budget.most = 5 (clients.toml:23)",
        ] {
            assert!(said.contains(&format!("{line}\n")), "{line}\n{said}");
        }
        let once = MethodPolicy::new().timeout(ms(700)).attempt_timeout(ms(70));
        config.services.get_mut("users").unwrap().methods.set("/shop.Users/Get*", once);
        let said = config.effective();
        for (key, value) in [("timeout", "700ms"), ("attempt_timeout", "70ms")] {
            let line = format!("users.methods.\"/shop.Users/Get*\".{key} = {value} (code)\n");
            assert!(said.contains(&line), "{line}\n{said}");
        }
        assert!(!said.contains("Get*\".retry"), "{said}");
    }

    #[test]
    fn everything_that_is_wrong_in_a_file_names_key_and_line() {
        for (text, parts) in [
            ("[services.users]\nhots = \"a\"", &["services.users.hots (f:2) is not known; did you mean host?"][..]),
            ("services = 1", &["services (f:1) must be a table"]),
            ("[service.users]", &["service (f:1) is not known; did you mean services?"]),
            ("[services]\nusers = 1", &["services.users (f:2) must be a table"]),
            (
                "[services.users]\nhost = \"a\"\n[services.users.pool]\nsize = 0\nsise = 1\ncheckout_timeout = 5",
                &[
                    "services.users.pool.sise (f:5) is not known; did you mean size?",
                    "services.users.pool.checkout_timeout (f:6) must be a time with a unit",
                ],
            ),
            ("[services.users]\nhost = \"a\"\npool = { size = 0 }", &["pool.size (f:3) must be from 1 to 1000, and is 0"]),
            ("[services.users]\nhost = \"a\"\npool = { min_size = 11 }", &["pool.min_size (f:3) must be from 1 to 10, and is 11"]),
            ("[services.users]\nhost = \"a\"\npool = { idle_timeout = 60 }", &["pool.idle_timeout (f:3) must be a time with a unit"]),
            ("[services.users]\nhost = \"a\"\nconnection = { dns_refresh = 60 }", &["connection.dns_refresh (f:3) must be \"off\", or a time with a unit"]),
            ("[services.users]\nhost = \"a\"\noutlier = { failures = 0 }", &["outlier.failures (f:3) must be from 1 to 1000000, and is 0"]),
            ("[services.users]\nhost = \"a\"\noutlier = { error_ratio = \"half\" }", &["outlier.error_ratio (f:3) must be a number"]),
            ("[services.users]\nhost = \"a\"\npool = 1", &["services.users.pool (f:3) must be a table"]),
            ("[services.users]\nhost = \"a\"\naddresses = [\"b:1\"]", &["must not be there together with"]),
            ("[services.users]\nport = 7", &["host is required for endpoint configuration"]),
            ("[services.users]\nhost = 7", &["services.users.host (f:2) must be a string"]),
            ("[services.users]\nhost = \"a\"\nport = 70000", &["services.users.port (f:3) must be an integer from 1 to 65535"]),
            ("[services.users]\nhost = \"a\"\ntls = { mode = \"of\" }", &["tls.mode (f:3) must be auto, on or off, and is \"of\""]),
            ("[services.users]\nhost = \"a\"\nretry = { codes = [\"DOWN\"] }", &["must be codes such as UNAVAILABLE"]),
            ("[services.users]\nprofile = \"production\"\naddresses = [\"http://a\"]", &["address http://a (f:3) must be reached with TLS: production refuses plaintext"]),
            (
                "[services.users]\nhost = \"a\"\n[services.users.methods.\"/a/B\"]\nidempotnt = true\ntimeout = 5\nretry = { tries = 1 }",
                &[
                    "idempotnt (f:4) is not known; did you mean idempotent?",
                    "timeout (f:5) must be a time with a unit",
                    "retry.tries (f:6) is not known",
                ],
            ),
            ("[services.users]\nhost = \"a\"\nmethods = { B = { idempotent = true } }", &["services.users.methods.\"B\" (f:3) must be /package.Service/Method"]),
            (
                "[services.users]\nhost = \"a\"\n[services.users.methods.\"/a/*\"]\ntimeout = \"0s\"\n\
                 retry = { max_attempts = 11 }\nbreaker = { failures = 0 }\nhedge = { delay = \"50ms\" }",
                &[
                    "services.users.methods.\"/a/*\".timeout (f:4) must be greater than 0",
                    "services.users.methods.\"/a/*\".retry.max_attempts (f:5) must be from 1 to 10, and is 11",
                    "services.users.methods.\"/a/*\".breaker.failures (f:6) must be",
                    "services.users.methods.\"/a/*\".hedge (f:7) must come with idempotent",
                ],
            ),
            (
                "[defaults.methods.\"/a/B\"]\ntimeout = \"8d\"\nretry = { jitter = 2.0 }\n[services.users]\nhost = \"a\"",
                &[
                    "timeout (f:2) must be a time with a unit (ms, s, m or h), such as \"25s\" or \"250ms\", and is \"8d\"",
                    "services.users.methods.\"/a/B\".retry.jitter (f:3) must be from 0 to 1, and is 2",
                ],
            ),
            ("[services.users]\nhost = \"a\"\ncall = { timeout = \"169h\" }", &["call.timeout (f:3) must be at most 168h, which are 7 days"]),
            ("[services.users", &["f:1: "]),
        ] {
            let said = Config::parse("f", text).map(|_| ()).unwrap_err().to_string();
            for part in parts {
                assert!(said.contains(part), "{text}\n{part}\n{said}");
            }
        }
        assert!(Config::from_file("/nowhere.toml")
            .unwrap_err()
            .to_string()
            .contains("/nowhere.toml"));
    }
}

#[test]
fn a_host_with_a_scheme_or_a_port_is_told_what_a_host_is() {
    for (host, port) in [("localhost:47101", 443), ("http://localhost", 47101)] {
        let said = ServiceConfig::new(host, port).check().unwrap_err().to_string();
        assert!(said.contains(&format!("host {host:?} must be a name, ")), "{said}");
        assert!(said.contains("without scheme and port: `port` is a setting of its own"), "{said}");
    }
    assert!(ServiceConfig::new("::1", 1).check().is_ok());
}

#[test]
#[cfg(feature = "config-file")]
fn values_of_a_wrong_kind_hide_nothing_and_each_fault_names_its_service() {
    let text = "[services.a]\nhost = \"localhost:1\"\npool = { size = 0, balance = \"x\" }\n\
                retry = { max_attempts = 11 }\n[services.b]\npool = { size = 0 }";
    let said = Config::parse("c.toml", text).unwrap_err();
    let keys: Vec<_> = said.faults.iter().map(|fault| fault.key.as_str()).collect();
    for key in [
        "services.a.pool.balance (c.toml:3)",
        "services.a.pool.size (c.toml:3)",
        "services.a.retry.max_attempts (c.toml:4)",
        "services.b.host",
        "services.b.pool.size (c.toml:6)",
    ] {
        assert!(keys.contains(&key), "{key}: {keys:?}");
    }
}
