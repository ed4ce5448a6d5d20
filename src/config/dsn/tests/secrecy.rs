//! Nothing shows a password.

use super::super::Dsn;
use super::{dsn, error};

#[test]
fn an_unknown_key_is_not_named_where_it_may_be_a_piece_of_a_password() {
    assert_eq!(error("host=h password=correct horse=x user=u"), "unknown key");
    assert_eq!(error("postgres://u:x@y/z?horse=battery@h/d"), "unknown key");
    assert_eq!(error("colour=x user"), "missing \"=\" after a key");
}

#[test]
fn display_and_debug_are_redacted() {
    let dsn = dsn("host=a,b port=1,2 dbname='d e' user=u password=hunter2 options=hunter2");
    let expected = "host=a,b port=1,2 dbname='d e' user=u sslmode=prefer";
    assert_eq!(dsn.to_string(), expected);
    assert_eq!(format!("{dsn:?}"), format!("Dsn({expected})"));
    assert_eq!(format!("{:?}", dsn.password), "Some(Secret(..))");
    let dsn = super::dsn("hostaddr=::1 dbname='x\ny' user=u");
    assert_eq!(dsn.to_string(), r"hostaddr=::1 port=5432 dbname='x\ny' user=u sslmode=prefer");
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "hunter2",
        "hunter2=",
        "host=h user=u password=a hunter2",
        "host=h user=u password=a hunter2=b",
        "host=h user=u password='hunter2",
        "host=h user=u password hunter2",
        "host=h user=u passwordhunter2=x",
        "host=h user=u password=hunter2 port=x",
        "host=h user=u password=hunter2 sslmode=x",
        "host=h user=u port=hunter2",
        "host=h user=u sslmode=hunter2",
        "host=h user=u hostaddr=hunter2",
        "host=h user=u connect_timeout=hunter2",
        "host=h user=u client_encoding=hunter2",
        "host=h user=u target_session_attrs=hunter2",
        "host=h user=u pool_max_conn_lifetime=hunter2",
        "host=h user=u pool_max_conns=hunter2",
        "host=h user=u sslpassword=hunter2",
        "user=u password=hunter2",
        "host=h password=hunter2",
        "host=/hunter2 user=u",
        "Postgres://u:hunter2@h/d",
        "http://u:hunter2@h/d?a=b",
        "postgres:/u:hunter2@h/d",
        "postgres://u:hunter2",
        "postgres://u:hunter2/x@h/d",
        "postgres://u:x/hunter2@h/d",
        "postgres://u:%hunter2@h/d",
        "postgres://u:x@hunter2@h/d",
        "postgres://u:[hunter2@[h/d",
        "postgres://[hunter2",
        "postgres://u:hunter2@h:x/d",
        "postgres://u:hunter2@h/d?x",
        "postgres://u:hunter2@h/d?hunter2=x",
        "postgres://u:hunter2@h/d?sslmode=hunter2",
        "postgres://u:hunter2@h/d?password=hunter2&x=%",
        "postgres://u:hunter2\0@h/d",
    ] {
        let error = Dsn::parse(text).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{text}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{text}: {error:?}");
    }
}

#[test]
fn no_mutation_panics_or_shows_the_password() {
    let models = [
        "host=h,i port=1,2 hostaddr=::1, dbname=d user=u password=hunter2 sslmode=require",
        "host=h password='hunter2' user=u options='-c a=b' pool_max_conn_lifetime=1h5m",
        "postgres://u:hunter2@h:1,[::1]:2/d?sslmode=require&application_name=x%20y",
        "postgresql://h/d?user=u&password=hunter2&connect_timeout=5&pool_max_conns=3",
    ];
    let characters: Vec<char> = " ='\\@:/?&%[],\t\0\u{fc}\u{1f600}0az_A-.+".chars().collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % limit as u64) as usize
    };
    let mut refused = 0;
    for round in 0..40_000 {
        let mut text: Vec<char> = models[round % models.len()].chars().collect();
        for _ in 0..=below(4) {
            let at = below(text.len());
            match below(4) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, characters[below(characters.len())]),
                2 => text[at] = characters[below(characters.len())],
                _ => text[at..].rotate_left(1),
            }
        }
        let text: String = text.into_iter().collect();
        match Dsn::parse(&text) {
            Err(error) => {
                refused += 1;
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}: {error}");
            }
            Ok(dsn) => {
                let secret = dsn.password.as_ref().is_some_and(|p| p.reveal().contains("hunter2"));
                let shown = format!("{dsn} {dsn:?} {}", dsn.target_canonical());
                assert!(!secret || !shown.contains("hunter2"), "{text}: {shown}");
                assert_eq!(dsn.canonical(), Dsn::parse(&text).unwrap().canonical());
            }
        }
    }
    assert!(refused > 1000 && refused < 39_000, "{refused}");
}
