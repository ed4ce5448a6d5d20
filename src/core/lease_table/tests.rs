//! The table case by case, and against a model that knows no index.

use super::super::testing::{ms, start, Xorshift};
use super::*;
use std::collections::BTreeSet;

/// A session cannot be copied, so that the compiler sees to it that it is in one place.
#[derive(Debug, PartialEq, Eq)]
struct Session(u32);

type Table = LeaseTable<Session, u32>;

const AGE: Duration = Duration::from_secs(600);
const TERMS: Terms = Terms {
    ttl: Duration::from_millis(100),
    idle_in_transaction: Duration::from_millis(40),
    max_lifetime: Duration::from_millis(1000),
};

fn tenant() -> TenantId {
    TenantId::parse("shop").unwrap()
}

fn id(n: u32) -> ConnectionId {
    ConnectionId::new(&tenant(), u128::from(n).to_be_bytes())
}

fn facts(n: u32) -> Facts {
    Facts {
        lease_name: format!("lease-{n}"),
        tenant: tenant(),
        backend_pid: n as i32,
        fencing_token: u64::from(n),
        holder: "me".to_string(),
    }
}

fn tombstone(n: u32, reason: EndReason, ended_at: Instant) -> Tombstone {
    Tombstone { lease_name: format!("lease-{n}"), tenant: tenant(), reason, ended_at }
}

/// A table with lease 1, granted at `t0`.
fn one_lease(t0: Instant) -> Table {
    let mut table = Table::new(10, AGE);
    let view = table.grant(id(1), facts(1), TERMS, Session(1), t0);
    assert_eq!((view.state, view.ttl_remaining), (LeaseState::Idle, ms(100)));
    table
}

/// The same while an operation runs that began at `t0`.
fn one_busy_lease(t0: Instant) -> Table {
    let mut table = one_lease(t0);
    assert_eq!(table.begin(&id(1), 7, t0).unwrap().0, Session(1));
    table
}

fn ended(n: u32, reason: EndReason, at: Instant) -> Denied {
    Denied::Ended(tombstone(n, reason, at))
}

#[test]
fn an_operation_moves_the_session_out_and_back() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let denied = table.begin(&id(1), 8, t0).unwrap_err();
    assert!(matches!(denied, Denied::Busy(view) if view.state == LeaseState::Busy));
    let Ended::Kept(view) = table.end(&id(1), Session(1), TransactionState::None, t0 + ms(30))
    else {
        panic!("the lease should go on");
    };
    assert_eq!((view.ttl_remaining, view.lifetime_remaining), (ms(100), ms(970)));
    assert_eq!(view.last_used_at, t0 + ms(30));
    assert_eq!(table.release(&id(1), t0 + ms(30)).unwrap().0, Session(1));
    assert!(table.is_empty());
}

#[test]
fn an_unknown_id_is_not_found() {
    let t0 = start();
    let mut table = one_lease(t0);
    assert_eq!(table.begin(&id(2), 7, t0), Err(Denied::NotFound));
    assert_eq!(table.release(&id(2), t0), Err(Denied::NotFound));
    assert_eq!(table.revoke(&id(2), EndReason::Revoked, t0), Err(Denied::NotFound));
    assert_eq!(table.renew(&id(2), None, t0), Err(Denied::NotFound));
    assert_eq!(table.view(&id(2), t0), Err(Denied::NotFound));
    assert_eq!(table.lost(&id(2), EndReason::BackendLost, t0), None);
}

#[test]
fn a_session_nobody_began_with_is_handed_back() {
    let t0 = start();
    let mut table = one_lease(t0);
    for n in [1, 2] {
        let outcome = table.end(&id(n), Session(9), TransactionState::None, t0);
        assert_eq!(outcome, Ended::Unknown(Session(9)));
    }
    assert_eq!(table.begin(&id(1), 7, t0).unwrap().0, Session(1));
}

