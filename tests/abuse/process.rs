//! What others can do to the process itself: its log, its page of health, its signals.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::harness::siege::Siege;
use crate::harness::{eventually, millis, now, request, tenant, Service, PATIENCE};
use connection_pool_manager::proto::connection_pool::ConnectionRequest;
use rustix::process::Signal;

/// A test's own thread, which ends with what it works on.
fn meanwhile<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    #[allow(clippy::disallowed_methods)]
    std::thread::spawn(work)
}

/// A series of /metrics.
fn metric(service: &Service, series: &str) -> f64 {
    service.metric(series).unwrap_or_default()
}

const DROPPED: &str = "connpool_log_lines_lost_total{reason=\"queue_full\"}";
const REPEATED: &str = "connpool_log_lines_lost_total{reason=\"repeated\"}";

#[test]
fn an_unread_log_stops_nothing() {
    let (service, noisy) = (Service::start(), tenant().pool_of(1));
    service.lease(&noisy).release();
    service.wait_quiet(&noisy.name);
    let siege = Siege::start(&service, tenant().pool_of(1));
    service.log().stand_still(true);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (client, noisy) = (
                service.client(),
                ConnectionRequest { holder: "h".repeat(128), ..request(&noisy) },
            );
            let full = Arc::new(AtomicBool::new(false));
            let told = Arc::clone(&full);
            let work = meanwhile(move || {
                while !told.load(Ordering::SeqCst) {
                    let lease = client.acquire_with(&noisy).unwrap();
                    client.release(&lease.connection_id).unwrap();
                }
            });
            (full, work)
        })
        .collect();
    eventually("the log is full", || metric(&service, DROPPED) > 0.0);
    // Deadlines run on, for whom the log was full from the start.
    let short = ConnectionRequest { ttl: millis(300), ..request(&noisy) };
    service.client().acquire_with(&short).unwrap();
    let expired =
        format!("connpool_leases_ended_total{{reason=\"ttl\",tenant=\"{}\"}}", noisy.name);
    eventually("its time has run out", || metric(&service, &expired) == 1.0);
    let mut newcomer = tenant();
    newcomer.dsn.push_str(" pool_min_conns=0 pool_reset=close");
    let lease = service.lease(&newcomer);
    lease.run(&["select 1"]);
    lease.release();
    siege.bystander_works(20);
    for (full, work) in calls {
        full.store(true, Ordering::SeqCst);
        work.join().unwrap();
    }
    service.log().stand_still(false);
    let line = service.log().wait_for("event=log_dropped count=");
    assert!(line.contains(" WARN  connection_pool_manager::logging] "), "{line}");
    // What comes later is written again, and every line is whole.
    service.client().acquire("nobody", "postgres://u:p@127.0.0.1:1/d").unwrap_err();
    service.log().wait_for("event=connect_failed tenant=nobody");
    for line in service.log().text().lines() {
        assert!(line.starts_with("[20"), "{line:?}");
    }
    siege.end();
}

#[test]
fn a_service_with_an_unread_log_can_be_stopped() {
    let (mut service, tenant) = (Service::start(), tenant());
    service.log().stand_still(true);
    let client = service.client();
    // What a pipe and its reader's buffer hold is written; then it is full.
    for _ in 0..1000 {
        let lease = client.acquire(&tenant.name, &tenant.dsn).unwrap();
        client.release(&lease.connection_id).unwrap();
    }
    service.signal(Signal::TERM);
    assert_eq!(service.wait().code(), Some(0));
    service.log().stand_still(false);
}

/// A PostgreSQL that refuses every login with these words.
fn refusing(words: &str) -> u16 {
    let mut body = Vec::new();
    for field in [b"SFATAL", &b"C3D000"[..], format!("M{words}").as_bytes()] {
        body.extend_from_slice(field);
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let answer = [b"E", &length[..], &body].concat();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    meanwhile(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            meanwhile(move || {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&answer);
            });
        }
    });
    port
}

