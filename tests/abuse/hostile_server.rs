//! What a hostile or broken PostgreSQL may cost: its own tenant's connection, with a
//! word about the reason, and never memory beyond measure or another tenant's service.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::harness;
use crate::harness::code::{FAILED_PRECONDITION, RESOURCE_EXHAUSTED, UNAVAILABLE};
use crate::harness::fake::{
    announced, described, is_reset, is_type_query, message, notice, setting, type_row, Asked, Fake,
    Talk,
};
use crate::harness::siege::Siege;
use crate::harness::sql::assert_error;
use crate::harness::{
    acquire_later, answer, eventually, millis, refused, request, tenant, Held, Service, Tenant,
};
use connection_pool_manager::client::service::CallError;
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use connection_pool_manager::proto::sql::listen_response::Kind as Heard;
use connection_pool_manager::proto::sql::ListenRequest;

/// A server sends so much if it is let; the sockets alone take some.
const ENDLESS: usize = 64 << 20;
/// Connections that do the same at once.
const MANY: usize = 6;

/// How often a server was let to send what it likes, and how much the greediest of its
/// connections could send.
#[derive(Clone, Default)]
struct Taken(Arc<(AtomicUsize, AtomicUsize)>);

impl Taken {
    fn flood(&self, talk: &mut Talk, next: impl FnMut(usize) -> Vec<u8>) -> bool {
        let sent = talk.flood(ENDLESS, next);
        self.0 .0.fetch_add(1, Ordering::SeqCst);
        self.0 .1.fetch_max(sent, Ordering::SeqCst);
        true
    }

    /// Something came, and not all of it was taken.
    #[track_caller]
    fn was_cut(&self) {
        eventually("it has sent something", || self.0 .0.load(Ordering::SeqCst) > 0);
        let sent = self.0 .1.load(Ordering::SeqCst);
        assert!(sent < ENDLESS, "{sent} bytes were taken");
    }
}

fn hasty(tenant: &Tenant) -> ConnectionRequest {
    ConnectionRequest { wait_timeout: millis(10_000), ..request(tenant) }
}

/// All of these connections are refused for this reason.
fn refuses_logins(service: &Service, tenant: &Tenant, part: &str) {
    let client = service.client();
    let calls: Vec<_> = (0..MANY).map(|_| acquire_later(&client, &hasty(tenant))).collect();
    let mut told = 0;
    for call in calls {
        let error = refused(answer(call));
        // Or it has stood behind those until its time was over.
        assert!(matches!(error.code, UNAVAILABLE | RESOURCE_EXHAUSTED), "{error}");
        told += usize::from(error.message.contains(part));
    }
    assert!(told > 0, "nobody was told of {part:?}");
}

#[test]
fn a_login_is_bounded_in_bytes() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let before = "more than 262144 bytes before the login was over";
    let settings = "more than 100 settings or 65536 bytes";
    let long = "a message of more than 65536 bytes";
    type Next = fn(usize) -> Vec<u8>;
    let cases: [(&str, Next, &str); 5] = [
        ("notices", |_| notice("well"), before),
        ("same", |_| setting("TimeZone", "UTC"), before),
        ("names", |n| setting(&format!("name{n}"), "value"), settings),
        ("values", |n| setting(&format!("name{n}"), &"v".repeat(20_000)), settings),
        ("long", |_| message(b'S', &vec![b'x'; 60 << 20]), long),
    ];
    for (name, next, part) in cases {
        let taken = Taken::default();
        let seen = taken.clone();
        let fake = Fake::start(move |talk, asked| *asked == Asked::Login && seen.flood(talk, next));
        refuses_logins(&service, &fake.tenant(name, MANY), part);
        taken.was_cut();
    }
    siege.bystander_works(20);
    siege.end();
}

/// Leases, all of which run this at once; how that ends.
fn run_on_many(service: &Service, tenant: &Tenant, sql: &str) -> Vec<CallError> {
    let leases: Vec<_> = (0..MANY).map(|_| service.lease(tenant)).collect();
    let calls: Vec<_> = leases.iter().map(|lease| lease.run_later(sql)).collect();
    calls.into_iter().map(|call| refused(answer(call))).collect()
}

#[track_caller]
fn assert_lost(errors: &[CallError], part: &str) {
    for error in errors {
        assert_eq!(error.reason, "BACKEND_LOST", "{error}");
        assert!(error.message.contains(part), "{error} lacks {part:?}");
    }
}

/// Answers Execute of "hostile" by this flood.
fn hostile(taken: &Taken, next: fn(usize) -> Vec<u8>) -> Fake {
    let taken = taken.clone();
    Fake::start(move |talk, asked| match asked {
        Asked::Execute(sql) if sql == "hostile" => taken.flood(talk, next),
        _ => false,
    })
}

