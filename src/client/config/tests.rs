//! Presets, and every rule.

#[cfg(feature = "config-file")]
mod file;
#[cfg(feature = "config-file")]
mod refused;
mod variables;

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

#[test]
fn a_host_with_a_scheme_or_a_port_is_told_what_a_host_is() {
    for (host, port) in [("localhost:47101", 443), ("http://localhost", 47101)] {
        let said = ServiceConfig::new(host, port).check().unwrap_err().to_string();
        assert!(said.contains(&format!("host {host:?} must be a name, ")), "{said}");
        assert!(said.contains("without scheme and port: `port` is a setting of its own"), "{said}");
    }
    assert!(ServiceConfig::new("::1", 1).check().is_ok());
}
