//! Thousands of short statements, many of them cancelled at random moments around
//! their natural end. Each leaves a row, so that every answer can be checked.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use connection_pool_manager::client::service::{statement, CallError};
use connection_pool_manager::proto::errors::work_outcome::Outcome;
use connection_pool_manager::proto::sql::session_executed::Outcome as Executed;
use connection_pool_manager::proto::sql::session_request::Kind as Ask;
use connection_pool_manager::proto::sql::session_response::Kind as Said;
use connection_pool_manager::proto::sql::value::Kind;
use connection_pool_manager::proto::sql::{ExecuteRequest, SessionExecute, Statement, Value};

use crate::harness::sql::work;
use crate::harness::{answer, execute_later, millis, request, tenant, Held, Service, Tenant};

/// Statements of each worker.
const ROUNDS: u32 = 600;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// About as long as a statement takes.
    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.below(4000))
    }
}

/// What the answers say of the rows.
#[derive(Default)]
struct Ledger {
    next: AtomicU32,
    there: Mutex<Vec<u32>>,
    absent: Mutex<Vec<u32>>,
    unknown: Mutex<Vec<u32>>,
    /// Leases whose backend did not obey in time.
    lost: AtomicU32,
}

impl Ledger {
    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn note<T>(&self, number: u32, outcome: &Result<T, CallError>) {
        let list = match outcome {
            Ok(_) => &self.there,
            // Refused before it came to a session.
            Err(error) if matches!(&*error.reason, "LEASE_ENDED" | "LEASE_BUSY") => &self.absent,
            Err(error) => match work(error).0 {
                Outcome::NOT_STARTED | Outcome::NOT_APPLIED => &self.absent,
                Outcome::UNKNOWN => &self.unknown,
                other => panic!("{other:?} of one statement: {error}"),
            },
        };
        list.lock().unwrap().push(number);
    }
}

/// Takes a moment and leaves a row. Three of four texts are one that is kept prepared.
fn marker(number: u32, dice: &mut Dice) -> Statement {
    let seconds = dice.below(4000) as f64 / 1e6;
    if number & 3 == 0 {
        return statement(&format!("insert into marker select {number} from pg_sleep({seconds})"));
    }
    let parameters = [Kind::Int(i64::from(number)), Kind::Double(seconds)];
    let parameters = parameters.map(|kind| Value { kind: Some(kind), ..Value::default() });
    Statement {
        sql: "insert into marker select $1::int from pg_sleep($2::float8)".to_owned(),
        parameters: parameters.to_vec(),
        ..Statement::default()
    }
}

fn wait(moment: Duration) {
    // Nobody sends: a moment is what is wanted here, not a condition.
    let _ = crossbeam_channel::never::<()>().recv_timeout(moment);
}

struct Worker<'a> {
    service: &'a Service,
    tenant: &'a Tenant,
    ledger: &'a Ledger,
    dice: Dice,
}