#[test]
fn messages_beside_the_rows_of_a_statement_are_bounded() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let settings = "more than 100 settings or 65536 bytes";
    let long = "a message of more than 8388608 bytes";
    type Next = fn(usize) -> Vec<u8>;
    let cases: [(&str, Next, &str); 4] = [
        ("settings", |n| setting(&format!("name{n}"), "value"), settings),
        ("long-notice", |_| message(b'N', &vec![b'x'; 60 << 20]), long),
        ("long-error", |_| message(b'E', &vec![b'x'; 60 << 20]), long),
        // A statement ends once.
        ("tags", |_| message(b'C', b"SELECT 1\0"), "out of turn (behind a statement)"),
    ];
    for (name, next, part) in cases {
        let taken = Taken::default();
        let fake = hostile(&taken, next);
        let tenant = fake.tenant(name, MANY);
        assert_lost(&run_on_many(&service, &tenant, "hostile"), part);
        taken.was_cut();
        service.wait_quiet(&tenant.name);
    }
    // Small ones are what a statement may send, some thousands of them. It is cancelled
    // then; a server that does not care loses its connection.
    let cases: [(&str, Next); 2] =
        [("small-notices", |_| notice("well")), ("same-setting", |_| setting("TimeZone", "UTC"))];
    for (name, next) in cases {
        let fake = Fake::start(move |talk, asked| match asked {
            Asked::Execute(sql) if sql == "hostile" => {
                talk.flood(usize::MAX, next);
                true
            }
            _ => false,
        });
        let tenant = fake.tenant(name, 2);
        let held = service.lease(&tenant);
        let error = held.fails(&["hostile"]);
        assert_error(&error, FAILED_PRECONDITION, "CANCELLED");
        assert!(error.message.contains("more than 10000 notices"), "{error}");
        assert!(fake.cancels() > 0);
        service.wait_quiet(&tenant.name);
    }
    siege.bystander_works(20);
    siege.end();
}

#[test]
fn questions_of_the_services_own_have_short_answers() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    // The reset, when a lease has ended.
    let taken = Taken::default();
    let seen = taken.clone();
    let fake = Fake::start(move |talk, asked| match asked {
        Asked::Execute(sql) if is_reset(sql) => seen.flood(talk, |_| message(b'C', b"SELECT 1\0")),
        _ => false,
    });
    let tenant = fake.tenant("reset", MANY);
    let leases: Vec<_> = (0..MANY).map(|_| service.lease(&tenant)).collect();
    leases.iter().for_each(Held::release);
    drop(leases);
    let closed = "connpool_backend_closes_total{reason=\"reset_failed\",tenant=\"reset\"}";
    eventually("all are closed", || service.metric(closed) == Some(MANY as f64));
    taken.was_cut();
    // The types of a statement.
    type Next = fn(usize) -> Vec<u8>;
    let cases: [(&str, Next, &str); 2] = [
        ("notices", |_| notice("well"), "more than 16777216 bytes in answer to a query"),
        ("types", |n| type_row(n as u32, 0), "more types than were asked for"),
    ];
    for (name, next, part) in cases {
        let taken = Taken::default();
        let seen = taken.clone();
        let fake = with_types(move |talk, asked| match asked {
            Asked::Execute(sql) if is_type_query(sql) => seen.flood(talk, next),
            _ => false,
        });
        let tenant = fake.tenant(name, MANY);
        assert_lost(&run_on_many(&service, &tenant, "odd"), part);
        taken.was_cut();
    }
    siege.bystander_works(20);
    siege.end();
}

/// A server whose statements "odd" have a column of a type that is not built in.
fn with_types(script: impl Fn(&mut Talk, &Asked) -> bool + Send + Sync + 'static) -> Fake {
    Fake::start(move |talk, asked| match asked {
        Asked::Prepare(sql) if sql == "odd" => {
            talk.say(&message(b't', &[0, 0])) && talk.say(&described(&[100_000]))
        }
        asked => script(talk, asked),
    })
}

#[test]
fn types_without_end_cost_their_statement_only() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let deep = "more than 64 levels of types";
    let absent = "the type is not in pg_catalog.pg_type";
    type Next = fn(u32) -> Vec<u8>;
    let cases: [(&str, Next, &str); 3] = [
        ("domains", |n| type_row(100_000 + n, 100_001 + n), deep),
        ("loop", |_| type_row(100_000, 100_000), deep),
        ("nothing", |_| Vec::new(), absent),
    ];
    for (name, next, why) in cases {
        let asked_for = AtomicUsize::new(0);
        let fake = with_types(move |talk, asked| {
            let Asked::Execute(sql) = asked else { return false };
            if !is_type_query(sql) {
                return false;
            }
            let row = next(asked_for.fetch_add(1, Ordering::SeqCst) as u32);
            talk.say(&[row, message(b'C', b"SELECT 1\0")].concat())
        });
        let tenant = fake.tenant(name, MANY);
        let held = service.lease(&tenant);
        for _ in 0..2 {
            let error = held.fails(&["odd"]);
            assert_error(&error, FAILED_PRECONDITION, "LOOKUP_FAILED");
            assert!(error.message.contains(why), "{error}");
        }
        held.run(&["plain"]);
        held.release();
        // Until it is at rest, a lease may have another one opened beside it.
        service.wait_quiet(&tenant.name);
        service.lease(&tenant).run(&["plain"]);
        assert_eq!(fake.sessions(), 1, "{name} has cost a connection");
    }
    siege.bystander_works(20);
    siege.end();
}

