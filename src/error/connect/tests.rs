use super::display::SEVERAL_MAX_CHARS;
use super::*;

fn settings(text: &str) -> ConnectError {
    ConnectError::Settings(text.to_owned())
}

#[test]
fn of_several_failures_the_one_that_says_what_can_be_done_leads() {
    let rejected = || ConnectError::Rejected(Box::default());
    let away = || ConnectError::Unreachable { target: "h:1".to_owned(), why: "w".to_owned() };
    let lead = |errors| ConnectError::several(errors).lead().as_str();
    assert_eq!(lead(vec![away(), rejected()]), "rejected");
    assert_eq!(lead(vec![settings("s"), away()]), "unreachable");
    assert_eq!(lead(vec![settings("s"), settings("t")]), "settings");
    assert!(!ConnectError::several(vec![away(), rejected()]).is_retryable());
    assert!(ConnectError::several(vec![settings("s"), away()]).is_retryable());
}

#[test]
fn a_server_is_full_for_all_or_for_a_role_or_a_database_only() {
    let full = |sqlstate: &str, routine: &str| {
        let (sqlstate, routine) = (sqlstate.to_owned(), routine.to_owned());
        ConnectError::Busy(Box::new(PgFault { sqlstate, routine, ..PgFault::default() }))
    };
    for (error, is) in [
        (full("53300", "InitPostgres"), true),
        (full("53300", "ProcessStartupPacket"), true),
        (full("53300", "InitializeSessionUserId"), false),
        (full("53300", "CheckMyDatabase"), false),
        (full("53200", ""), false),
        (full("57P03", ""), false),
    ] {
        assert_eq!(error.lacks_room(), is, "{error:?}");
        let away = ConnectError::Unreachable { target: "h:1".to_owned(), why: "w".to_owned() };
        assert_eq!(ConnectError::several(vec![away, error]).lacks_room(), is);
    }
}

#[test]
fn several_failures_are_all_told_once_and_not_at_any_length() {
    let text = |errors| ConnectError::several(errors).to_string();
    assert_eq!(text(vec![settings("a"), settings("a")]), "a");
    assert_eq!(text(vec![settings("a"), settings("b")]), "a; b");
    let many = (0..1000).map(|i| settings(&format!("\u{fc}{i}"))).collect();
    let long = text(many);
    assert!(long.chars().count() == SEVERAL_MAX_CHARS + 1 && long.ends_with('…'), "{long}");
}