#[test]
fn refused_logins_fill_no_log() {
    let mut service = Service::start();
    let port = refusing(&"\u{1}".repeat(1000));
    let siege = Siege::start(&service, tenant().pool_of(1));
    let began = now();
    let attack = |tenants: usize, calls: usize| {
        let client = service.client();
        for n in 0..calls {
            let name = format!("made-up-{}", n % tenants);
            let dsn = format!("postgres://u:p@127.0.0.1:{port}/d?sslmode=disable");
            client.acquire(&name, &dsn).unwrap_err();
        }
    };
    attack(3, 200);
    attack(100, 400);
    let failures = {
        let page = service.get("/metrics").1;
        let lines = page.lines().filter(|line| line.contains("open_failures_total{"));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as usize
    };
    assert!(failures >= 600, "{failures}");
    let repeated = metric(&service, REPEATED) as usize;
    // A slow machine sees several windows of 10 s.
    let most = 50 * ((now() - began).as_secs() as usize / 10 + 2);
    siege.end();
    // At its end it tells of all that it has left out.
    service.signal(Signal::TERM);
    service.wait();
    let text = service.log().text();
    let failed = |line: &&str| line.contains("event=connect_failed ");
    let written = text.lines().filter(failed).count();
    let left_out = |line: &str| {
        let of = line.contains("event=lines_left_out of=connect_failed ");
        let count = line.rsplit_once(if of { " count=" } else { " repeated=" })?.1;
        count.parse::<usize>().ok()
    };
    let told: usize = text.lines().filter_map(left_out).sum();
    assert_eq!((written + told, repeated), (failures, told), "{text}");
    assert!(written <= most, "{written} of {failures} lines, {most} allowed");
    for line in text.lines().filter(failed) {
        assert!(line.contains(r"\u{1}") && line.chars().count() < 600, "{line}");
    }
}

#[test]
fn nonsense_on_the_port_of_grpc_fills_no_log() {
    let service = Service::start();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let count = "connpool_tls_handshake_failures_total{reason=\"tls\"}";
    eventually("all are counted", || metric(&service, count) == 200.0);
    let log = service.log().text();
    let written = log
        .lines()
        .filter(|line| line.contains("Handshake failed") || line.contains("tls_handshake"))
        .count();
    assert_eq!(written, 1, "{log}");
    assert!(log.lines().all(|line| line.starts_with("[20")), "{log}");
}

#[test]
fn slow_heads_do_not_take_health_away() {
    let service = Service::start();
    let siege = Siege::start(&service, tenant().pool_of(1));
    // Twice as many unfinished heads as there are seats, all the time: who is closed
    // comes again.
    let (over, port) = (Arc::new(AtomicBool::new(false)), service.http_port);
    let stop = Arc::clone(&over);
    let attack = meanwhile(move || {
        let mut open: Vec<TcpStream> = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let is_open = |mut stream: &TcpStream| {
                stream.read(&mut [0; 64]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
            };
            open.retain(|stream| is_open(stream));
            while open.len() < 128 {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                stream.write_all(b"GET /hea").unwrap();
                stream.set_nonblocking(true).unwrap();
                open.push(stream);
            }
            let _ = crossbeam_channel::never::<()>().recv_timeout(Duration::from_millis(5));
        }
    });
    for _ in 0..10 {
        let began = now();
        assert_eq!(service.get("/health"), (200, "OK".to_owned()));
        println!("an answer after {:?}", now() - began);
    }
    over.store(true, Ordering::SeqCst);
    attack.join().unwrap();
    siege.end();
}

#[test]
fn signals_of_no_meaning_end_nothing() {
    let (mut service, tenant) = (Service::start(), tenant());
    let lease = service.lease(&tenant);
    for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::PIPE] {
        service.signal(signal);
        lease.run(&["select 1"]);
    }
    service.log().wait_for("event=reloaded ");
    lease.release();
    service.signal(Signal::TERM);
    assert_eq!(service.wait().code(), Some(0));
}
