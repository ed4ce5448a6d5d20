//! Services in a TOML file.

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
    assert!(Config::from_file("/nowhere.toml").unwrap_err().to_string().contains("/nowhere.toml"));
}

#[test]
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
