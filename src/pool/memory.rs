//! Who may hold how many bytes of the service's memory, and for what.

use std::sync::Arc;

use crate::config::Limits;
use crate::core::budget::{Budget, Held, Refusals, Share, Spent};
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::peers::{Peer, OF_CONNECTION};

/// How errors call the budgets; that of a connection is named in `peers`.
const OF_TENANT: &str = "bytes held for one tenant";
const OF_SERVICE: &str = "bytes held by the service";
/// So much is let in without room where something else bounds how often: a lease, a
/// release or a statement must not fail because others have parked much.
pub(super) const SMALL: usize = 64 << 10;

/// What bytes are held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Requests that wait for a permit, or run.
    Requests,
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
        [Use::Requests, Use::Answers, Use::Listeners, Use::ReadAhead, Use::Partial];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Use::Requests => "requests",
            Use::Answers => "unsent_answers",
            Use::Listeners => "notifications",
            Use::ReadAhead => "read_ahead",
            Use::Partial => "partial_messages",
        }
    }

    /// How errors call its budget.
    fn limit_name(self) -> &'static str {
        match self {
            Use::Requests => "bytes of requests",
            Use::Answers => "bytes of unsent answers",
            Use::Listeners => "bytes of notifications",
            Use::ReadAhead => "bytes of requests read ahead",
            Use::Partial => "bytes of unfinished messages of PostgreSQL",
        }
    }
}

/// Whose limit it is that bytes are held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitLevel {
    /// Of one client connection.
    Connection,
    /// Of one tenant.
    Tenant,
    /// Of one use.
    Use,
    /// Of the whole service.
    Service,
}

impl LimitLevel {
    /// All of them, the narrowest first.
    pub const ALL: [LimitLevel; 4] =
        [LimitLevel::Connection, LimitLevel::Tenant, LimitLevel::Use, LimitLevel::Service];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            LimitLevel::Connection => "connection",
            LimitLevel::Tenant => "tenant",
            LimitLevel::Use => "use",
            LimitLevel::Service => "service",
        }
    }

    /// Of a budget that is called so in errors.
    fn of(name: &str) -> LimitLevel {
        match name {
            OF_CONNECTION => LimitLevel::Connection,
            OF_TENANT => LimitLevel::Tenant,
            OF_SERVICE => LimitLevel::Service,
            _ => LimitLevel::Use,
        }
    }

    /// How errors call its budget.
    fn limit_name(self, of: Use) -> &'static str {
        match self {
            LimitLevel::Connection => OF_CONNECTION,
            LimitLevel::Tenant => OF_TENANT,
            LimitLevel::Use => of.limit_name(),
            LimitLevel::Service => OF_SERVICE,
        }
    }
}

/// The memory that the service gives to others: in all, for each use, and what each
/// tenant and each client connection may have of it.
pub struct Memory {
    total: Budget,
    /// In the order of [`Use::ALL`], as the next.
    uses: [Budget; 5],
    refusals: [Arc<Refusals>; 5],
    per_tenant: usize,
}

/// Room for what one client of one tenant has the service hold for one use.
#[derive(Clone)]
pub struct Room {
    share: Share,
    tenant: TenantId,
}

impl Room {
    /// Takes `bytes`. What is small is let in without room, and then counts nothing:
    /// the tenant takes no more before it is gone.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn take(&self, bytes: usize) -> Result<Held, RequestError> {
        match self.share.take(bytes) {
            Err(spent) if bytes > SMALL => Err(refused(spent, &self.tenant)),
            other => Ok(other.unwrap_or_default()),
        }
    }

    /// Whether what is there already leaves any room.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn check(&self) -> Result<(), RequestError> {
        self.share.check().map_err(|spent| refused(spent, &self.tenant))
    }

    /// Takes `bytes` of what is there already, whether there is room or not.
    pub fn take_over(&self, bytes: usize) -> Held {
        let mut held = self.share.hold_nothing();
        held.grow_over(bytes);
        held
    }

    /// The same as `take`, with the budget that has no room.
    ///
    /// # Errors
    /// That.
    pub(super) fn try_take(&self, bytes: usize) -> Result<Held, Spent> {
        self.share.take(bytes)
    }
}

/// The error for a client of this tenant.
pub(super) fn refused(spent: Spent, tenant: &TenantId) -> RequestError {
    let Spent { name: what, used, asked, limit } = spent;
    if asked > limit {
        // A wait would not help.
        let rule = format!(
            "the request takes {asked} bytes of memory, more than the limit of {what}: {limit}"
        );
        return RequestError::invalid("statements", rule);
    }
    let used = used.saturating_add(asked);
    match LimitLevel::of(what) {
        LimitLevel::Connection | LimitLevel::Tenant => {
            RequestError::CallerLimit { tenant: tenant.clone(), what, used, limit }
        }
        LimitLevel::Use | LimitLevel::Service => RequestError::ServiceLimit { what, used, limit },
    }
}

