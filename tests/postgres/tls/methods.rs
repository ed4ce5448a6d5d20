//! `require_auth`: how a server may find out who logs in.

use super::*;

#[test]
fn a_server_that_asks_in_another_way_is_refused() {
    let service = world().service();
    let certificate = "dbname=wants_cert sslmode=require sslcert=client.pem sslkey=client.key";
    let hashed = "dbname=hashed user=hashed password=h";
    for (keys, lists) in [
        ("", ["scram-sha-256", "md5,scram-sha-256", "!password,!md5", "!none"]),
        (hashed, ["md5", "md5,none", "!password", "!scram-sha-256,!none"]),
        ("dbname=clear sslmode=require", ["password", "password,md5", "!md5", "!none"]),
        (certificate, ["none", "none,scram-sha-256", "!password", "!md5,!scram-sha-256"]),
    ] {
        for list in lists {
            leased(&service, &by_name(&format!("{keys} require_auth={list}")));
        }
    }
    let (scram, md5) = ("asks for SCRAM", "asks for an MD5 digest of the password");
    let (clear, nothing) = ("asks for the password in clear text", "asks for no password");
    for (keys, lists, part) in [
        ("", ["md5", "none", "password,gss,sspi,oauth", "!scram-sha-256"], scram),
        (hashed, ["scram-sha-256", "none", "password", "!md5"], md5),
        ("dbname=clear sslmode=require", ["scram-sha-256", "md5", "none", "!password"], clear),
        (certificate, ["scram-sha-256", "password,md5", "!none", "!md5,!none"], nothing),
    ] {
        for list in lists {
            let dsn = by_name(&format!("{keys} require_auth={list}"));
            let part = format!("the server {part}, which require_auth={list} does not allow");
            assert_rejected(&service, &dsn, &part);
        }
    }
}

#[test]
fn what_is_not_allowed_is_not_answered() {
    let service = world().service();
    let (port, told) = curious();
    // Any certificate is good enough for `require`.
    let manner = Manner { to: Some(port), ..CLOSES };
    let front = Front::new(&Authority::new("rogue").server("x", &["x"], 1), manner);
    let dsn = |list: &str| {
        to_front(
            &front,
            "localhost",
            &format!("sslmode=require connect_timeout=1 require_auth={list}"),
        )
    };
    for list in ["scram-sha-256", "!password", "md5,none"] {
        assert_rejected(&service, &dsn(list), "asks for the password in clear text, which");
        let sent = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(String::from_utf8_lossy(&sent), "", "{list}");
    }
    // It hears the password of those who let it.
    for list in ["password", "!md5"] {
        refusal(&service, &dsn(list));
        let sent = told.recv_timeout(PATIENCE).unwrap();
        let sent = String::from_utf8_lossy(&sent);
        assert!(sent.contains(&world().tenant.password), "{list}: {sent:?}");
    }
}