#[test]
fn a_lease_whose_ttl_ran_out_is_over_before_the_reaper_comes() {
    let t0 = start();
    let mut table = one_lease(t0);
    let over = Err(ended(1, EndReason::Ttl, t0 + ms(100)));
    assert!(table.view(&id(1), t0 + ms(99)).is_ok());
    let late = t0 + ms(150);
    assert_eq!(table.begin(&id(1), 7, late).map(drop), over);
    assert_eq!(table.renew(&id(1), Some(ms(900)), late).map(drop), over);
    assert_eq!(table.release(&id(1), late).map(drop), over);
    assert_eq!(table.revoke(&id(1), EndReason::Revoked, late).map(drop), over);
    assert_eq!(table.view(&id(1), late).map(drop), over);
    assert_eq!((table.len(), table.next_deadline()), (1, Some(t0 + ms(100))));
    let due = table.due(late, 10);
    assert!(matches!(&due[..], [Due::Over { session: Session(1), reason: EndReason::Ttl, .. }]));
    assert_eq!(table.begin(&id(1), 7, late).map(drop), over);
    assert_eq!((table.len(), table.next_deadline()), (0, None));
}

#[test]
fn a_busy_lease_does_not_end_by_ttl() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    assert!(table.due(t0 + ms(999), 10).is_empty());
    assert_eq!(table.view(&id(1), t0 + ms(999)).unwrap().ttl_remaining, ms(100));
    let outcome = table.end(&id(1), Session(1), TransactionState::None, t0 + ms(500));
    assert!(matches!(outcome, Ended::Kept(_)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(600)));
}

#[test]
fn a_renewal_restarts_the_ttl_but_not_the_transaction_clock() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let outcome = table.end(&id(1), Session(1), TransactionState::Failed, t0 + ms(10));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, Some(t0 + ms(10)));
    let view = table.renew(&id(1), Some(ms(300)), t0 + ms(30)).unwrap();
    assert_eq!((view.ttl, view.ttl_remaining), (ms(300), ms(300)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(50)));
    let denied = table.begin(&id(1), 7, t0 + ms(50)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::IdleInTransaction, t0 + ms(50)));
}

#[test]
fn an_operation_restarts_the_transaction_clock_but_the_transaction_keeps_its_age() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let _ = table.end(&id(1), Session(1), TransactionState::Open, t0 + ms(10));
    let (session, _) = table.begin(&id(1), 7, t0 + ms(40)).unwrap();
    let outcome = table.end(&id(1), session, TransactionState::Open, t0 + ms(45));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, Some(t0 + ms(10)));
    assert_eq!(table.next_deadline(), Some(t0 + ms(85)));
    let (session, _) = table.begin(&id(1), 7, t0 + ms(50)).unwrap();
    let outcome = table.end(&id(1), session, TransactionState::None, t0 + ms(55));
    let Ended::Kept(view) = outcome else { panic!("the lease should go on") };
    assert_eq!(view.transaction_since, None);
    assert_eq!(table.next_deadline(), Some(t0 + ms(155)));
}

#[test]
fn a_busy_lease_past_its_lifetime_is_overdue_once_and_ends_with_its_operation() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let due = table.due(t0 + ms(1000), 10);
    assert!(matches!(&due[..], [Due::Overdue { handle: 7, .. }]));
    assert!(table.due(t0 + ms(2000), 10).is_empty());
    assert_eq!(table.next_deadline(), None);
    let outcome = table.end(&id(1), Session(1), TransactionState::None, t0 + ms(2000));
    assert!(matches!(outcome, Ended::Over { reason: EndReason::MaxLifetime, .. }));
    let denied = table.view(&id(1), t0 + ms(2000)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::MaxLifetime, t0 + ms(2000)));
}

#[test]
fn an_operation_that_ends_past_the_lifetime_ends_the_lease_though_nobody_looked() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    let outcome = table.end(&id(1), Session(1), TransactionState::None, t0 + ms(1000));
    assert!(matches!(outcome, Ended::Over { reason: EndReason::MaxLifetime, .. }));
}

#[test]
fn a_lease_cannot_be_renewed_past_its_lifetime() {
    let t0 = start();
    let mut table = one_lease(t0);
    for n in 1..=13 {
        table.renew(&id(1), None, t0 + ms(75 * n)).unwrap();
    }
    let denied = table.renew(&id(1), None, t0 + ms(1000)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::MaxLifetime, t0 + ms(1000)));
}

