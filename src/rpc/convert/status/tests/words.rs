//! Errors that say a lot, and what of it there is room for.

use super::*;
use crate::proto::errors::PostgresError;

/// What a status takes in a trailer: the text percent-encoded, the details in base64, each
/// entry with its name and the 32 bytes that HTTP/2 counts for it, and the headers that
/// come with an answer without messages.
fn trailer_bytes(said: &RpcStatus) -> usize {
    let byte = |b: u8| if (b' '..=b'~').contains(&b) && b != b'%' { 1 } else { 3 };
    let text: usize = said.message().bytes().map(byte).sum();
    let entries = ["grpc-status2", "grpc-message", "grpc-status-details-bin", ":status200"];
    let names: usize = entries.iter().map(|name| name.len() + 32).sum();
    let content_type = "content-typeapplication/grpc".len() + 32;
    names + content_type + text + said.details().len().div_ceil(3) * 4
}

fn fault_of(word: &str) -> Box<PgFault> {
    // As long as the backend keeps them.
    let text = |bytes: usize| {
        crate::core::text::cut(&word.repeat(bytes), bytes, char::len_utf8).into_owned()
    };
    Box::new(PgFault {
        severity: word.chars().cycle().take(32).collect(),
        sqlstate: "P0001".to_owned(),
        message: text(1024),
        detail: text(512),
        hint: text(512),
        position: u32::MAX,
        schema: text(512),
        table: text(512),
        column: text(512),
        datatype: text(512),
        constraint: text(512),
        context: text(512),
        routine: text(512),
    })
}

/// Errors that say as much as they can.
fn wordy(word: &str) -> Vec<RequestError> {
    let tenant = TenantId::parse(&"t".repeat(128)).expect("a good name");
    let connect = |cause| RequestError::Connect { tenant: tenant.clone(), cause };
    let busy = || ConnectError::Busy(fault_of(word));
    let failed = work(Outcome::NotApplied);
    let long = || word.repeat(10_000);
    let target = "h".repeat(255);
    let away = |i| ConnectError::Unreachable { target: format!("{target}{i}"), why: long() };
    vec![
        RequestError::Sql { fault: fault_of(word), work: failed },
        RequestError::Lookup { fault: fault_of(word), work: failed },
        RequestError::BackendLost { work: failed, fault: Some(fault_of(word)), excess: None },
        connect(busy()),
        connect(ConnectError::Several((0..32).map(away).collect())),
        RequestError::BreakerOpen {
            tenant: tenant.clone(),
            cause: busy(),
            age: Duration::MAX,
            retry: Duration::from_secs(1),
        },
        RequestError::Undecodable { column: long(), why: long(), work: failed },
        RequestError::invalid("f", long()),
    ]
}

#[test]
fn whatever_an_error_says_its_trailer_stays_below_what_clients_take() {
    for word in ["x", "%", "\n", "ä", "語", "🐘"] {
        for error in wordy(word) {
            let said = status(&error);
            let bytes = trailer_bytes(&said);
            assert!(bytes < 7 << 10, "{bytes} bytes of {word:?}: {:?}", error.as_str());
            let details = Status::parse_from_bytes(said.details()).expect("a google.rpc.Status");
            assert_eq!(said.message(), details.message);
            assert!(said.message().ends_with('…'));
            let info: ErrorInfo = details.details[0].unpack().expect("fits").expect("info");
            assert!(!info.reason.is_empty());
            assert!(details.compute_size() <= 4352);
        }
    }
}

#[test]
fn the_identifying_fields_of_an_error_come_before_its_longer_texts() {
    let failed = work(Outcome::NotApplied);
    let words = |fault: Box<PgFault>| -> PostgresError {
        let said = status(&RequestError::Sql { fault, work: failed });
        let details = Status::parse_from_bytes(said.details()).expect("a google.rpc.Status");
        assert!(details.details.iter().any(|any| any.is::<WorkOutcome>()));
        let found = details.details.iter().find_map(|any| any.unpack().expect("fits"));
        found.expect("a PostgresError")
    };
    let long = words(fault_of("語"));
    assert_eq!((long.sqlstate.as_str(), long.severity.chars().count()), ("P0001", 32));
    assert_eq!(long.position, 0);
    assert!((125..=128).contains(&long.constraint.len()) && long.constraint.ends_with('…'));
    assert!((1022..=1024).contains(&long.message.len()), "{}", long.message.len());
    assert!(long.detail.len() > 100 && long.detail.ends_with('…'), "{}", long.detail);
    // What fits is whole.
    let usual = PgFault {
        constraint: "c".repeat(63),
        message: "m".repeat(300),
        detail: "d".repeat(300),
        hint: "h".repeat(300),
        context: "x".repeat(300),
        ..*fault_of("")
    };
    let said = words(Box::new(usual.clone()));
    assert_eq!(
        [&said.constraint, &said.message, &said.detail, &said.hint, &said.context],
        [&usual.constraint, &usual.message, &usual.detail, &usual.hint, &usual.context]
    );
}

#[test]
fn within_a_message_all_kept_texts_have_room() {
    let said =
        as_message(&RequestError::Sql { fault: fault_of("語"), work: work(Outcome::NotApplied) });
    let found = said.details.iter().find_map(|any| any.unpack().expect("fits"));
    let found: PostgresError = found.expect("a PostgresError");
    let fault = fault_of("語");
    assert_eq!((found.context, found.table), (fault.context, fault.table));
    for error in wordy("語") {
        assert!(as_message(&error).compute_size() < 96 << 10);
    }
}
