//! One thread of a schedule.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::super::fakes::Census;
use super::super::world::{resize, swap, wait_for, WAIT};
use super::{Counts, Scene};
use crate::backend::statement::Statement;
use crate::clock;
use crate::core::ids::ConnectionId;
use crate::core::lease_table::{EndReason, Terms, Via};
use crate::core::testing::Xorshift;
use crate::error::{CancelCause, RequestError};
use crate::pool::ask::Ask;
use crate::pool::caller::Caller;
use crate::pool::checkout::Checkout;
use crate::pool::grant::Grant;
use crate::pool::job::Job;
use crate::pool::on_lease::OnLease;
use crate::pool::requests::responder::{PendingAnswer, Responder};

use crate::pool::work::kept::{BufferedResult, ResultLimits};
use crate::pool::work::task::{Executed, Request};
use crate::threads::agenda::DueSource;

/// How often an actor looks before it does something else.
const LOOKS: u32 = 200;

pub(super) struct Actor<'a> {
    scene: &'a Scene,
    random: Xorshift,
    acquiring: Vec<(Arc<Caller>, PendingAnswer<Grant>)>,
    executing: Vec<(Arc<Caller>, PendingAnswer<Executed>)>,
    ran: usize,
}

/// Counts a request as answered, when the one closure that can answer it has
/// been used or is dropped.
struct Count {
    census: Arc<Census>,
    counts: Arc<Counts>,
}

impl Count {
    fn look_at(&self, checkout: &Result<Checkout, RequestError>) {
        let backend = checkout.as_ref().map(|checkout| &*checkout.taken.backend);
        let dirty = backend.is_ok_and(|backend| self.census.is_dirty(backend));
        self.counts.dirty.fetch_add(usize::from(dirty), Ordering::SeqCst);
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.counts.answered.fetch_add(1, Ordering::SeqCst);
    }
}