#[test]
fn the_first_reason_to_end_a_busy_lease_stays() {
    let t0 = start();
    let mut table = one_busy_lease(t0);
    for reason in [EndReason::Revoked, EndReason::TenantRemoved] {
        let revoked = table.revoke(&id(1), reason, t0).unwrap();
        assert!(matches!(revoked, Revoked::Ending { handle: 7, .. }));
    }
    let (idle, busy) = table.end_all(EndReason::Shutdown, t0);
    assert_eq!((idle.len(), busy.len()), (0, 1));
    let (view, reason) = table.lost(&id(1), EndReason::BackendLost, t0 + ms(5)).unwrap();
    assert_eq!((view.state, reason), (LeaseState::Busy, EndReason::Revoked));
    let outcome = table.end(&id(1), Session(1), TransactionState::None, t0 + ms(6));
    assert_eq!(outcome, Ended::Unknown(Session(1)));
    let denied = table.release(&id(1), t0 + ms(6)).unwrap_err();
    assert_eq!(denied, ended(1, EndReason::Revoked, t0 + ms(5)));
}

#[test]
fn ending_all_takes_idle_sessions_out_and_names_the_running_operations() {
    let t0 = start();
    let mut table = Table::new(10, AGE);
    for n in 1..=4 {
        let ttl = if n == 3 { ms(10) } else { ms(100) };
        let _ = table.grant(id(n), facts(n), Terms { ttl, ..TERMS }, Session(n), t0);
    }
    table.begin(&id(2), 22, t0).unwrap();
    let now = t0 + ms(50);
    let (idle, busy) = table.end_all(EndReason::Shutdown, now);
    let sessions: Vec<u32> = idle.iter().map(|(session, _)| session.0).collect();
    let handles: Vec<u32> = busy.iter().map(|(handle, _)| *handle).collect();
    assert_eq!((sessions, handles), (vec![1, 3, 4], vec![22]));
    assert_eq!(table.view(&id(1), now), Err(ended(1, EndReason::Shutdown, now)));
    assert_eq!(table.view(&id(3), now), Err(ended(3, EndReason::Ttl, t0 + ms(10))));
    let outcome = table.end(&id(2), Session(2), TransactionState::None, now);
    assert!(matches!(outcome, Ended::Over { reason: EndReason::Shutdown, .. }));
    assert!(table.is_empty());
}

#[test]
fn tombstones_are_bounded_in_number_and_in_age() {
    let t0 = start();
    let mut table = Table::new(2, ms(500));
    for n in 1..=3 {
        let _ = table.grant(id(n), facts(n), TERMS, Session(n), t0);
        table.release(&id(n), t0 + ms(u64::from(n))).unwrap();
    }
    assert_eq!(table.view(&id(1), t0 + ms(9)), Err(Denied::NotFound));
    let late = t0 + ms(502);
    assert_eq!(table.view(&id(2), late), Err(ended(2, EndReason::Released, t0 + ms(2))));
    assert_eq!(table.view(&id(2), late + ms(1)), Err(Denied::NotFound));
    assert_eq!(table.tombstones.by_id.len(), 2);
    assert!(table.due(late + ms(1), 10).is_empty());
    assert_eq!((table.tombstones.by_id.len(), table.tombstones.order.len()), (1, 1));
}

