//! The syntax of both forms.

use super::super::SslMode;
use super::{dsn, error, password, servers};

#[test]
fn quotes_and_backslashes_follow_libpq() {
    let with = |value: &str| password(&format!("host=h user=u password{value}"));
    assert_eq!(with("=plain"), "plain");
    assert_eq!(with(" \t=\n 'a b'"), "a b");
    assert_eq!(with(r"='it\'s a \\ \b'"), r"it's a \ b");
    assert_eq!(with(r"=a\ b\'c\\"), r"a b'c\");
    assert_eq!(with("=a'b'c"), "a'b'c");
    assert_eq!(with("=a=b"), "a=b");
    assert_eq!(with("=''"), "");
    assert_eq!(with("="), "");
    assert_eq!(with("=dangling\\"), "dangling");
    // A quoted value needs no blank behind it.
    assert_eq!(dsn("user='u'host=h").user, "u");
}

#[test]
fn urls_have_all_their_parts() {
    let dsn = dsn("postgresql://u:p@h:6432/d?sslmode=disable&application_name=x%20y");
    assert_eq!((dsn.user.as_str(), dsn.dbname.as_str()), ("u", "d"));
    assert_eq!((dsn.tls.mode, dsn.hosts[0].port), (SslMode::Disable, 6432));
    assert_eq!(dsn.application_name.as_deref(), Some("x y"));
    assert_eq!(servers("postgres://h?user=u"), "h//5432");
    assert_eq!(servers("postgres:///d?user=u&host=h&port=1"), "h//1");
    assert_eq!(super::dsn("postgres://u@h?ssl=true").tls.mode, SslMode::Require);
    assert_eq!(super::dsn("postgres://u@h/?").dbname, "u");
}

#[test]
fn urls_are_percent_decoded() {
    assert_eq!(password("postgres://u:%70%40%2F%3a%25+@h"), "p@/:%+");
    assert_eq!(dsn("postgres://%c3%bc@h/a%3Fb").user, "\u{fc}");
    assert_eq!(dsn("postgres://u@h/a%3Fb").dbname, "a?b");
    assert_eq!(dsn("postgres://u@h/?%64bname=x").dbname, "x");
    for broken in ["%", "%4", "%zz", "%+1", "%4\u{fc}"] {
        let text = format!("postgres://u:{broken}@h");
        assert_eq!(error(&text), "password: \"%\" must be followed by two hexadecimal digits");
    }
    assert_eq!(error("postgres://u:%00@h"), "password: must not contain a NUL character");
    assert_eq!(error("postgres://%ff@h"), "user: not UTF-8 after percent-decoding");
}

#[test]
fn credentials_end_at_the_first_at_sign_before_a_slash() {
    assert_eq!(password("postgres://u:a:b?c@h"), "a:b?c");
    assert_eq!(password("postgres://u:@h"), "");
    assert_eq!(error("postgres://h/d@x"), "user is required");
    let rule = "host: must be a name or an address (percent-encode a password in a URL)";
    assert_eq!(error("postgres://u:hun@ter2@h/d"), rule);
}

#[test]
fn broken_syntax_is_an_error() {
    let rule = "missing \"=\" after a key; a value with blanks needs quotes, as in \
                password='two words'";
    assert_eq!(error("host=h user"), rule);
    assert_eq!(error("host=h user u"), rule);
    for other in ["jdbc:postgresql", "postgresql+psycopg", "mysql", " postgres", "POSTGRES"] {
        let rule = "a URL must begin with postgres:// or postgresql://";
        assert_eq!(error(&format!("{other}://u:hunter2@h/d?user=u")), rule);
    }
    assert_eq!(password("host=h user=u password=a+b://c"), "a+b://c");
    assert_eq!(error("host='h"), "unterminated quoted value");
    assert_eq!(error("host='h\\'"), "unterminated quoted value");
    assert_eq!(error("postgres://u@h/?a"), "missing \"=\" in a URL parameter");
    assert_eq!(error("postgres://u@h/?a=b=c"), "more than one \"=\" in a URL parameter");
    assert_eq!(error("host=h\0"), "must not contain a NUL character");
}
