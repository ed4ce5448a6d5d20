//! What is told at once, and what is not told because something else is wrong.

use super::*;

/// What is said of these tables, without their places.
fn told(text: &str) -> Vec<String> {
    let said = refusal(text);
    let rule = |line: &str| line.split(" (allowed here").next().unwrap_or_default().to_owned();
    said.lines().map(rule).collect()
}

#[track_caller]
fn assert_told(text: &str, parts: &[&str]) {
    let told = told(text);
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    for part in parts {
        assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    }
}

#[test]
fn unknown_keys_bad_values_and_contradictions_are_told_at_once() {
    let text = "[service]\nprot = 1\nlease_ttl = 20\nmax_lease_ttl = 10\nlisten_pause = \"soon\"\n\
                [defaults]\nmin_connections = 3\nmax_connections = 2\n\
                [identities.shop]\ntokens = []\n\
                [tenants.t]\nhost = \"h\"\nusr = \"u\"\n\
                [tenants.u]\ndsn = \"host=h user=u\"\nmax_connections = 8\nmin_connections = 9\n\
                anonymous = true\nidle_timeout = \"soon\"\n";
    assert_told(
        text,
        &[
            "service.prot (x.toml:2) is not known; did you mean port?",
            "service.listen_pause (x.toml:5) must be",
            "identities.shop (x.toml:9) must have tokens or certificates",
            "tenants.t.usr (x.toml:13) is not known; did you mean user?",
            "tenants.t (x.toml:11) is wrong: user is required",
            "tenants.t (x.toml:11) must list the identities that may use it",
            "tenants.u.idle_timeout (x.toml:19) must be",
            "tenants.u (x.toml:14) must have a max_connections that is not below its \
             min_connections (8 < 9; the maximum comes from x.toml:16",
            "min connections cannot be greater than max connections: 3 > 2",
            "lease_ttl cannot be greater than max_lease_ttl: 20 s > 10 s",
        ],
    );
}

#[test]
fn what_a_wrong_key_may_have_meant_is_held_against_nobody() {
    let tenant = "[tenants.t]\ndsn = \"host=h user=u\"\n";
    for (text, wrong) in [
        // The maximum would be 20, which is below.
        ("[defaults]\nmax_conections = 50\nmin_connections = 30\n".to_owned(), "max_conections"),
        ("max_connections = 50\n[defaults]\nmin_connections = 30\n".to_owned(), "[defaults]"),
        ("[defaults]\nmax_connections = \"x\"\nmin_connections = 30\n".to_owned(), "an integer"),
        (format!("{tenant}max_conections = 50\nmin_connections = 30\n"), "max_conections"),
        (
            format!("[defaults]\nmax_connections = 5\n{tenant}max_conections = 50\nmin_connections = 30\n"),
            "max_conections",
        ),
        (format!("{tenant}max_connections = \"x\"\nmin_connections = 30\n"), "an integer"),
        (format!("[defaults]\nmax_conections = 50\n{tenant}min_connections = 30\n"), "max_conections"),
        (format!("[defaults]\nmax_connections = 0\n{tenant}min_connections = 30\n"), "an integer"),
        ("[tenants.t]\ndsn = \"host=h user=u port=x pool_max_conns=50\"\nmin_connections = 30\n".to_owned(), "port"),
        // Together they would have more than there may be.
        (format!("[service]\nmax_backend = 50\n{tenant}max_connections = 2001\n"), "max_backend "),
        (format!("[service]\nmax_backends = 20\n[defaults]\nmax_conections = 5\n{tenant}[tenants.u]\ndsn = \"host=h user=u\"\n"), "max_conections"),
        // Nobody could look.
        ("[service]\nhttp_auth = true\n[identities.a]\ntokens = []\nrole = \"admin\"\n".to_owned(), "must have tokens"),
        ("[service]\nhttp_auth = true\n[identitys.a]\nrole = \"admin\"\n".to_owned(), "identitys"),
        // It may be one of the identities.
        (format!("{tenant}identities = [\"a\"]\n[identities]\na = 1\n"), "must be a table"),
        // The authority may have been named.
        ("[service]\nclient_cert_ca = \"x\"\n[identities.a]\ncertificates = [\"a\"]\n".to_owned(), "client_cert_ca"),
        ("profile = \"production\"\n[service]\nclient_cert_ca = \"x\"\n".to_owned(), "client_cert_ca"),
        ("profile = \"fast\"\n[defaults]\nmin_connections = 30\n".to_owned(), "must be local"),
    ] {
        let told = told(&text);
        assert!(told.len() == 1 && told[0].contains(wrong), "{text}\n{told:#?}");
    }
}

#[test]
fn what_the_defaults_break_is_told_once_and_not_of_each_tenant() {
    let tenants = "[tenants.t]\ndsn = \"host=h user=u\"\n[tenants.u]\ndsn = \"host=h user=u\"\n";
    let said = format!("[defaults]\nmin_connections = 3\nmax_connections = 2\n{tenants}");
    assert_told(&said, &["min connections cannot be greater than max connections: 3 > 2"]);
}

#[test]
fn production_tells_what_it_refuses_beside_the_rest() {
    let text = "profile = \"production\"\n[service]\ninsecure = true\nclient_ca = \"ca.pem\"\nport = 70000\n";
    assert_told(
        text,
        &[
            "service.port (x.toml:5) must be",
            "insecure (x.toml:3) is refused by the production profile",
            "client_ca needs TLS",
        ],
    );
}
