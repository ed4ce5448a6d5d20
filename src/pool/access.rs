//! Who may call, as it is in force now.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::access::{Access, TenantUsers};
use crate::core::ids::TenantId;
use crate::lock::Leaf;

/// The identities in force, with who may use the tenants that an operator has put while the service
/// runs. A reload replaces the identities all at once; what was put stays for tenants that the
/// settings have as before, or do not have.
pub struct AccessInForce(Leaf<Arc<Decided>>);

/// What is decided by.
struct Decided {
    /// Of the settings.
    base: Arc<Access>,
    /// The users of tenants that were put.
    put: BTreeMap<TenantId, TenantUsers>,
    /// Both together.
    now: Arc<Access>,
}

impl Decided {
    fn of(base: Arc<Access>, put: BTreeMap<TenantId, TenantUsers>) -> Decided {
        let mut now = Arc::clone(&base);
        for (tenant, users) in &put {
            Arc::make_mut(&mut now).configure(tenant.clone(), users.clone());
        }
        Decided { base, put, now }
    }
}

impl AccessInForce {
    /// These, to begin with.
    pub fn new(access: Arc<Access>) -> AccessInForce {
        AccessInForce(Leaf::new(Arc::new(Decided::of(access, BTreeMap::new()))))
    }

    /// Those of now. To be asked for each decision, and not kept.
    pub fn now(&self) -> Arc<Access> {
        Arc::clone(&self.0.lock().now)
    }

    /// Puts others in their place, for every call from now on. The settings win over what an
    /// operator has put for a tenant that has changed in them, or whose users have.
    pub fn replace(&self, access: Arc<Access>, has_changed: impl Fn(&TenantId) -> bool) {
        self.change(|before| {
            let mut put = before.put.clone();
            put.retain(|id, _| access.has_users_of(&before.base, id) && !has_changed(id));
            Decided::of(Arc::clone(&access), put)
        });
    }

    /// Lets these use the tenants that operators have put, all at once: one by one, each would copy
    /// those before.
    pub fn put_all<'a>(&self, all: impl Iterator<Item = (&'a TenantId, &'a TenantUsers)> + Clone) {
        self.change(|before| {
            let mut put = before.put.clone();
            put.extend(all.clone().map(|(tenant, users)| (tenant.clone(), users.clone())));
            Decided::of(Arc::clone(&before.base), put)
        });
    }

    /// Lets these use a tenant that an operator has put; `None`: it was removed.
    pub fn put(&self, tenant: &TenantId, users: Option<&TenantUsers>) {
        if users.is_none() && self.put_users(tenant).is_none() {
            return;
        }
        self.change(|before| {
            let mut put = before.put.clone();
            match users {
                Some(users) => drop(put.insert(tenant.clone(), users.clone())),
                None => drop(put.remove(tenant)),
            }
            Decided::of(Arc::clone(&before.base), put)
        });
    }

    /// The users that an operator has put for a tenant.
    pub fn put_users(&self, tenant: &TenantId) -> Option<TenantUsers> {
        let decided = Arc::clone(&self.0.lock());
        decided.put.get(tenant).cloned()
    }

    /// Replaces what is decided by. Large tables are made and freed without the lock.
    fn change(&self, next: impl Fn(&Decided) -> Decided) {
        loop {
            let before = Arc::clone(&self.0.lock());
            let next = Arc::new(next(&before));
            let mut now = self.0.lock();
            if !Arc::ptr_eq(&now, &before) {
                continue;
            }
            let replaced = std::mem::replace(&mut *now, next);
            drop(now);
            return drop(replaced);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::access::{Authentication, CallerIdentity};

    fn open(access: &AccessInForce, tenant: &TenantId, name: &str) -> bool {
        let identity = CallerIdentity::new(name, None).expect("a good name");
        access.now().may_use(tenant, &Authentication::Known(Arc::new(identity))).is_ok()
    }

    fn of(names: &[&str]) -> Arc<Access> {
        let mut access = Access::default();
        access.set_only_configured(true);
        for name in names {
            let identity = CallerIdentity::new(name, None).expect("a good name");
            access.add(identity, Vec::new(), Vec::new()).expect("a new name");
        }
        Arc::new(access)
    }

    #[test]
    fn what_was_put_stays_when_the_identities_are_read_again() {
        let access = AccessInForce::new(of(&["shop"]));
        let tenant = TenantId::parse("acme").expect("a good name");
        assert!(!open(&access, &tenant, "shop"));
        let users = TenantUsers { anonymous: true, identities: Vec::new() };
        access.put(&tenant, Some(&users));
        assert!(open(&access, &tenant, "shop"));
        access.replace(of(&["shop", "other"]), |_| false);
        assert!(open(&access, &tenant, "shop"));
        access.put(&tenant, None);
        assert!(!open(&access, &tenant, "shop"));
    }

    #[test]
    fn what_is_put_at_once_is_put_beside_what_was_there() {
        let access = AccessInForce::new(of(&["shop"]));
        let [a, b, c] = ["a", "b", "c"].map(|name| TenantId::parse(name).expect("a good name"));
        let everybody = TenantUsers { anonymous: true, identities: Vec::new() };
        access.put(&a, Some(&everybody));
        access.put_all([(&b, &everybody), (&c, &TenantUsers::default())].into_iter());
        assert_eq!([&a, &b, &c].map(|id| open(&access, id, "shop")), [true, true, false]);
        assert_eq!(access.put_users(&c), Some(TenantUsers::default()));
        access.put(&b, None);
        assert_eq!([&a, &b].map(|id| open(&access, id, "shop")), [true, false]);
    }

    #[test]
    fn settings_that_change_a_tenant_win_over_what_was_put() {
        let access = AccessInForce::new(of(&["shop"]));
        let tenant = TenantId::parse("acme").expect("a good name");
        let everybody = TenantUsers { anonymous: true, identities: Vec::new() };
        access.put(&tenant, Some(&everybody));
        access.replace(of(&["shop"]), |id| *id == tenant);
        assert!(!open(&access, &tenant, "shop"), "the tenant has changed");
        access.put(&tenant, Some(&everybody));
        let mut listed = (*of(&["shop"])).clone();
        listed.configure(tenant.clone(), TenantUsers::default());
        access.replace(Arc::new(listed), |_| false);
        assert!(!open(&access, &tenant, "shop"), "its users have");
    }
}