#[test]
fn rows_that_are_never_finished_hold_no_memory() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let fake = Fake::start(move |talk, asked| match asked {
        Asked::Execute(sql) if sql == "hostile" => {
            talk.say(&announced(b'D', 62 << 20));
            talk.flood(61 << 20, |_| vec![0; 1 << 20]);
            talk.stall();
            true
        }
        _ => false,
    });
    let tenant = fake.tenant("rows", 20);
    let leases: Vec<_> = (0..20).map(|_| service.lease(&tenant)).collect();
    let calls: Vec<_> = leases.iter().map(|lease| lease.run_later("hostile")).collect();
    siege.bystander_works(200);
    assert!(siege.grown_kb() < harness::siege::MEMORY_KB, "{} kB", siege.grown_kb());
    for lease in &leases {
        lease.client.release_with(&lease.id, true).unwrap();
    }
    drop(calls);
    drop(leases);
    service.wait_quiet(&tenant.name);
    siege.end();
}

#[test]
fn unfinished_messages_of_a_tenant_are_bounded_together() {
    let service = Service::start();
    let fake = Fake::start(move |talk, asked| match asked {
        Asked::Execute(sql) if sql == "hostile" => {
            talk.say(&announced(b'D', 7 << 20));
            talk.say(&vec![0; 6 << 20]);
            talk.stall();
            true
        }
        _ => false,
    });
    let bystander = tenant();
    let other = service.lease(&bystander);
    let before = service.proc_status("VmRSS:");
    let tenant = fake.tenant("parts", 20);
    let leases: Vec<_> = (0..20).map(|_| service.lease(&tenant)).collect();
    let calls: Vec<_> = leases.iter().map(|lease| lease.run_later("hostile")).collect();
    // 8 MiB of memory each, and 64 MiB for a tenant: eight have room at most, or fewer
    // where others have taken it when they were refused.
    let part = "there was no memory for the rest of a message from the server: bytes held for one \
                tenant: ";
    let lost = || service.log().text().matches("reason=lost").count();
    eventually("twelve at least are closed", || lost() >= 12);
    assert_eq!(other.value("select 1"), "1");
    for lease in &leases {
        let _ = lease.client.release_with(&lease.id, true);
    }
    let errors: Vec<_> = calls.into_iter().map(|call| refused(answer(call))).collect();
    let told = errors.iter().filter(|error| error.message.contains(part)).count();
    assert!((12..20).contains(&told), "{told} were told: {:?}", errors[0]);
    let grown = service.proc_status("VmHWM:") - before;
    assert!(grown < 128 * 1024, "{grown} kB");
    service.wait_quiet(&tenant.name);
    let held = "connpool_memory_bytes{use=\"partial_messages\"}";
    if let Some(bytes) = service.metric(held) {
        assert!(bytes.abs() < 0.5, "{bytes} bytes are still counted");
    }
}

/// As PostgreSQL sends what was notified.
fn notification(channel: &str, payload: &str) -> Vec<u8> {
    let mut body = 7i32.to_be_bytes().to_vec();
    body.extend(format!("{channel}\0{payload}\0").as_bytes());
    message(b'A', &body)
}

#[test]
fn a_flooded_listener_reports_a_gap_and_continues() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    let connections = AtomicUsize::new(0);
    let fake = Fake::start(move |talk, asked| {
        let Asked::Query(sql) = asked else { return false };
        if !sql.starts_with("LISTEN") {
            return false;
        }
        let done = message(b'C', b"LISTEN\0");
        match connections.fetch_add(1, Ordering::SeqCst) {
            // Before it has said that it listens.
            0 => {
                talk.flood(ENDLESS, |n| notification("x", &n.to_string()));
            }
            // Afterwards, to nobody; and then a word that is out of place.
            1 => {
                talk.say(&done);
                talk.ready();
                talk.flood(8 << 20, |n| notification("x", &n.to_string()));
            }
            _ => {
                talk.say(&done);
                talk.ready();
                talk.say(&notification("a", "at last"));
                talk.stall();
            }
        }
        true
    });
    let tenant = fake.tenant("listener", 2);
    let client = service.client();
    let mut listen = client
        .listen(&ListenRequest {
            tenant_id: tenant.name.clone(),
            dsn: tenant.dsn.clone(),
            channels: vec!["a".to_owned()],
            ..ListenRequest::default()
        })
        .unwrap();
    let mut next = || listen.next().unwrap().unwrap().kind.unwrap();
    assert!(matches!(next(), Heard::Started(_)));
    assert!(service.log().text().contains("more than 4194304 bytes of notifications"));
    assert!(matches!(next(), Heard::Gap(_)));
    assert!(matches!(next(), Heard::Notification(heard) if heard.payload == "at last"));
    siege.bystander_works(20);
    assert!(siege.grown_kb() < harness::siege::MEMORY_KB, "{} kB", siege.grown_kb());
}