#[test]
fn clocks_too_long_to_tell_never_run_out() {
    let t0 = start();
    let forever = Duration::MAX;
    let terms = Terms { ttl: forever, idle_in_transaction: forever, max_lifetime: forever };
    let mut table = Table::new(0, forever);
    let view = table.grant(id(1), facts(1), terms, Session(1), t0);
    assert_eq!((view.ttl_remaining, table.next_deadline()), (forever, None));
    table.release(&id(1), t0).unwrap();
    assert_eq!(table.view(&id(1), t0), Err(Denied::NotFound));
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: BTreeSet<&str> = EndReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), 9);
    assert!(names.iter().all(|name| name.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
}

/// A lease as the model knows it.
#[derive(Clone, Copy)]
struct Known {
    n: u32,
    terms: Terms,
    granted_at: Instant,
    used_at: Instant,
    ttl_from: Instant,
    transaction: TransactionState,
    since: Option<Instant>,
    busy: bool,
    ending: Option<EndReason>,
    overdue: bool,
}

impl Known {
    /// The end of the idle lease, its reason, if `now` is not before it.
    fn over(&self, now: Instant) -> Option<(Instant, EndReason)> {
        let mut end = (self.granted_at + self.terms.max_lifetime, EndReason::MaxLifetime);
        let transaction_end = self.used_at + self.terms.idle_in_transaction;
        if self.transaction != TransactionState::None && transaction_end < end.0 {
            end = (transaction_end, EndReason::IdleInTransaction);
        }
        let ttl_end = self.ttl_from + self.terms.ttl;
        if ttl_end < end.0 {
            end = (ttl_end, EndReason::Ttl);
        }
        (!self.busy && end.0 <= now).then_some(end)
    }

    fn outlived(&self, now: Instant) -> bool {
        self.granted_at + self.terms.max_lifetime <= now
    }

    fn view(&self, now: Instant) -> View {
        let left = |clock: Duration, from: Instant| (from + clock).saturating_duration_since(now);
        View {
            facts: facts(self.n),
            state: if self.busy { LeaseState::Busy } else { LeaseState::Idle },
            transaction: self.transaction,
            ttl: self.terms.ttl,
            ttl_remaining: match self.busy {
                true => self.terms.ttl,
                false => left(self.terms.ttl, self.ttl_from),
            },
            lifetime_remaining: left(self.terms.max_lifetime, self.granted_at),
            granted_at: self.granted_at,
            last_used_at: self.used_at,
            transaction_since: self.since,
        }
    }
}

/// The table again: lists, searched from end to end.
struct Model {
    max_tombstones: usize,
    age: Duration,
    live: Vec<Known>,
    graves: Vec<Tombstone>,
    /// Sessions that came out for good.
    out: BTreeSet<u32>,
}

impl Model {
    /// The index of a lease that is not over, or the answer for its id.
    fn find(&self, n: u32, now: Instant) -> Result<usize, Denied> {
        if let Some(index) = self.live.iter().position(|known| known.n == n) {
            return match self.live[index].over(now) {
                Some((at, reason)) => Err(ended(n, reason, at)),
                None => Ok(index),
            };
        }
        let remembered = self.graves.iter().rev().take(self.max_tombstones);
        let name = format!("lease-{n}");
        let mut remembered = remembered.filter(|grave| now <= grave.ended_at + self.age);
        match remembered.find(|grave| grave.lease_name == name) {
            Some(grave) => Err(Denied::Ended(grave.clone())),
            None => Err(Denied::NotFound),
        }
    }

    fn bury(&mut self, index: usize, reason: EndReason, at: Instant) -> Known {
        let known = self.live.remove(index);
        self.graves.push(tombstone(known.n, reason, at));
        assert!(self.out.insert(known.n), "session {} came out twice", known.n);
        known
    }

    /// What `due` has to return, as (lease, reason) with no reason for an overdue one.
    fn due(&mut self, now: Instant, limit: usize) -> Vec<(u32, Option<EndReason>)> {
        let mut due: Vec<(Instant, u32, Option<EndReason>)> = Vec::new();
        for known in &self.live {
            if let Some((at, reason)) = known.over(now) {
                due.push((at, known.n, Some(reason)));
            } else if known.busy && known.outlived(now) && !known.overdue {
                due.push((known.granted_at + known.terms.max_lifetime, known.n, None));
            }
        }
        due.sort_by_key(|(at, n, _)| (*at, *n));
        due.truncate(limit);
        for (at, n, reason) in &due {
            let index = self.live.iter().position(|known| known.n == *n).unwrap();
            match reason {
                Some(reason) => drop(self.bury(index, *reason, *at)),
                None => {
                    self.live[index].overdue = true;
                    self.live[index].ending.get_or_insert(EndReason::MaxLifetime);
                }
            }
        }
        due.into_iter().map(|(_, n, reason)| (n, reason)).collect()
    }
}

/// A table, its model, and the operations that run.
struct Run {
    random: Xorshift,
    table: Table,
    model: Model,
    running: Vec<Session>,
    granted: u32,
    now: Instant,
}

impl Run {
    fn new(seed: u64) -> Run {
        let (max_tombstones, age) = (5, ms(150));
        Run {
            random: Xorshift::new(seed),
            table: LeaseTable::new(max_tombstones, age),
            model: Model {
                max_tombstones,
                age,
                live: vec![],
                graves: vec![],
                out: BTreeSet::new(),
            },
            running: Vec::new(),
            granted: 0,
            now: start(),
        }
    }

    fn step(&mut self) {
        self.now += ms(self.random.below(4));
        // Mostly a lease of late, sometimes one long gone or not yet granted.
        let n = (self.granted + 2).saturating_sub(self.random.below(14) as u32);
        match self.random.below(40) {
            0..=5 if self.table.len() < 10 => self.grant(),
            6..=13 => self.begin(n),
            14..=20 => self.end(),
            21 => self.lose(n),
            22..=24 => self.release(n),
            25 | 26 => self.revoke(n),
            27..=29 => self.renew(n),
            30..=36 => self.reap(),
            37 if self.random.below(60) == 0 => self.end_all(EndReason::TenantRemoved),
            _ => {}
        }
        self.compare(n);
    }

    fn grant(&mut self) {
        self.granted += 1;
        let (n, now) = (self.granted, self.now);
        let terms = Terms {
            ttl: ms(20 + self.random.below(40)),
            idle_in_transaction: ms(10 + self.random.below(30)),
            max_lifetime: ms(50 + self.random.below(150)),
        };
        let known = Known {
            n,
            terms,
            granted_at: now,
            used_at: now,
            ttl_from: now,
            transaction: TransactionState::None,
            since: None,
            busy: false,
            ending: None,
            overdue: false,
        };
        self.model.live.push(known);
        let view = self.table.grant(id(n), facts(n), terms, Session(n), now);
        assert_eq!(view, known.view(now));
    }

    /// The model's lease if it is neither over nor busy, or the answer for its id.
    fn find_idle(&self, n: u32) -> Result<usize, Denied> {
        let index = self.model.find(n, self.now)?;
        let known = self.model.live[index];
        match known.busy {
            true => Err(Denied::Busy(Box::new(known.view(self.now)))),
            false => Ok(index),
        }
    }

    fn begin(&mut self, n: u32) {
        let now = self.now;
        let begun = self.table.begin(&id(n), n + 1000, now);
        match self.find_idle(n) {
            Err(denied) => assert_eq!(begun, Err(denied)),
            Ok(index) => {
                let known = &mut self.model.live[index];
                (known.busy, known.ending, known.overdue) = (true, None, false);
                (known.used_at, known.ttl_from) = (now, now);
                let (session, view) = begun.unwrap();
                assert_eq!((session.0, view), (n, known.view(now)));
                assert!(!self.running.contains(&session), "session {n} is in two places");
                self.running.push(session);
            }
        }
    }

    fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let session = self.running.remove(self.random.below(self.running.len() as u64) as usize);
        let (n, now) = (session.0, self.now);
        let states = [TransactionState::None, TransactionState::Open, TransactionState::Failed];
        let transaction = states[self.random.below(3) as usize];
        let index = self.model.find(n, now).unwrap();
        let known = &mut self.model.live[index];
        let outlived = known.outlived(now).then_some(EndReason::MaxLifetime);
        let reason = known.ending.or(outlived);
        known.busy = false;
        (known.used_at, known.ttl_from, known.transaction) = (now, now, transaction);
        known.since = match transaction {
            TransactionState::None => None,
            _ => known.since.or(Some(now)),
        };
        let view = known.view(now);
        let outcome = self.table.end(&id(n), session, transaction, now);
        match reason {
            Some(reason) => {
                self.model.bury(index, reason, now);
                assert_eq!(outcome, Ended::Over { session: Session(n), view, reason });
            }
            None => assert_eq!(outcome, Ended::Kept(view)),
        }
    }

    fn lose(&mut self, n: u32) {
        let now = self.now;
        let lost = self.table.lost(&id(n), EndReason::BackendLost, now);
        match self.model.find(n, now) {
            Ok(index) if self.model.live[index].busy => {
                self.running.retain(|session| session.0 != n);
                let reason = self.model.live[index].ending.unwrap_or(EndReason::BackendLost);
                let known = self.model.bury(index, reason, now);
                assert_eq!(lost, Some((known.view(now), reason)));
            }
            _ => assert_eq!(lost, None),
        }
    }

    fn release(&mut self, n: u32) {
        let now = self.now;
        let released = self.table.release(&id(n), now);
        match self.find_idle(n) {
            Err(denied) => assert_eq!(released, Err(denied)),
            Ok(index) => {
                let known = self.model.bury(index, EndReason::Released, now);
                assert_eq!(released, Ok((Session(n), known.view(now))));
            }
        }
    }

    fn revoke(&mut self, n: u32) {
        let now = self.now;
        let reason = EndReason::ALL[self.random.below(EndReason::ALL.len() as u64) as usize];
        let revoked = self.table.revoke(&id(n), reason, now);
        match self.model.find(n, now) {
            Err(denied) => assert_eq!(revoked, Err(denied)),
            Ok(index) if self.model.live[index].busy => {
                let known = &mut self.model.live[index];
                known.ending.get_or_insert(reason);
                let ending = Revoked::Ending { handle: n + 1000, view: known.view(now) };
                assert_eq!(revoked, Ok(ending));
            }
            Ok(index) => {
                let view = self.model.bury(index, reason, now).view(now);
                assert_eq!(revoked, Ok(Revoked::Over { session: Session(n), view }));
            }
        }
    }

    fn renew(&mut self, n: u32) {
        let now = self.now;
        let ttl = (self.random.below(2) == 0).then(|| ms(20 + self.random.below(40)));
        let renewed = self.table.renew(&id(n), ttl, now);
        match self.model.find(n, now) {
            Err(denied) => assert_eq!(renewed, Err(denied)),
            Ok(index) => {
                let known = &mut self.model.live[index];
                known.ttl_from = now;
                known.terms.ttl = ttl.unwrap_or(known.terms.ttl);
                assert_eq!(renewed, Ok(known.view(now)));
            }
        }
    }

    fn reap(&mut self) {
        let limit = self.random.below(4) as usize;
        let due = self.table.due(self.now, limit);
        let came_out = due.into_iter().map(|due| match due {
            Due::Over { id: whose, session, view, reason } => {
                assert_eq!((whose, view.facts), (id(session.0), facts(session.0)));
                (session.0, Some(reason))
            }
            Due::Overdue { id: whose, handle, view } => {
                assert_eq!((whose, view.state), (id(handle - 1000), LeaseState::Busy));
                (handle - 1000, None)
            }
        });
        assert_eq!(came_out.collect::<Vec<_>>(), self.model.due(self.now, limit));
    }

    fn end_all(&mut self, reason: EndReason) {
        let now = self.now;
        let (idle, busy) = self.table.end_all(reason, now);
        let (mut sessions, mut handles) = (Vec::new(), Vec::new());
        for known in self.model.live.clone() {
            let index = self.model.live.iter().position(|other| other.n == known.n).unwrap();
            if known.busy {
                self.model.live[index].ending.get_or_insert(reason);
                handles.push((known.n + 1000, known.view(now)));
            } else {
                let (at, reason) = known.over(now).unwrap_or((now, reason));
                self.model.bury(index, reason, at);
                sessions.push((Session(known.n), known.view(now)));
            }
        }
        assert_eq!((idle, busy), (sessions, handles));
    }

    fn compare(&self, n: u32) {
        let (table, model, now) = (&self.table, &self.model, self.now);
        let views: Vec<View> = model.live.iter().map(|known| known.view(now)).collect();
        assert_eq!(table.views(now), views);
        assert_eq!((table.len(), table.is_empty()), (views.len(), views.is_empty()));
        let found = model.find(n, now).map(|index| model.live[index].view(now));
        assert_eq!(table.view(&id(n), now), found);
        let busy = model.live.iter().filter(|known| known.busy).count();
        assert_eq!(busy, self.running.len());
        assert_eq!(self.granted as usize, model.live.len() + model.out.len());
        assert!(table.tombstones.order.len() <= model.max_tombstones);
        assert_eq!(table.tombstones.order.len(), table.tombstones.by_id.len());
        assert_eq!(table.numbers.len(), table.leases.len());
        assert!(table.deadlines.len() <= table.leases.len());
    }
}

#[test]
fn random_runs_agree_with_a_plain_list_and_every_session_is_in_one_place() {
    for seed in 1..=10 {
        let mut run = Run::new(seed);
        for _ in 0..6_000 {
            run.step();
        }
        assert!(run.granted > 300, "too little happened: {}", run.granted);
        run.end_all(EndReason::Shutdown);
        while !run.running.is_empty() {
            run.end();
        }
        run.compare(1);
        assert!(run.table.is_empty() && run.table.next_deadline().is_none());
        assert_eq!(run.model.out.len(), run.granted as usize);
    }
}
