//! What an operator has done. Each action is one line in the log.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use crate::core::access::{CallerIdentity, Role};
use crate::core::gate::Pause;
use crate::core::ids::TenantId;
use crate::core::lease_table::EndReason;
use crate::core::quoted::Quoted;
use crate::error::{CancelCause, RequestError};
use crate::logging;
use crate::pool::admin::audit::{self, tell};
use crate::pool::admin::looks::ListedTenant;
use crate::pool::caller::Caller;
use crate::pool::keeping::{KeptOutcome, Touch};
use crate::pool::leases::release::Release;
use crate::pool::registry::change::TenantChange;
use crate::pool::reloading::ReloadOutcome;
use crate::pool::requests::responder::{PendingAnswer, Responder};
use crate::pool::service::Service;
use crate::pool::snapshot::TenantSnapshot;
use crate::pool::tenant::Upkeep;
use crate::settings::SettingFaults;

/// The most characters of a request's text in the log.
const SHOWN_CHARS: usize = 100;

/// The service in the hands of a caller who may change it.
pub struct Administration<'a> {
    pub(super) service: &'a Service,
    pub(super) by: &'a CallerIdentity,
    peer: &'a str,
}

/// The result of a check of a tenant.
pub struct CheckedTenant {
    /// Connections that answered.
    pub working: usize,
    /// Connections that did not, or could not be opened.
    pub failed: usize,
    pub after: TenantSnapshot,
}

impl Service {
    /// The service, for a caller with the role `admin`, who asks for this action.
    ///
    /// # Errors
    /// The caller has no identity, or not the role.
    pub fn administer<'a>(
        &'a self,
        caller: &'a Caller,
        action: &str,
    ) -> Result<Administration<'a>, RequestError> {
        let by = audit::expect(caller, Role::Admin, action)?;
        Ok(Administration { service: self, by, peer: caller.peer().address() })
    }
}

