//! The points of a conversation at which something can come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use connection_pool_manager::client::service::{CallError, Client};
use connection_pool_manager::proto::sql::{CopyInStart, CopyOutRequest, ExecuteRequest};

use super::evils::Evil;
use crate::harness::fake::{described, is_reset, is_type_query, message, Asked, Fake, Talk};
use crate::harness::sql::on_lease;
use crate::harness::{eventually, millis, refused, Held, Service, Tenant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A statement is prepared.
    Prepare,
    /// It runs.
    Statement,
    /// Its types are asked for.
    LookUp,
    /// A session is made as new.
    Reset,
    /// Data goes out.
    CopyIn,
    /// Data comes.
    CopyOut,
}

pub const MOMENTS: [Moment; 6] = [
    Moment::Prepare,
    Moment::Statement,
    Moment::LookUp,
    Moment::Reset,
    Moment::CopyIn,
    Moment::CopyOut,
];

/// A lease that shares its connection to the service with others.
fn lease_by(client: &Client, tenant: &Tenant) -> Held {
    let granted = client.acquire(&tenant.name, &tenant.dsn).expect("a lease");
    Held { client: client.clone(), id: granted.connection_id, pid: granted.lease.backend_pid }
}

/// Milliseconds after which a server has got away with what it did.
const LIMIT: u64 = 5000;

const COPY_IN: &str = "copy t from stdin";
const COPY_OUT: &str = "copy t to stdout";

impl Moment {
    fn has_come(self, asked: &Asked) -> bool {
        match (self, asked) {
            (Moment::Prepare, Asked::Prepare(sql)) => sql == "hostile",
            (Moment::Statement, Asked::Execute(sql)) => sql == "hostile",
            (Moment::LookUp, Asked::Execute(sql)) => is_type_query(sql),
            (Moment::Reset, Asked::Execute(sql)) => is_reset(sql),
            (Moment::CopyIn, Asked::Execute(sql)) => sql == COPY_IN,
            (Moment::CopyOut, Asked::Execute(sql)) => sql == COPY_OUT,
            _ => false,
        }
    }

    /// A server that acts at this moment, the first time.
    fn server(self, act: impl Fn(&mut Talk) + Send + Sync + 'static) -> Fake {
        let acted = AtomicBool::new(false);
        Fake::start(move |talk, asked| {
            if self.has_come(asked) && !acted.swap(true, Ordering::SeqCst) {
                act(talk);
                return true;
            }
            match asked {
                Asked::Prepare(sql) if self == Moment::LookUp && sql == "hostile" => {
                    talk.say(&message(b't', &[0, 0])) && talk.say(&described(&[100_000]))
                }
                _ => false,
            }
        })
    }

    /// Does what leads to this moment, in which something happens. How it has failed.
    fn fails(self, lease: &Held) -> Option<CallError> {
        match self {
            Moment::Prepare | Moment::Statement | Moment::LookUp => {
                let request =
                    ExecuteRequest { timeout: millis(LIMIT), ..on_lease(lease, &["hostile"]) };
                Some(refused(lease.client.execute(&request)))
            }
            Moment::Reset => {
                lease.run(&["plain"]);
                let _ = lease.client.release(&lease.id);
                None
            }
            Moment::CopyIn => {
                let start = CopyInStart {
                    connection_id: lease.id.clone(),
                    sql: COPY_IN.to_owned(),
                    timeout: millis(LIMIT),
                    ..CopyInStart::default()
                };
                let mut copy = lease.client.copy_in(start).unwrap();
                // It may have failed already.
                let _ = copy.data(b"1\n");
                Some(refused(copy.finish()))
            }
            Moment::CopyOut => {
                let request = CopyOutRequest {
                    connection_id: lease.id.clone(),
                    sql: COPY_OUT.to_owned(),
                    timeout: millis(LIMIT),
                    ..CopyOutRequest::default()
                };
                let mut copy = lease.client.copy_out(&request).unwrap();
                loop {
                    match copy.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("it came to its end"),
                        Err(error) => return Some(error),
                    }
                }
            }
        }
    }

    /// What this server was to cost: its connection. What it has got away with.
    fn costs_one(
        self,
        service: &Service,
        client: &Client,
        fake: &Fake,
        (name, part): (&str, &str),
    ) -> Option<String> {
        let mut tenant = fake.tenant(name, 1);
        // Nothing is to be left at the end.
        tenant.dsn += " pool_max_conn_idle_time=1s";
        let lease = lease_by(client, &tenant);
        match self.fails(&lease) {
            Some(error) if error.reason != "BACKEND_LOST" || !error.message.contains(part) => {
                return Some(format!("{name}: {error} instead of {part:?}"));
            }
            Some(_) => {}
            None => {
                let closed = format!("tenant={name} pid=258 reason=reset_failed");
                eventually(&closed, || service.log().text().contains(&closed));
            }
        }
        // Whoever comes next has another connection.
        let next = lease_by(client, &tenant);
        next.run(&["plain"]);
        next.release();
        let sessions = fake.sessions();
        (sessions != 2).then(|| format!("{name}: {sessions} sessions"))
    }

    /// The server does this evil at this moment. What it has got away with.
    pub fn meets(self, service: &Service, client: &Client, evil: &Evil) -> Option<String> {
        let says = evil.says;
        let hung_up = Arc::<AtomicBool>::default();
        let seen = Arc::clone(&hung_up);
        let fake = self.server(move |talk| {
            says(talk);
            talk.stall();
            seen.store(true, Ordering::SeqCst);
        });
        let name = format!("{self:?}-{}", evil.name);
        let goes_wrong = self.costs_one(service, client, &fake, (&name, evil.part));
        if goes_wrong.is_none() {
            eventually("the service has hung up", || hung_up.load(Ordering::SeqCst));
        }
        goes_wrong
    }

    /// The server says the beginning of a message at this moment, and closes.
    pub fn is_cut_off(
        self,
        service: &Service,
        client: &Client,
        (kind, part): (u8, &[u8]),
    ) -> Option<String> {
        let name = format!("{self:?}-{kind}-{}", part.len());
        let part = part.to_vec();
        let fake = self.server(move |talk| {
            talk.say(&part);
            talk.hang_up();
        });
        self.costs_one(service, client, &fake, (&name, ""))
    }
}