impl Worker<'_> {
    fn request(&mut self, lease: &Held, number: u32) -> ExecuteRequest {
        ExecuteRequest {
            connection_id: lease.id.clone(),
            statements: vec![marker(number, &mut self.dice)],
            timeout: millis(60_000),
            ..ExecuteRequest::default()
        }
    }

    /// A statement that nobody cancels succeeds.
    fn undisturbed(&mut self, lease: &mut Held) {
        let number = self.ledger.number();
        let request = self.request(lease, number);
        loop {
            let outcome = lease.client.execute(&request);
            match &outcome {
                // The one before is being cancelled still.
                Err(error) if error.reason == "LEASE_BUSY" => continue,
                Err(error) if error.reason == "LEASE_ENDED" => {
                    self.ledger.lost.fetch_add(1, Ordering::Relaxed);
                    *lease = self.service.lease(self.tenant);
                    return self.ledger.note(number, &outcome);
                }
                Err(error) => panic!("nobody cancelled statement {number}: {error}"),
                Ok(_) => return self.ledger.note(number, &outcome),
            }
        }
    }

    fn callers_who_leave(mut self) {
        let mut lease = self.service.lease(self.tenant);
        for _ in 0..ROUNDS {
            let number = self.ledger.number();
            let call = execute_later(&lease.client, &self.request(&lease, number));
            wait(self.dice.moment());
            drop(call);
            self.ledger.unknown.lock().unwrap().push(number);
            self.undisturbed(&mut lease);
        }
        lease.release();
    }

    fn timeouts(mut self) {
        let mut lease = self.service.lease(self.tenant);
        for _ in 0..ROUNDS {
            let number = self.ledger.number();
            let mut request = self.request(&lease, number);
            request.timeout = millis(1 + self.dice.below(5));
            let outcome = lease.client.execute(&request);
            if let Err(error) = &outcome {
                assert_eq!(error.reason, "STATEMENT_TIMEOUT", "{error}");
            }
            self.ledger.note(number, &outcome);
            self.undisturbed(&mut lease);
        }
        lease.release();
    }

    fn forced_releases(mut self) {
        for _ in 0..ROUNDS / 2 {
            let mut lease = self.service.lease(self.tenant);
            self.undisturbed(&mut lease);
            let number = self.ledger.number();
            let call = execute_later(&lease.client, &self.request(&lease, number));
            wait(self.dice.moment());
            lease.client.release_with(&lease.id, true).expect("the release");
            let outcome = answer(call);
            if let Err(error) = &outcome {
                assert!(matches!(&*error.reason, "CANCELLED" | "LEASE_ENDED"), "{error}");
            }
            self.ledger.note(number, &outcome);
        }
    }

    fn pipelines(mut self) {
        let (mut session, _) = self.service.client().open_session(request(self.tenant)).unwrap();
        for _ in 0..ROUNDS / 5 {
            let numbers: [u32; 5] = std::array::from_fn(|_| self.ledger.number());
            for number in numbers {
                let statements = vec![marker(number, &mut self.dice)];
                let id = u64::from(number);
                let execute = SessionExecute { id, statements, ..SessionExecute::default() };
                session.send(Ask::Execute(execute)).unwrap();
            }
            // Never the last, which must succeed.
            let cancelled = numbers[self.dice.below(4) as usize];
            wait(self.dice.moment());
            session.cancel(u64::from(cancelled)).unwrap();
            for number in numbers {
                let Some(Said::Executed(executed)) = session.next().unwrap().unwrap().kind else {
                    panic!("no answer to {number}");
                };
                assert_eq!(executed.id, u64::from(number), "one answer each, in their order");
                let outcome = match executed.outcome.unwrap() {
                    Executed::Response(_) => Ok(()),
                    Executed::Error(error) => Err(CallError::from(error)),
                    other => panic!("{other:?}"),
                };
                if let Err(error) = &outcome {
                    assert_eq!((number, &*error.reason), (cancelled, "CANCELLED"), "{error}");
                }
                self.ledger.note(number, &outcome);
            }
        }
        session.close().unwrap();
        while session.next().unwrap().is_some() {}
    }
}

#[test]
fn cancels_at_random_moments_hit_what_they_were_meant_for_and_every_answer_is_true() {
    let (service, tenant) = (Service::start(), tenant().pool_of(4));
    tenant.sql("create table marker (n int); grant all on marker to public");
    let ledger = Ledger::default();
    let worker =
        |seed| Worker { service: &service, tenant: &tenant, ledger: &ledger, dice: Dice(seed) };
    std::thread::scope(|threads| {
        threads.spawn(|| worker(11).callers_who_leave());
        threads.spawn(|| worker(22).timeouts());
        threads.spawn(|| worker(33).forced_releases());
        threads.spawn(|| worker(44).pipelines());
    });
    let stats = service.wait_quiet(&tenant.name);
    assert!(stats.total_connections <= 4, "{stats:?}");
    assert_eq!(tenant.backends(), stats.total_connections as usize);

    let rows = tenant.sql("select n from marker");
    let mut rows: Vec<u32> = rows.lines().map(|line| line.parse().unwrap()).collect();
    let total = rows.len();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), total, "a statement ran twice");
    let is_there = |number: &u32| rows.binary_search(number).is_ok();
    let [there, absent, unknown] =
        [&ledger.there, &ledger.absent, &ledger.unknown].map(|list| list.lock().unwrap().clone());
    let answered = there.len() + absent.len() + unknown.len();
    assert_eq!(answered, ledger.next.load(Ordering::Relaxed) as usize, "answered once each");
    let missing: Vec<_> = there.iter().filter(|number| !is_there(number)).collect();
    assert!(missing.is_empty(), "said to be there: {missing:?}");
    let present: Vec<_> = absent.iter().filter(|number| is_there(number)).collect();
    assert!(present.is_empty(), "said not to be there: {present:?}");
    // It was worth it: each of the three came about, and cancels found their way.
    let half = unknown.iter().filter(|number| is_there(number)).count();
    let lost = ledger.lost.load(Ordering::Relaxed);
    let figures = format!(
        "{} there, {} absent, {} unknown of which {half} there, {lost} leases lost",
        there.len(),
        absent.len(),
        unknown.len()
    );
    eprintln!("{figures}");
    assert!(there.len() > 1000 && absent.len() > 30 && half > 0, "{figures}");
    assert!(half < unknown.len() && lost < 20, "{figures}");
}