impl Administration<'_> {
    /// Gives out no connection of a tenant from now on. Those who ask for one wait or are refused.
    ///
    /// # Errors
    /// If there is no such tenant.
    pub fn pause(&self, id: &TenantId, how: Pause) -> Result<ListedTenant, RequestError> {
        let paused = self.service.with_tenant(id, |tenant| tenant.pause(how));
        self.touched(id, Touch::Pause, &paused);
        self.told("pause", format_args!(" tenant={id} mode={}", how.as_str()), paused)
    }

    /// Gives out connections of a tenant again.
    ///
    /// # Errors
    /// If there is no such tenant.
    pub fn resume(&self, id: &TenantId) -> Result<ListedTenant, RequestError> {
        let resumed = self.service.with_tenant(id, |tenant| tenant.resume());
        self.touched(id, Touch::Pause, &resumed);
        self.told("resume", format_args!(" tenant={id}"), resumed)
    }

    /// Gives a tenant another limit of connections.
    ///
    /// # Errors
    /// If there is no such tenant, or no room for so many connections.
    pub fn resize(
        &self,
        id: &TenantId,
        max_connections: usize,
    ) -> Result<ListedTenant, RequestError> {
        let change =
            TenantChange { max_connections: Some(max_connections), ..TenantChange::default() };
        let detail = format_args!(" tenant={id} max_connections={max_connections}");
        let resized = self.change(id, &change);
        self.touched(id, Touch::Settings, &resized);
        self.told("resize", detail, resized)
    }

    /// Replaces all connections of a tenant: those at rest at once, those in use when they come
    /// back.
    ///
    /// # Errors
    /// If there is no such tenant.
    pub fn reconnect(&self, id: &TenantId) -> Result<ListedTenant, RequestError> {
        let change = TenantChange { reconnect: true, ..TenantChange::default() };
        let done = self.service.registry.change(id, &change);
        // Its settings stay what they were.
        let after = done.and_then(|_| self.service.with_tenant(id, |_| ()));
        self.told("reconnect", format_args!(" tenant={id}"), after)
    }

    fn change(&self, id: &TenantId, change: &TenantChange) -> Result<ListedTenant, RequestError> {
        self.expect_size(change.max_connections)?;
        self.service.registry.change(id, change)?;
        self.changed(id)
    }

    /// It differs from what it was configured as.
    pub(super) fn changed(&self, id: &TenantId) -> Result<ListedTenant, RequestError> {
        self.service
            .with_tenant(id, |tenant| tenant.account().changed.store(true, Ordering::Relaxed))
    }

    /// What was read of a request for an action; where nothing was, this is all that the log has.
    ///
    /// # Errors
    /// That of the request.
    pub fn read<T>(
        &self,
        action: &str,
        request: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        match request {
            Ok(read) => Ok(read),
            failed => self.told(action, format_args!(""), failed),
        }
    }

    fn expect_size(&self, max_connections: Option<usize>) -> Result<(), RequestError> {
        let most = self.service.context().live().most_connections();
        if max_connections.is_none_or(|size| (1..=most).contains(&size)) {
            return Ok(());
        }
        let rule = format!("max_connections must be 1 to {most} (max_connections_per_dsn)");
        Err(RequestError::invalid("max_connections", rule))
    }

    /// Checks a tenant's connections now. The answer comes within twice the limit of a check.
    ///
    /// # Errors
    /// If there is no such tenant.
    pub fn check(&self, id: &TenantId) -> Result<PendingAnswer<CheckedTenant>, RequestError> {
        let (responder, answer) = Responder::new();
        let found = self.service.registry.find(id);
        let found = found.ok_or_else(|| RequestError::TenantNotFound(id.clone()));
        let service = self.service.clone();
        let begun = found.map(|tenant| {
            Upkeep::now(&tenant).check_now(move |tenant, round| {
                let (working, failed, after) =
                    (round.working, round.failed, service.look_at(tenant));
                // The caller may have left meanwhile.
                drop(responder.send(Ok(CheckedTenant { working, failed, after })));
            });
            answer
        });
        self.told("check", format_args!(" tenant={id}"), begun)
    }

    /// Ends a lease by its public name, whatever it does: what runs is cancelled.
    ///
    /// # Errors
    /// If there is no such lease, unless it has been revoked before.
    pub fn revoke(&self, lease_name: &str) -> Result<Release, RequestError> {
        let leases = &self.service.leases;
        let revoked = match leases.find_named(lease_name) {
            Some(id) => leases.revoke(&id, EndReason::Revoked, CancelCause::Revoked),
            // Who has lost the answer asks again.
            None if leases.was_revoked(lease_name) => Ok(Release::AlreadyEnded(EndReason::Revoked)),
            None => Err(RequestError::NoLeaseNamed),
        };
        if revoked.as_ref().is_ok_and(|how| !matches!(how, Release::AlreadyEnded(_))) {
            leases.note_revoked(lease_name);
        }
        // Anything else may be a secret that was pasted by mistake.
        let is_name = lease_name
            .strip_prefix("lease-")
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let shown = if is_name { lease_name } else { "(no lease name)" };
        self.told("revoke", format_args!(" lease={}", Quoted(shown)), revoked)
    }

    /// Removes a tenant. Its leases go on, unless they are to end too. Returns how many leases it
    /// had.
    ///
    /// # Errors
    /// If there is no such tenant.
    pub fn remove(&self, id: &TenantId, end_leases: bool) -> Result<usize, RequestError> {
        let leases = &self.service.leases;
        let removed = self.service.registry.dismiss(id).map(|()| match end_leases {
            true => leases.end_of(id),
            false => leases.count_of(id),
        });
        self.touched(id, Touch::Settings, &removed);
        self.told("remove", format_args!(" tenant={id} end_leases={end_leases}"), removed)
    }

    /// Reads settings, identities and certificates again.
    ///
    /// # Errors
    /// The answer has what is wrong with them, or the service stops; then nothing has changed.
    pub fn reload(&self) -> PendingAnswer<ReloadOutcome> {
        let (responder, answer) = Responder::new();
        let context = Arc::clone(self.service.context());
        let (by, peer) = (self.by.clone(), self.peer.to_owned());
        let is_draining = self.service.registry.is_draining();
        let workers = context.tools.workers.clone();
        workers.run(move || {
            let wrong =
                |faults: SettingFaults| RequestError::ReloadFailed { faults: faults.to_string() };
            let outcome = match is_draining {
                true => Err(RequestError::Draining),
                false => context.reloading.reload().map_err(wrong),
            };
            tell((&by, &peer), "reload", format_args!(""), &outcome);
            // The caller may have left meanwhile.
            drop(responder.send(outcome));
        });
        answer
    }

    /// Sets which lines of the log are written, as `--log-level` does, until the next change.
    ///
    /// # Errors
    /// The specification is none.
    pub fn set_log_level(&self, spec: &str) -> Result<(), RequestError> {
        let set = logging::set_level(spec);
        let set = set.map_err(|rule| RequestError::invalid("level", format!("level {rule}")));
        if set.is_ok() {
            self.service.context().keeping.log_level(Some(spec));
        }
        let shown: String = spec.chars().take(SHOWN_CHARS).collect();
        self.told("set_log_level", format_args!(" level={}", Quoted(&shown)), set)
    }

    /// What was done to a tenant is to be kept.
    pub(super) fn touched<T>(&self, id: &TenantId, touch: Touch, done: &Result<T, RequestError>) {
        if done.is_ok() {
            self.service.context().keeping.touched(id, touch);
        }
    }

    /// Hands out what was done once it is kept; beside it, whether it is, if the operator has asked
    /// for that.
    pub fn kept<T: Send + 'static>(&self, done: T) -> PendingAnswer<(T, Option<KeptOutcome>)> {
        let (responder, answer) = Responder::new();
        let asked = self.service.context().keeping.is_on();
        // The caller may have left meanwhile.
        self.service.keep(move |kept| drop(responder.send(Ok((done, asked.then_some(kept))))));
        answer
    }

    /// Writes the action to the log.
    pub(super) fn told<T>(
        &self,
        action: &str,
        on: std::fmt::Arguments<'_>,
        outcome: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        tell((self.by, self.peer), action, on, &outcome);
        outcome
    }
}