impl<'a> Actor<'a> {
    pub(super) fn new(scene: &'a Scene, random: Xorshift) -> Actor<'a> {
        Actor { scene, random, acquiring: Vec::new(), executing: Vec::new(), ran: 0 }
    }

    pub(super) fn step(&mut self) {
        let (tenant, leases) = (&self.scene.world.tenant, &self.scene.leases);
        match self.random.below(400) {
            0..=59 => self.acquire(),
            60..=89 => self.once(),
            90..=179 => self.listen(),
            180..=189 => self.leave(),
            190..=299 => self.execute(),
            300..=324 => self.release(),
            325..=332 => self.revoke(),
            333..=342 => self.renew(),
            343..=360 => {
                let _ = tenant.maintain(self.later(605));
            }
            361..=370 => drop(leases.expire(self.later(120), 2)),
            371..=382 => drop(tenant.act(self.later(90), 2)),
            383..=391 => {
                let alarms = &self.scene.world.context.tools.alarms;
                alarms.run_due(self.later(90), 1);
            }
            392 => swap(tenant),
            393..=394 => {
                let permits = 1 + self.random.below(self.scene.settings.max_connections as u64);
                resize(tenant, permits as usize, self.random.below(8) as usize);
            }
            395 if self.random.below(4) == 0 => leases.end_all(EndReason::TenantRemoved),
            396 if self.random.below(8) == 0 => tenant.drain(),
            397 if self.random.below(8) == 0 => tenant.close_all(),
            _ => std::thread::yield_now(),
        }
    }

    /// Some moment up to `seconds` from now, so that nothing has to wait for the clock.
    fn later(&mut self, seconds: u64) -> std::time::Instant {
        clock::now() + self.seconds(seconds)
    }

    fn seconds(&mut self, below: u64) -> Duration {
        Duration::from_secs(self.random.below(below))
    }

    /// A request for a lease, as the service makes it.
    fn acquire(&mut self) {
        let terms = Terms {
            ttl: WAIT + self.seconds(120),
            idle_in_transaction: WAIT,
            max_lifetime: WAIT + self.seconds(120),
        };
        let (responder, answer) = Responder::new();
        let leases = Arc::clone(&self.scene.leases);
        let (caller, count) = (Caller::nobody(), self.count());
        let job = Job::new(&caller, move |checkout| {
            count.look_at(&checkout);
            let ask = Ask { terms, holder: String::new(), peer: String::new(), owner: None };
            let granted = checkout.and_then(|checkout| leases.grant(checkout, ask));
            drop(responder.send(granted));
        });
        self.admit(job);
        self.acquiring.push((caller, answer));
    }

    /// A request that needs a backend once, and does something with it.
    fn once(&mut self) {
        let (ending, count) = (self.random.below(16), self.count());
        let job = Job::new(&Caller::nobody(), move |checkout| {
            count.look_at(&checkout);
            let Ok(mut checkout) = checkout else { return };
            let limits = ResultLimits { max_bytes: 1, max_rows: None };
            let mut kept = BufferedResult::new(limits, &|| (), &|| true);
            let _ = checkout.taken.backend.run(&statement(), &mut kept);
            match ending {
                0 => panic!("injected in a one-shot"),
                1..=3 => Checkout::discard(checkout, "test"),
                4..=6 => drop(checkout),
                7..=9 => Checkout::settle(checkout),
                _ => checkout.reset(),
            }
        });
        self.admit(job);
    }

    fn count(&self) -> Count {
        self.scene.counts.asked.fetch_add(1, Ordering::SeqCst);
        let census = Arc::clone(&self.scene.world.census);
        Count { census, counts: Arc::clone(&self.scene.counts) }
    }

    fn admit(&mut self, job: Job) {
        let wait = if self.random.below(4) == 0 { Duration::ZERO } else { WAIT };
        if let Err(back) = self.scene.world.tenant.admit(job, wait) {
            (back.deliver)(Err(RequestError::Draining));
        }
    }

    /// Looks out for an answer for a while, so that the workers come to something.
    fn listen(&mut self) {
        let asked = self.acquiring.len() + self.executing.len();
        for _ in 0..LOOKS {
            self.hear();
            if self.acquiring.len() + self.executing.len() < asked {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Hears what has been answered so far.
    fn hear(&mut self) {
        let (random, heard) = (&mut self.random, &self.scene.heard);
        self.acquiring.retain_mut(|(_, answer)| match arrived(answer) {
            None => true,
            Some(Err(_)) => false,
            Some(Ok(grant)) => {
                if random.below(8) > 0 {
                    heard.lock().push(grant.id);
                    grant.undelivered.delivered();
                }
                false
            }
        });
        let ran = &mut self.ran;
        self.executing.retain_mut(|(_, answer)| {
            let arrived = arrived(answer);
            *ran += usize::from(matches!(arrived, Some(Ok(_))));
            arrived.is_none()
        });
    }

    /// A caller leaves; it may listen on or not.
    fn leave(&mut self) {
        let (listens, random) = (self.random.below(2) == 0, &mut self.random);
        if let Some(n) = pick(random, self.acquiring.len()) {
            self.acquiring[n].0.leave();
            if !listens {
                drop(self.acquiring.swap_remove(n));
            }
        }
        if let Some(n) = pick(random, self.executing.len()) {
            self.executing[n].0.leave();
        }
    }

    fn execute(&mut self) {
        let Some(id) = self.lease() else { return };
        let request = Request {
            statements: (0..1 + self.random.below(3)).map(|_| statement()).collect(),
            atomic: false,
            timeout: self.seconds(120),
            max_rows: None,
            max_bytes: 1,
        };
        let release_after = self.random.below(6) == 0;
        let (responder, answer) = Responder::new();
        let caller = Caller::nobody();
        let on_lease = OnLease {
            leases: Arc::clone(&self.scene.leases),
            context: Arc::clone(&self.scene.world.context),
            id,
            via: Via::Call,
            work: request.into(),
            release_after,
            caller: Arc::clone(&caller),
            responder,
        };
        on_lease.begin();
        self.executing.push((caller, answer));
    }

    fn release(&mut self) {
        let force = self.random.below(2) == 0;
        if let Some(id) = self.lease() {
            let released = self.scene.leases.release(&id, force);
            assert!(is_known(&released), "a lease that was heard of is not found");
        }
    }

    fn revoke(&mut self) {
        if let Some(id) = self.lease() {
            let by = CancelCause::Release;
            let revoked = self.scene.leases.revoke(&id, EndReason::Revoked, by);
            assert!(revoked.is_ok(), "nothing but a lease that never was is denied this");
        }
    }

    fn renew(&mut self) {
        let ttl = self.seconds(120);
        if let Some(id) = self.lease() {
            let renewed = self.scene.leases.renew(&id, Some(ttl));
            assert!(is_known(&renewed), "a lease that was heard of is not found");
        }
    }

    /// One of the leases that anybody has heard of. Some of them are over, but not most.
    fn lease(&mut self) -> Option<ConnectionId> {
        let n = pick(&mut self.random, self.scene.heard.lock().len())?;
        let id = self.scene.heard.lock().get(n).cloned()?;
        let over = matches!(self.scene.leases.renew(&id, None), Err(RequestError::LeaseEnded(_)));
        if over && self.random.below(2) == 0 {
            self.scene.heard.lock().retain(|other| *other != id);
        }
        Some(id)
    }

    /// Hears every answer; how many requests ran their SQL.
    pub(super) fn hear_all(mut self) -> usize {
        wait_for(|| {
            // Those who try again after a pause.
            self.scene.world.context.tools.alarms.run_due(clock::now() + WAIT, 1);
            self.hear();
            self.acquiring.is_empty() && self.executing.is_empty()
        });
        self.ran
    }
}

/// What was answered, if anything was. A responder that goes without a word is a defect.
fn arrived<T>(answer: &mut PendingAnswer<T>) -> Option<Result<T, RequestError>> {
    answer.try_recv().expect("every responder answers")
}

fn pick(random: &mut Xorshift, count: usize) -> Option<usize> {
    (count > 0).then(|| random.below(count as u64) as usize)
}

fn statement() -> Statement {
    Statement::new("select 1", Vec::new())
}

fn is_known<T>(outcome: &Result<T, RequestError>) -> bool {
    !matches!(outcome, Err(RequestError::LeaseNotFound))
}
