//! The values of the single keys, and which keys there are.

use super::{dsn, error};
use std::time::Duration;

#[test]
fn zero_means_the_default_and_below_there_is_nothing() {
    let zero = dsn("host=h user=u connect_timeout=0 keepalives_idle=0 keepalives_interval=0 \
         keepalives_retries=0 tcp_user_timeout=0");
    assert_eq!((zero.connect_timeout, zero.tcp_user_timeout), (None, None));
    assert_eq!((zero.keepalives_idle, zero.keepalives_interval), (None, None));
    assert_eq!(zero.keepalives_retries, None);
    for key in ["connect_timeout", "keepalives_idle", "keepalives_count", "tcp_user_timeout"] {
        let below = error(&format!("host=h user=u {key}=-5"));
        assert_eq!(below, format!("{key}: must be 0 or more"));
    }
    assert_eq!(error("host=h user=u connect_timeout=5s"), "connect_timeout: must be an integer");
    assert_eq!(error("host=h user=u keepalives="), "keepalives: must be an integer");
    for (key, most) in
        [("keepalives_idle", 32767), ("keepalives_interval", 32767), ("keepalives_count", 127)]
    {
        dsn(&format!("host=h user=u {key}={most}"));
        let rule = format!("{key}: must be at most {most}");
        assert_eq!(error(&format!("host=h user=u {key}={}", most + 1)), rule);
    }
    let huge = "host=h user=u tcp_user_timeout=2147483648";
    assert_eq!(error(huge), "tcp_user_timeout: must be an integer");
}

#[test]
fn a_wrong_word_says_which_there_are() {
    let modes = "disable, prefer, require, verify-ca or verify-full";
    let rule = format!("sslmode: allow is not supported; use {modes}");
    assert_eq!(error("host=h user=u sslmode=allow"), rule);
    assert_eq!(error("host=h user=u sslmode=on"), format!("sslmode: must be {modes}"));
    let rule = "channel_binding: must be disable, prefer or require";
    assert_eq!(error("host=h user=u channel_binding="), rule);
    let rule = "target_session_attrs: must be any, read-write, read-only, primary, standby or \
                prefer-standby";
    assert_eq!(error("host=h user=u target_session_attrs=master"), rule);
    let rule = "sslnegotiation: must be postgres or direct";
    assert_eq!(error("host=h user=u sslnegotiation=x"), rule);
    let rule = "gssencmode: must be disable or prefer; GSSAPI is not supported";
    assert_eq!(error("host=h user=u gssencmode=require"), rule);
}

#[test]
fn methods_of_authentication_are_listed_or_ruled_out() {
    use super::super::modes::Keyword;
    use super::super::AuthMethod::{self, Md5, None, Password, ScramSha256};
    let allowed = |list: &str| -> Vec<AuthMethod> {
        let auth = dsn(&format!("host=h user=u require_auth={list}")).require_auth;
        let auth = auth.expect("it is given");
        AuthMethod::ALL.iter().copied().filter(|method| auth.allows(*method)).collect()
    };
    assert_eq!(allowed("scram-sha-256"), [ScramSha256]);
    assert_eq!(allowed("scram-sha-256,md5"), [Md5, ScramSha256]);
    assert_eq!(allowed("none"), [None]);
    assert_eq!(allowed("none,password"), [Password, None]);
    assert_eq!(allowed("!none").len(), AuthMethod::ALL.len() - 1);
    assert_eq!(allowed("!password,!md5,!gss,!sspi,!oauth"), [ScramSha256, None]);
    assert_eq!(dsn("host=h user=u require_auth=''").require_auth, Option::None);
    let refused = |list: &str| error(&format!("host=h user=u require_auth='{list}'"));
    let words = "password, md5, gss, sspi, scram-sha-256, oauth or none";
    for list in ["scram", "md5, none", "md5,", ",md5", "!", "!!md5", " md5", "MD5", "cert"] {
        let rule = "require_auth: must be a list with commas, and no blanks, of";
        assert_eq!(refused(list), format!("{rule} {words}"), "{list}");
    }
    for list in ["!md5,none", "md5,!none"] {
        let rule = "require_auth: must have a ! before each of its methods, or before none";
        assert_eq!(refused(list), rule, "{list}");
    }
    for list in ["md5,none,md5", "!md5,!md5"] {
        assert_eq!(refused(list), "require_auth: must name md5 only once", "{list}");
    }
}

#[test]
fn only_utf8_is_an_encoding() {
    for encoding in ["UTF8", "utf8", "UTF-8", "auto", "''"] {
        dsn(&format!("host=h user=u client_encoding={encoding}"));
    }
    let text = "host=h user=u client_encoding=latin1";
    assert_eq!(error(text), "client_encoding: must be UTF8 or auto");
}

#[test]
fn known_and_unknown_keys_are_told_apart() {
    assert_eq!(error("host=h user=u sslcrl=x"), "sslcrl: not supported");
    assert_eq!(error("postgres://u@h/?service=x"), "service: not supported");
    assert_eq!(error("host=h user=u colour=x"), "colour: unknown key");
    assert_eq!(error("postgres://u:p@h/?colour=x"), "colour: unknown key");
    assert_eq!(error("host=h password='p' colour=x"), "colour: unknown key");
    for key in ["", "Colour", "c0lour", &"x".repeat(33)] {
        assert_eq!(error(&format!("host=h {key}=x")), "unknown key");
    }
}

#[test]
fn pool_durations_are_seconds_or_have_units() {
    for (text, secs) in [("60", 60), ("60s", 60), ("1m", 60), ("1h30m", 5400)] {
        let dsn = dsn(&format!("host=h user=u pool_max_conn_lifetime={text}"));
        assert_eq!(dsn.pool.max_conn_lifetime, Some(Duration::from_secs(secs)), "{text}");
    }
    let rule = "pool_max_conn_lifetime: must be seconds, or a duration such as 1h30m or 300ms";
    assert_eq!(error("host=h user=u pool_max_conn_lifetime=60x"), rule);
    let rule = "pool_health_check_period: must be longer than 0";
    assert_eq!(error("host=h user=u pool_health_check_period=0s"), rule);
}

#[test]
fn a_pool_has_room_for_a_connection() {
    assert_eq!(error("host=h user=u pool_max_conns=0"), "pool_max_conns: must be at least 1");
    assert_eq!(error("host=h user=u pool_min_conns=-1"), "pool_min_conns: must be at least 0");
}
