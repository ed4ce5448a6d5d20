//! Presets, variables, and every rule.

use super::env::read;
use super::*;
use crate::core::testing::ms;

fn of(variables: &[(&str, &str)]) -> Result<ServiceConfig, String> {
    let get = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
    };
    read("GRPC_USERS_", get).map_err(|error| error.to_string())
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
    for config in [production, local, test] {
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
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut config = ServiceConfig::of(vec!["a:1".into(), "a:1".into(), "b".into()]);
    config.pool.size = 0;
    config.connection.keepalive_time = Some(Duration::ZERO);
    config.call.timeout = Some(Duration::MAX);
    config.tls.cert_file = Some("cert.pem".into());
    let said = config.check().unwrap_err().to_string();
    for part in [
        "invalid config: ",
        "pool.size must be at least 3, one for each address, and is 0",
        "a:1 must not be there twice",
        "address \"b\" must have a port",
        "pool.size must be from 1 to 1000, and is 0",
        "connection.keepalive_time must be greater than 0",
        "call.timeout must be at most 604800 s",
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
    ]);
    let config = config.unwrap();
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
        ("PORT", "0", "must be from 1 to 65535"),
        ("PORT", "abc", "must be from 1 to 65535"),
        ("POOL_SIZE", "0", "must be a number above 0"),
        ("POOL_SIZE", "-1", "must be a number above 0"),
        ("CONNECTION_TIMEOUT_SECS", "abc", "must be a number above 0"),
        ("TLS", "maybe", "must be auto, on or off"),
        ("PROFILE", "prod", "must be production, local or test"),
        ("ADDRESSES", "a:1", "must not be there together with ADDRESSES"),
        ("UPSTREAM_ENDPOINT", "a:1", "together with UPSTREAM_ENDPOINT"),
    ] {
        let name = format!("GRPC_USERS_{name}");
        let said = of(&[("GRPC_USERS_HOST", "a"), (&name, value)]).unwrap_err();
        assert!(said.contains("GRPC_USERS_") && said.contains(rule), "{said}");
    }
    assert!(of(&[]).unwrap_err().contains("GRPC_USERS_HOST is required"));
    let twice = [("GRPC_USERS_POOL_SIZE", "1"), ("GRPC_USERS_CONNECTION_POOL_SIZE", "2")];
    let twice = [&[("GRPC_USERS_HOST", "a")], &twice[..]].concat();
    assert!(of(&twice).unwrap_err().contains("is 1, and GRPC_USERS_CONNECTION_POOL_SIZE is 2"));
}
