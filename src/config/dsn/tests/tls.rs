//! What the keys of TLS ask of each other, and which files a client may name.

use super::super::{Dsn, RootCert, SslMode, SslNegotiation};
use super::{dsn, error};
use std::path::Path;

fn refused(keys: &str) -> String {
    error(&format!("host=h user=u {keys}"))
}

#[test]
fn the_roots_of_the_system_ask_for_the_name_too() {
    let keys = dsn("host=h user=u sslrootcert=system").tls;
    assert_eq!((keys.mode, keys.root), (SslMode::VerifyFull, Some(RootCert::System)));
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let rule = "sslmode: must be verify-full with sslrootcert=system";
        assert_eq!(refused(&format!("sslrootcert=system sslmode={mode}")), rule);
    }
}

#[test]
fn who_verifies_says_by_whom() {
    let rule = "sslrootcert: is required with sslmode=verify-ca: a file";
    assert_eq!(refused("sslmode=verify-ca"), rule);
    let rule = "sslrootcert: is required with sslmode=verify-full: a file or system";
    assert_eq!(refused("sslmode=verify-full sslrootcert="), rule);
    assert_eq!(dsn("host=h user=u sslmode=verify-ca sslrootcert=f").tls.mode, SslMode::VerifyCa);
}

#[test]
fn a_name_is_needed_to_check_one() {
    let rule = "host: is required with sslmode=verify-full: the certificate is checked against \
                it, never against hostaddr";
    assert_eq!(error("hostaddr=::1 user=u sslmode=verify-full sslrootcert=f"), rule);
    assert_eq!(error("host=a, hostaddr=::1,::1 user=u sslrootcert=system"), rule);
    dsn("hostaddr=::1 user=u sslmode=verify-ca sslrootcert=f");
    dsn("host=a hostaddr=::1 user=u sslmode=verify-full sslrootcert=f");
}

#[test]
fn a_direct_handshake_is_for_those_who_insist_on_tls() {
    let rule = "sslnegotiation: direct needs sslmode=require, verify-ca or verify-full";
    assert_eq!(refused("sslnegotiation=direct"), rule);
    assert_eq!(refused("sslnegotiation=direct sslmode=disable"), rule);
    let keys = dsn("host=h user=u sslnegotiation=direct sslmode=require").tls;
    assert_eq!(keys.negotiation, SslNegotiation::Direct);
    let rule = "channel_binding: require needs TLS, which sslmode=disable forbids";
    assert_eq!(refused("channel_binding=require sslmode=disable"), rule);
}

#[test]
fn a_certificate_has_a_key() {
    assert_eq!(refused("sslcert=a"), "sslkey: is required with sslcert");
    assert_eq!(refused("sslkey=a"), "sslcert: is required with sslkey");
}

fn confined(file: &str, dir: Option<&str>) -> Result<(), String> {
    let text = format!("host=h user=u sslmode=require sslrootcert='{file}'");
    let dsn = Dsn::parse(&text).unwrap();
    dsn.tls.confine(dir.map(Path::new)).map_err(|error| error.to_string())
}

#[test]
fn a_client_names_files_of_one_directory_only() {
    for file in ["ca.pem", "sub/ca.pem", "./ca.pem", "/certs/ca.pem", "..ca/..pem"] {
        assert_eq!(confined(file, Some("/certs")), Ok(()), "{file}");
    }
    for file in ["../ca.pem", "a/../../b", "/certs/../etc/passwd", "/etc/passwd", "/certs2/a"] {
        let rule = "sslrootcert: must name a file in the service's directory for them \
                    (--dsn-cert-dir)";
        assert_eq!(confined(file, Some("/certs")), Err(rule.to_owned()), "{file}");
    }
    let rule = "sslrootcert: a client may name files only if the service has a directory for \
                them (--dsn-cert-dir)";
    assert_eq!(confined("ca.pem", None), Err(rule.to_owned()));
    let system = Dsn::parse("host=h user=u sslrootcert=system").unwrap();
    assert_eq!(system.tls.confine(None), Ok(()));
}

#[test]
fn each_key_of_a_file_is_confined() {
    let dsn = dsn("host=h user=u sslcert=/a sslkey=b sslrootcert=c");
    let names: Vec<_> = dsn.tls.files().collect();
    assert_eq!(names, [("sslrootcert", "c"), ("sslcert", "/a"), ("sslkey", "b")]);
    let error = dsn.tls.confine(Some(Path::new("/certs"))).unwrap_err();
    assert_eq!(error.key.as_deref(), Some("sslcert"));
}