impl Memory {
    /// Nothing is held yet.
    pub fn new(limits: &Limits) -> Memory {
        // No use takes all, so that the others go on.
        let half = |of: Use| Budget::new(of.limit_name(), limits.memory_bytes / 2);
        Memory {
            total: Budget::new(OF_SERVICE, limits.memory_bytes),
            uses: Use::ALL.map(half),
            refusals: Use::ALL.map(|of| {
                Arc::new(Refusals::by(&LimitLevel::ALL.map(|level| level.limit_name(of))))
            }),
            per_tenant: limits.memory_bytes_per_tenant,
        }
    }

    /// The budget of a new tenant.
    pub fn tenant(&self) -> Budget {
        Budget::new(OF_TENANT, self.per_tenant)
    }

    /// Where the notifications count that wait for a tenant's listeners: half of what it
    /// may have, so that its requests go on.
    pub(super) fn letters(&self, tenant: &Budget) -> Share {
        let half = Budget::new(OF_TENANT, self.per_tenant / 2);
        self.share(Use::Listeners, &[&half, tenant])
    }

    /// What counts for this use, and in these budgets of a connection or a tenant.
    pub fn share(&self, of: Use, narrow: &[&Budget]) -> Share {
        let narrow = narrow.iter().copied();
        let all = narrow.chain([self.of(of), &self.total]).cloned();
        Share::counted(all.collect::<Vec<_>>(), &self.refusals[of as usize])
    }

    /// The same for a client of this tenant.
    pub fn room(&self, of: Use, narrow: &[&Budget], tenant: &TenantId) -> Room {
        Room { share: self.share(of, narrow), tenant: tenant.clone() }
    }

    /// Room for an answer that is made for a connection without work of a tenant. As with
    /// [`Room::take`], what is small is let in.
    ///
    /// # Errors
    /// Which limit is reached.
    pub fn answer(&self, peer: &Peer, bytes: usize) -> Result<Held, RequestError> {
        match self.share(Use::Answers, &[peer.memory()]).take(bytes) {
            Err(Spent { name: what, used, asked, limit }) if bytes > SMALL => {
                Err(RequestError::ServiceLimit { what, used: used.saturating_add(asked), limit })
            }
            other => Ok(other.unwrap_or_default()),
        }
    }

    /// How often a use had no room at this level.
    pub fn refused(&self, of: Use, level: LimitLevel) -> u64 {
        self.refusals[of as usize].of(level.limit_name(of))
    }

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
        let spent = memory.share(Use::Requests, &[]).take(50).expect_err("more than a half");
        assert_eq!(spent.name, "bytes of requests");
        assert_eq!(LimitLevel::ALL.map(|level| memory.refused(Use::Requests, level)), [0, 0, 1, 0]);
        assert_eq!(memory.refused(Use::Partial, LimitLevel::Use), 0);
        drop(held);
        assert_eq!((memory.total().used(), tenant.used()), (0, 0));
    }

    #[test]
    fn what_is_small_is_let_in_and_what_is_large_is_told_whose_limit_it_is() {
        let limits = Limits {
            memory_bytes: 100 * SMALL,
            memory_bytes_per_tenant: 10 * SMALL,
            ..Limits::default()
        };
        let (memory, id) = (Memory::new(&limits), TenantId::parse("t").expect("a good name"));
        let tenant = memory.tenant();
        let room = memory.room(Use::Requests, &[&tenant], &id);
        let most = room.take(9 * SMALL).expect("room");
        assert_eq!(room.take(SMALL + 1).err().map(|error| error.as_str()), Some("caller_limit"));
        let never = room.take(11 * SMALL).expect_err("more than there is");
        assert_eq!(never.as_str(), "invalid_argument");
        let counted = room.take(SMALL).expect("room");
        let small = room.take(SMALL).expect("let in");
        assert_eq!((counted.bytes(), small.bytes(), tenant.used()), (SMALL, 0, 10 * SMALL));
        let others = memory.room(Use::Requests, &[], &id);
        let half = others.take(40 * SMALL).expect("room");
        let error = others.take(SMALL + 1).expect_err("no room");
        assert_eq!(error.as_str(), "service_limit");
        assert!(error.is_retryable());
        drop((most, counted, small, half));
        assert_eq!((tenant.used(), memory.total().used()), (0, 0));
    }
}
