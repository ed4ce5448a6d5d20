//! Who may hold how many bytes of the service's memory, and for what.

use crate::config::Limits;
use crate::core::budget::{Budget, Share};

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Requests that wait for a permit.
    Parked,
    /// Answers that their readers have not taken yet.
    Answers,
    /// Notifications that their listeners have not taken yet.
    Listeners,
    /// What a `Session` or `CopyIn` has read ahead of its work.
    ReadAhead,
    /// Messages of PostgreSQL that have not come whole.
    Partial,
}

impl Use {
    /// All of them, in the order of their declaration.
    pub const ALL: [Use; 5] =
        [Use::Parked, Use::Answers, Use::Listeners, Use::ReadAhead, Use::Partial];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Parked => "parked_requests",
            Use::Answers => "unsent_answers",
            Use::Listeners => "notifications",
            Use::ReadAhead => "read_ahead",
            Use::Partial => "partial_messages",
        }
    }

    /// How errors call its budget.
    fn limit_name(self) -> &'static str {
        match self {
            Use::Parked => "bytes of waiting requests",
            Use::Answers => "bytes of unsent answers",
            Use::Listeners => "bytes of notifications",
            Use::ReadAhead => "bytes of requests read ahead",
            Use::Partial => "bytes of unfinished messages of PostgreSQL",
        }
    }
}

/// The memory that the service gives to others: in all, for each use, and what each
/// tenant and each client connection may have of it.
pub struct Memory {
    total: Budget,
    /// In the order of [`Use::ALL`].
    uses: [Budget; 5],
    per_tenant: usize,
}

impl Memory {
    /// Nothing is held yet.
    pub fn new(limits: &Limits) -> Memory {
        // No use takes all, so that the others go on.
        let half = |of: Use| Budget::new(of.limit_name(), limits.memory_bytes / 2);
        Memory {
            total: Budget::new("bytes held by the service", limits.memory_bytes),
            uses: Use::ALL.map(half),
            per_tenant: limits.memory_bytes_per_tenant,
        }
    }

    /// The budget of a new tenant.
    pub fn tenant(&self) -> Budget {
        Budget::new("bytes held for one tenant", self.per_tenant)
    }

    /// What counts for this use, and in these budgets of a connection or a tenant.
    pub fn share(&self, of: Use, narrow: &[&Budget]) -> Share {
        let narrow = narrow.iter().copied();
        let all = narrow.chain([self.of(of), &self.total]).cloned();
        Share::of(all.collect::<Vec<_>>())
    }

    /// The budget of one use.
    pub fn of(&self, one: Use) -> &Budget {
        // As many as there are uses, in the order of their declaration.
        &self.uses[one as usize]
    }

    /// The budget of the service.
    pub fn total(&self) -> &Budget {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_use_counts_by_itself_and_in_all() {
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let memory = Memory::new(&limits);
        let tenant = memory.tenant();
        let held: Vec<_> = Use::ALL
            .iter()
            .map(|one| memory.share(*one, &[&tenant]).take(*one as usize + 1).expect("room"))
            .collect();
        for (i, one) in Use::ALL.iter().enumerate() {
            assert_eq!((*one as usize, memory.of(*one).used()), (i, i + 1));
        }
        assert_eq!((memory.total().used(), tenant.used()), (15, 15));
        let spent = memory.share(Use::Parked, &[]).take(50).expect_err("more than a half");
        assert_eq!(spent.name, "bytes of waiting requests");
        drop(held);
        assert_eq!((memory.total().used(), tenant.used()), (0, 0));
    }
}
