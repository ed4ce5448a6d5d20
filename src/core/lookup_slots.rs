//! Bounds the look-ups of host names that run at a time: in all, per tenant and per client
//! connection.
//!
//! Each occupies a thread until the name server answers. The last quarter is reserved for
//! client connections without a running look-up, so that a few clients whose names never
//! resolve do not block all others.

use super::callers::CallerId;
use super::ids::TenantId;
use std::collections::HashMap;
use std::hash::Hash;

/// Look-ups at a time.
pub const OF_ALL: usize = 64;
/// Of these, as many may belong to client connections that have one running already.
pub const OF_THE_BUSY: usize = OF_ALL - OF_ALL / 4;
/// Look-ups that one client connection has caused, for all its tenants. A gateway waits
/// its turn: a working name server answers hundreds in a second.
pub const OF_CALLER: usize = 16;
/// Look-ups of one tenant. Its servers are tried one after the other, each within its share
/// of an attempt's time.
pub const OF_TENANT: usize = 4;

/// For whom a name is looked up.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The tenant.
    pub tenant: TenantId,
    /// The client connection that registered it.
    pub caller: CallerId,
}

/// Counts the look-ups that run.
#[derive(Debug, Default)]
pub struct LookupSlots {
    all: usize,
    /// Neither map holds zeros.
    of_tenant: HashMap<TenantId, usize>,
    of_caller: HashMap<CallerId, usize>,
}

impl LookupSlots {
    /// Takes a slot for one more look-up. False: it may not run now.
    #[must_use]
    pub fn take(&mut self, asker: &Asker) -> bool {
        let of_tenant = self.of_tenant.get(&asker.tenant).copied().unwrap_or(0);
        let of_caller = self.of_caller.get(&asker.caller).copied().unwrap_or(0);
        let of_all = if of_caller == 0 { OF_ALL } else { OF_THE_BUSY };
        let room = self.all < of_all && of_tenant < OF_TENANT && of_caller < OF_CALLER;
        if room {
            self.all += 1;
            *self.of_tenant.entry(asker.tenant.clone()).or_default() += 1;
            *self.of_caller.entry(asker.caller.clone()).or_default() += 1;
        }
        room
    }

    /// Returns the slot of a look-up that has ended.
    pub fn give_back(&mut self, asker: &Asker) {
        self.all = self.all.saturating_sub(1);
        decrement(&mut self.of_tenant, &asker.tenant);
        decrement(&mut self.of_caller, &asker.caller);
    }

    /// How many run.
    #[cfg(test)]
    pub fn running(&self) -> usize {
        self.all
    }
}

fn decrement<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counts.remove(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Xorshift;
    use super::*;

    fn asker(tenant: u64, caller: u64) -> Asker {
        Asker {
            tenant: TenantId::parse(&format!("t{tenant}")).unwrap(),
            caller: CallerId::new(&format!("c{caller}")),
        }
    }

    /// As many as may run for `caller`, each of another tenant.
    fn fill(slots: &mut LookupSlots, caller: u64) -> usize {
        (0..).take_while(|n| slots.take(&asker(1000 * caller + n, caller))).count()
    }

    #[test]
    fn a_tenant_has_four_its_connection_sixteen_and_the_last_quarter_is_for_the_others() {
        let mut slots = LookupSlots::default();
        let one = asker(1, 1);
        assert!((0..OF_TENANT).all(|_| slots.take(&one)) && !slots.take(&one));
        assert_eq!(fill(&mut slots, 1), OF_CALLER - OF_TENANT);
        assert_eq!((fill(&mut slots, 2), fill(&mut slots, 3)), (OF_CALLER, OF_CALLER));
        assert_eq!(slots.running(), OF_THE_BUSY);
        // From now on each gets one.
        assert!((4..20).all(|caller| fill(&mut slots, caller) == 1));
        assert_eq!((slots.running(), fill(&mut slots, 20)), (OF_ALL, 0));
        slots.give_back(&one);
        assert_eq!(fill(&mut slots, 20), 1);
    }

    #[test]
    fn the_counts_are_those_of_what_runs() {
        for seed in 0..200 {
            let (mut chance, mut slots) = (Xorshift::new(seed), LookupSlots::default());
            let mut run: Vec<(u64, u64)> = Vec::new();
            for _ in 0..500 {
                if chance.below(3) == 0 && !run.is_empty() {
                    let (tenant, caller) = run.swap_remove(chance.below(run.len() as u64) as usize);
                    slots.give_back(&asker(tenant, caller));
                } else {
                    let caller = chance.below(9);
                    let tenant = 10 * caller + chance.below(8);
                    let of_tenant = run.iter().filter(|one| one.0 == tenant).count();
                    let of_caller = run.iter().filter(|one| one.1 == caller).count();
                    let room = of_tenant < OF_TENANT
                        && of_caller < OF_CALLER
                        && (run.len() < OF_THE_BUSY || run.len() < OF_ALL && of_caller == 0);
                    assert_eq!(slots.take(&asker(tenant, caller)), room, "seed {seed}");
                    if room {
                        run.push((tenant, caller));
                    }
                }
                assert_eq!(slots.running(), run.len());
            }
            let left: usize = slots.of_tenant.values().sum();
            assert_eq!((left, slots.of_caller.values().sum::<usize>()), (run.len(), run.len()));
            assert!(slots.of_tenant.values().chain(slots.of_caller.values()).all(|n| *n > 0));
        }
    }
}
