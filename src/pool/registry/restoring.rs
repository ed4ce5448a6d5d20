//! How a start takes up again what operators had changed before it.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::change::TenantChange;
use super::Registry;
use crate::config::changes::{ChangeKind, RuntimeChanges};
use crate::config::tenants::TenantConfig;
use crate::core::callers::CallerId;
use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::pool::keeping::Touch;

/// Who has brought the DSNs of tenants that were put before the start.
const BEFORE: &str = "state_file";

/// A change that cannot be taken up again.
#[derive(Debug)]
pub struct NotRestored {
    pub tenant: TenantId,
    /// Why not.
    pub error: RequestError,
}

impl Registry {
    /// Changes tenants that have just been taken up as operators had changed them. Those that take
    /// connections come after those that give some back. Does not block.
    ///
    /// # Errors
    /// The first that the settings leave no room for, or do not allow.
    pub fn restore(self: &Arc<Self>, changes: &RuntimeChanges) -> Result<(), Box<NotRestored>> {
        let gets = |id: &TenantId, to: &TenantConfig| {
            let has = self.find(id).map_or(0, |tenant| tenant.setup().permits);
            to.pool.max_connections.saturating_sub(has)
        };
        // Before anybody can find them.
        let put = changes.tenants.iter().filter_map(|(id, changed)| match &changed.change {
            ChangeKind::Put { users, .. } => users.as_ref().map(|users| (id, users)),
            ChangeKind::Same | ChangeKind::Removed => None,
        });
        self.context.access.put_all(put);
        let mut tenants: Vec<_> = changes.tenants.iter().collect();
        tenants.sort_by_key(|(id, changed)| match &changed.change {
            ChangeKind::Removed | ChangeKind::Same => 0,
            ChangeKind::Put { tenant, .. } => gets(id, tenant),
        });
        for (id, changed) in tenants {
            let touch = match &changed.change {
                ChangeKind::Same => Touch::Pause,
                ChangeKind::Removed | ChangeKind::Put { .. } => Touch::Settings,
            };
            self.context.keeping.touched(id, touch);
            let done = self.restore_one(id, &changed.change);
            done.map_err(|error| Box::new(NotRestored { tenant: id.clone(), error }))?;
            if let (Some(how), Some(tenant)) = (changed.paused, self.find(id)) {
                tenant.pause(how);
            }
        }
        Ok(())
    }

    fn restore_one(
        self: &Arc<Self>,
        id: &TenantId,
        change: &ChangeKind,
    ) -> Result<(), RequestError> {
        match change {
            ChangeKind::Same => Ok(()),
            ChangeKind::Removed => self.dismiss(id),
            ChangeKind::Put { tenant, .. } => self.put_back(tenant),
        }
    }

    fn put_back(self: &Arc<Self>, to: &TenantConfig) -> Result<(), RequestError> {
        let configured = self.catalog().tenants.get(&to.id).cloned();
        let is_another = configured.as_ref().is_none_or(|tenant| tenant.dsn != to.dsn);
        if is_another {
            self.expect_files(&to.dsn)?;
        }
        let settings = self.checked(to.pool.clone())?;
        if configured.is_none() {
            let by = CallerId::new(BEFORE);
            return self.create_as(&to.id, &to.dsn, &settings, &by).map(drop);
        }
        let dsn = is_another.then(|| to.dsn.clone());
        let change = TenantChange { dsn, settings: Some(settings), ..TenantChange::default() };
        self.change(&to.id, &change)?;
        if let Some(tenant) = self.find(&to.id) {
            tenant.account().changed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
