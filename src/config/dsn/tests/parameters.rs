//! Run-time parameters.

use super::{dsn, error};

fn parameters(text: &str) -> Vec<(String, String)> {
    dsn(text).parameters.into_iter().collect()
}

#[test]
fn settings_of_postgresql_are_taken_in_any_spelling_of_their_name() {
    let expected = [("search_path", "a, b"), ("timezone", "UTC")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(parameters("host=h user=u TimeZone=UTC search_path='a, b'"), expected);
    assert_eq!(parameters("postgres://u@h?TimeZone=UTC&search_path=a,%20b"), expected);
    assert_eq!(parameters("host=h user=u work_mem=1 WORK_MEM=2")[0].1, "2");
}

#[test]
fn settings_of_the_users_own_have_a_dot() {
    assert_eq!(parameters("host=h user=u My.app='x y'")[0], ("my.app".into(), "x y".into()));
    assert_eq!(parameters("host=h user=u a.b_2.c$=").len(), 1);
    for key in ["a.", ".a", "a..b", "a.2", "a-b.c", "\u{fc}.a", &format!("a.{}", "x".repeat(62))] {
        assert_eq!(error(&format!("host=h user=u {key}=x")), "unknown key");
    }
}

#[test]
fn a_setting_may_stand_behind_a_password() {
    assert_eq!(parameters("host=h user=u password=p search_path=x")[0].1, "x");
    let told = error("host=h user=u password=correct horse=x");
    assert!(told.starts_with("unknown key right behind the password;"), "{told}");
}
