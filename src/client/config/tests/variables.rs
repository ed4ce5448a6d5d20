//! Settings in variables of the environment.

use super::*;

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
