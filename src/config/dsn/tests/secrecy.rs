//! Nothing shows a password.

use super::super::Dsn;
use super::{dsn, error};

#[test]
fn an_unknown_key_is_not_named_where_it_may_be_a_piece_of_a_password() {
    for text in ["host=h password=correct horse=x user=u", "postgres://u:x@y/z?horse=battery@h/d"] {
        let told = error(text);
        assert!(told.starts_with("unknown key right behind the password;"), "{told}");
        assert!(told.contains("needs quotes") && !told.contains("horse"), "{told}");
    }
    let told = error("colour=x user");
    assert!(told.starts_with("missing \"=\" after a key; a value with blanks needs"), "{told}");
}

#[test]
fn display_and_debug_are_redacted() {
    let dsn = dsn("host=a,b port=1,2 dbname='d e' user=u password=hunter2 options=hunter2 \
         my.app=hunter2 sslcert=hunter2 sslkey=hunter2");
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
        "host=h user=u sslnegotiation=hunter2",
        "host=h user=u sslcert=hunter2",
        "host=h user=u require_auth=md5,hunter2",
        "host=h user=u sslkey=hunter2",
        "host=h user=u sslrootcert=system sslmode=hunter2",
        "host=h user=u pool_health_check_period=hunter2",
        "host=h user=u password=a hunter2.=c",
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
