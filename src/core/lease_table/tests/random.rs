//! The table against its model.

use super::super::super::ids::TenantId;
use super::super::Summary;
use super::model::{Known, Model};
use super::*;
use std::collections::BTreeSet;

/// A table, its model, and the operations that run.
struct Run {
    random: Xorshift,
    table: Table,
    model: Model,
    running: Vec<Checkout>,
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
        let view = self.table.grant(id(n), facts(n), terms, Checkout(n), now);
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
        let begun = self.table.begin(&id(n), Via::Call, n + 1000, now);
        match self.find_idle(n) {
            Err(denied) => assert_eq!(begun, Err(denied)),
            Ok(index) => {
                let known = &mut self.model.live[index];
                (known.busy, known.ending, known.overdue) = (true, None, false);
                (known.used_at, known.ttl_from) = (now, now);
                let (checkout, view) = begun.unwrap();
                assert_eq!((checkout.0, view), (n, known.view(now)));
                assert!(!self.running.contains(&checkout), "checkout {n} is in two places");
                self.running.push(checkout);
            }
        }
    }

    fn end(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let checkout = self.running.remove(self.random.below(self.running.len() as u64) as usize);
        let (n, now) = (checkout.0, self.now);
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
        let outcome = self.table.end(&id(n), checkout, transaction, now);
        match reason {
            Some(reason) => {
                self.model.bury(index, reason, now);
                assert_eq!(outcome, Ended::Over { checkout: Checkout(n), view, reason });
            }
            None => assert_eq!(outcome, Ended::Kept(view)),
        }
    }

    fn lose(&mut self, n: u32) {
        let now = self.now;
        let lost = self.table.lost(&id(n), EndReason::BackendLost, now);
        match self.model.find(n, now) {
            Ok(index) if self.model.live[index].busy => {
                self.running.retain(|checkout| checkout.0 != n);
                let reason = self.model.live[index].ending.unwrap_or(EndReason::BackendLost);
                let known = self.model.bury(index, reason, now);
                assert_eq!(lost, Some((known.view(now), reason)));
            }
            _ => assert_eq!(lost, None),
        }
    }

    fn release(&mut self, n: u32) {
        let now = self.now;
        let released = self.table.release(&id(n), Via::Call, now);
        match self.find_idle(n) {
            Err(denied) => assert_eq!(released, Err(denied)),
            Ok(index) => {
                let known = self.model.bury(index, EndReason::Released, now);
                assert_eq!(released, Ok((Checkout(n), known.view(now))));
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
                assert_eq!(revoked, Ok(Revoked::Over { checkout: Checkout(n), view }));
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
            Due::Over { id: whose, checkout, view, reason } => {
                assert_eq!((whose, &*view.facts), (id(checkout.0), &facts(checkout.0)));
                (checkout.0, Some(reason))
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
        let (mut checkouts, mut handles) = (Vec::new(), Vec::new());
        for known in self.model.live.clone() {
            let index = self.model.live.iter().position(|other| other.n == known.n).unwrap();
            if known.busy {
                self.model.live[index].ending.get_or_insert(reason);
                handles.push((known.n + 1000, known.view(now)));
            } else {
                let (at, reason) = known.over(now).unwrap_or((now, reason));
                self.model.bury(index, reason, at);
                checkouts.push((Checkout(known.n), known.view(now)));
            }
        }
        assert_eq!((idle, busy), (checkouts, handles));
    }

    fn compare_by_tenant(&self, views: &[LeaseView]) {
        let (table, now) = (&self.table, self.now);
        let tenants: BTreeSet<&TenantId> = views.iter().map(|view| &view.facts.tenant).collect();
        for tenant in tenants {
            let own: Vec<LeaseView> =
                views.iter().filter(|view| view.facts.tenant == *tenant).cloned().collect();
            let count =
                |is: &dyn Fn(&LeaseView) -> bool| own.iter().filter(|view| is(view)).count();
            let busy = |view: &LeaseView| view.state == LeaseState::Busy;
            let summary = Summary {
                busy: count(&busy),
                in_transaction: count(&|view| !busy(view) && view.transaction.is_open()),
                idle: count(&|view| !busy(view) && !view.transaction.is_open()),
                oldest: own.iter().map(|view| view.granted_at).min(),
                oldest_transaction: own.iter().filter_map(|view| view.transaction_since).min(),
            };
            assert_eq!(table.summary_of(tenant), summary);
            assert_eq!(table.count_of(tenant), own.len());
            assert_eq!(table.views_of(tenant, now), own);
        }
        let counted: usize = table.by_tenant.counts().sum();
        assert_eq!(counted, views.len(), "nothing is left of leases that ended");
        let limit = ms(50);
        let is_old = |view: &&LeaseView| now.saturating_duration_since(view.granted_at) > limit;
        let old: Vec<LeaseView> = views.iter().filter(is_old).cloned().collect();
        assert_eq!(table.held_longer(limit, now), old);
    }

    /// All pages one after the other are the whole list.
    fn compare_pages(&self, views: &[LeaseView]) {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = self.table.views_after(None, after, 3, self.now);
            let Some((number, _)) = page.last() else { break };
            after = Some(*number);
            paged.extend(page.into_iter().map(|(_, view)| view));
        }
        assert_eq!(paged, views);
        let first = views.first().map(|view| &view.facts.tenant);
        let own = self.table.views_after(first, None, usize::MAX, self.now);
        let own: Vec<LeaseView> = own.into_iter().map(|(_, view)| view).collect();
        assert_eq!(own, views, "all leases of this run are one tenant's");
        let other = TenantId::parse("other").unwrap();
        assert!(self.table.views_after(Some(&other), None, 9, self.now).is_empty());
    }

    fn compare(&self, n: u32) {
        let (table, model, now) = (&self.table, &self.model, self.now);
        let views: Vec<LeaseView> = model.live.iter().map(|known| known.view(now)).collect();
        assert_eq!(table.views(now), views);
        self.compare_by_tenant(&views);
        self.compare_pages(&views);
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
