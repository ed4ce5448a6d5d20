//! A PostgreSQL that breaks the rules of its protocol, at each point of a conversation:
//! it costs its own connection, at once and with a word about the reason, and nothing of
//! anybody else's service.

mod evils;
mod moments;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::harness;
use crate::harness::code::{DEADLINE_EXCEEDED, UNAVAILABLE};
use crate::harness::fake::{announced, is_reset, message, row, Asked, Fake};
use crate::harness::siege::{Siege, MEMORY_KB};
use crate::harness::sql::{assert_error, on_lease};
use crate::harness::{answer, millis, refused, request, tenant, Held, Service};

use evils::EVILS;
use moments::{Moment, MOMENTS};

/// So that nobody else has sessions.
const ALONE: [&str; 4] = ["--health-check-interval", "0", "--ping-interval", "0"];

/// The service under attack, and the end of a test of it.
fn besieged(attack: impl FnOnce(&Service, &Siege)) {
    let service = Service::with(&ALONE);
    let siege = Siege::start(&service, tenant().pool_of(1));
    attack(&service, &siege);
    siege.bystander_works(20);
    let log = service.log().text();
    assert!(!log.contains("panic"), "something has panicked");
    siege.end();
}

#[test]
fn a_violation_of_the_protocol_closes_the_connection_with_the_reason() {
    besieged(|service, siege| {
        let (client, mut wrong) = (service.client(), Vec::new());
        for moment in MOMENTS {
            for evil in EVILS.iter().filter(|evil| evil.fails_at(moment)) {
                wrong.extend(moment.meets(service, &client, evil));
                assert!(siege.grown_kb() < MEMORY_KB, "{moment:?} {}", evil.name);
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    });
}

#[test]
fn a_stream_that_ends_inside_a_message_ends_its_connection() {
    // One of each kind, whole.
    let kinds: &[(u8, &[u8])] = &[
        (b'1', b""),
        (b'2', b""),
        (b'3', b""),
        (b't', &[0, 0]),
        (b'T', &[0, 0]),
        (b'n', b""),
        (b'D', &[0, 1, 0, 0, 0, 1, b'x']),
        (b'C', b"SELECT 1\0"),
        (b'I', b""),
        (b's', b""),
        (b'G', &[0, 0, 0]),
        (b'H', &[0, 0, 0]),
        (b'd', b"data"),
        (b'c', b""),
        (b'E', b"SERROR\0VERROR\0C22012\0Mno\0\0"),
        (b'N', b"SNOTICE\0VNOTICE\0C00000\0Mwell\0\0"),
        (b'A', b"\0\0\0\x01c\0p\0"),
        (b'S', b"TimeZone\0UTC\0"),
        (b'K', &[0; 8]),
        (b'R', &[0; 4]),
        (b'v', &[0; 8]),
        (b'Z', b"I"),
    ];
    besieged(|service, _| {
        let (client, mut wrong) = (service.client(), Vec::new());
        for moment in MOMENTS {
            wrong.extend(moment.is_cut_off(service, &client, (0, &[])));
            for (kind, body) in kinds {
                // In its header, behind it, and before its end.
                let whole = message(*kind, body);
                for cut in BTreeSet::from([1, 4, 5, whole.len() - 1]) {
                    if cut < whole.len() {
                        wrong.extend(moment.is_cut_off(service, &client, (*kind, &whole[..cut])));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    });
}

#[test]
fn a_row_of_64_mib_fails_as_too_large_and_costs_nothing() {
    besieged(|service, siege| {
        let fake = Fake::start(|talk, asked| match asked {
            Asked::Execute(sql) if sql == "hostile" => {
                talk.say(&row(&[b"first"]));
                let size = 64 << 20;
                talk.say(&announced(b'D', size));
                talk.flood(size, |_| vec![b'x'; 1 << 20]);
                talk.say(&message(b'C', b"SELECT 2\0"))
            }
            _ => false,
        });
        let tenant = fake.tenant("rows", 8);
        let leases: Vec<_> = (0..8).map(|_| service.lease(&tenant)).collect();
        let calls: Vec<_> = leases.iter().map(|lease| lease.run_later("hostile")).collect();
        for call in calls {
            let error = refused(answer(call));
            assert_eq!(error.reason, "RESULT_TOO_LARGE", "{error}");
        }
        for lease in &leases {
            lease.run(&["plain"]);
            lease.release();
        }
        assert_eq!(fake.sessions(), 8, "it has cost a connection");
        assert!(siege.grown_kb() < MEMORY_KB, "{} kB", siege.grown_kb());
    });
}

#[test]
fn a_drip_is_ended_by_the_time_that_there_is() {
    let drip = |talk: &mut harness::fake::Talk| {
        let whole = message(b'N', &[b'x'; 1 << 16]);
        talk.drip(whole, Duration::from_millis(100));
        true
    };
    besieged(|service, _| {
        // A statement, and one that is prepared.
        for (name, prepares) in [("statement", false), ("prepare", true)] {
            let fake = Fake::start(move |talk, asked| match asked {
                Asked::Execute(sql) if !prepares && sql == "hostile" => drip(talk),
                Asked::Prepare(sql) if prepares && sql == "hostile" => drip(talk),
                _ => false,
            });
            let tenant = fake.tenant(name, 1);
            let lease = service.lease(&tenant);
            let mut request = on_lease(&lease, &["hostile"]);
            request.timeout = millis(500);
            let error = refused(lease.client.execute(&request));
            assert_error(&error, DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT");
            service.lease(&tenant).run(&["plain"]);
            assert_eq!(fake.sessions(), 2, "{name}");
        }
        // A reset: it has its own time, and nobody waits for it.
        let fake = Fake::start(move |talk, asked| match asked {
            Asked::Execute(sql) if is_reset(sql) => drip(talk),
            _ => false,
        });
        let tenant = fake.tenant("reset", 1);
        let lease = service.lease(&tenant);
        lease.run(&["plain"]);
        let _ = lease.client.release(&lease.id);
        service.log().wait_for("tenant=reset pid=258 reason=reset_failed");
        // A login.
        let fake = Fake::start(move |talk, asked| *asked == Asked::Login && drip(talk));
        let mut tenant = fake.tenant("login", 1);
        tenant.dsn += " connect_timeout=2";
        let error = refused(service.client().acquire_with(&request(&tenant)));
        assert_eq!(error.code, UNAVAILABLE, "{error}");
    });
}

/// Between leases nobody reads; what has come by then is looked at before the next.
#[test]
fn bytes_that_arrive_while_idle_are_seen_before_the_next_lease() {
    besieged(|service, _| {
        for (name, says, sessions) in [
            ("notice", harness::fake::notice("well"), 1),
            ("setting", harness::fake::setting("TimeZone", "UTC"), 1),
            ("notification", message(b'A', b"\0\0\0\x01c\0p\0"), 1),
            ("words", message(b'E', b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0"), 2),
            ("error", message(b'E', b"SERROR\0VERROR\0C22012\0Mno\0\0"), 2),
            ("ready", message(b'Z', b"I"), 2),
            ("row", row(&[b"x"]), 2),
            ("nonsense", message(b'%', b""), 2),
            ("half", message(b'D', &[0; 9])[..7].to_vec(), 2),
            ("notices", harness::fake::notice("well").repeat(40_000), 2),
            (
                "names",
                (0..200).flat_map(|n| harness::fake::setting(&format!("n{n}"), "")).collect(),
                2,
            ),
        ] {
            let fake = Fake::start(move |talk, asked| match asked {
                Asked::Sync(executed) if executed.iter().any(|sql| is_reset(sql)) => {
                    let mut ready = message(b'Z', b"I");
                    ready.extend(&says);
                    talk.say(&ready)
                }
                _ => false,
            });
            let tenant = fake.tenant(name, 1);
            let lease = service.lease(&tenant);
            lease.run(&["plain"]);
            lease.release();
            let next: Held = service.lease(&tenant);
            next.run(&["plain"]);
            assert_eq!(fake.sessions(), sessions, "{name}");
        }
    });
}

#[test]
fn the_reason_is_in_the_log_too() {
    let service = Service::with(&ALONE);
    let evil = EVILS.iter().find(|evil| evil.name == "unknown").unwrap();
    assert_eq!(Moment::Statement.meets(&service, &service.client(), evil), None);
    let line = service.log().wait_for("event=backend_excess");
    assert!(line.contains(evil.part) && line.contains("tenant="), "{line}");
}
