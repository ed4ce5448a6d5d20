//! How a tenant begins to be served.

use std::sync::Arc;

use super::Tenant;
use crate::clock;
use crate::core::quoted::Quoted;
use crate::core::secs::Secs;
use crate::pool::backends::Backends;

impl Tenant {
    /// It has its first backend. False: another has its name, or there is no room for it.
    pub(super) fn opened(self: &Arc<Self>) -> bool {
        if !self.registrar.upgrade().is_none_or(|registrar| registrar.opened(self)) {
            return false;
        }
        let backends = self.backends();
        // It has its database.
        while let Some(probe) = backends.opener.probe_attempt(clock::now()) {
            self.heed(&backends, probe.settle(None));
        }
        let now = clock::now();
        let handed = self.gate().opened(now);
        self.tell_created(&backends);
        self.hand(handed, now);
        backends.begin_checks(now);
        self.context().keeper.due(now);
        true
    }

    /// A configured tenant is served from now on, although nobody has looked for its database.
    pub(in crate::pool) fn begin(self: &Arc<Self>) {
        let (backends, now) = (self.backends(), clock::now());
        self.tell_created(&backends);
        let handed = self.gate().opened(now);
        self.hand(handed, now);
        backends.begin_rounds(now);
    }

    fn tell_created(&self, backends: &Backends) {
        let (settings, dsn) = (&backends.settings, &backends.origin.dsn);
        log::info!(
            "event=pool_created tenant={} server={} database={} user={} sslmode={} max_connections={} min_connections={} max_lifetime_s={} idle_timeout_s={} {}",
            self.id(),
            Quoted(&backends.origin.connect.servers()),
            Quoted(&dsn.dbname),
            Quoted(&dsn.user),
            dsn.tls.mode.as_str(),
            self.most_backends(),
            settings.min_connections,
            Secs(settings.max_lifetime),
            Secs(settings.idle_timeout),
            backends.origin.brought_by,
        );
    }
}
