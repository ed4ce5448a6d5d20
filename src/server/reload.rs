//! Settings, identities and certificates that are read again while the service runs.

use std::sync::{Mutex, PoisonError};

use crate::config::ServerConfig;
use crate::core::quoted::{Quoted, QuotedFaults};
use crate::logging;
use crate::pool::reloading::{EndedChange, Reload, ReloadOutcome};
use crate::pool::service::Service;
use crate::rpc::server::Certificate;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// The rule of identities that are all gone.
pub const ALL_GONE: &str = "must not all be gone at a reload, which would let everybody in; a \
                            restart takes them away (is the file empty, or half written?)";

/// Loads the settings again from where they came from at the start.
pub type Loader = Box<dyn Fn() -> Result<ServerConfig, SettingFaults> + Send + Sync>;

/// Reads again what may change while the service runs.
pub(super) struct Reloader {
    load: Loader,
    service: Service,
    /// None: gRPC is served without TLS.
    certificate: Option<Certificate>,
    /// One reload at a time, files included: only another one waits for it.
    turn: Mutex<()>,
}

impl Reloader {
    pub(super) fn new(
        load: Loader,
        service: &Service,
        certificate: Option<Certificate>,
    ) -> Reloader {
        Reloader { load, service: service.clone(), certificate, turn: Mutex::new(()) }
    }

    /// Checks everything, then puts it in force.
    fn in_turn(&self) -> Result<ReloadOutcome, SettingFaults> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong =
            |rule: String| SettingFaults::from(SettingFault::new("", Origin::Default, rule));
        let config = (self.load)()?;
        config.check().map_err(wrong)?;
        let known = !self.service.context().live().access.is_open();
        if known && config.access.is_open() {
            // Such as a file that is being written: callers would need no identity any more.
            return Err(SettingFault::new("identities", Origin::Default, ALL_GONE).into());
        }
        self.service.expect_next_start(&config)?;
        let mut is_renewed = false;
        if let Some(certificate) = &self.certificate {
            let is_new = certificate.reload(config.certificate_warning);
            let is_new = is_new.map_err(|error| wrong(error.to_string()))?;
            is_renewed = is_new;
            self.note_expiry();
            if is_new {
                log::info!("event=certificate_reloaded expires_at_s={}", certificate.expires());
            }
        }
        let (old, mut ended) = (self.service.context().live(), Vec::new());
        if old.log_level != config.log_level {
            // It was checked when it was read.
            let _ = logging::set_level(&config.log_level);
            if self.service.context().keeping.log_level(None) {
                ended.push(EndedChange { key: "log".to_owned(), what: "level".to_owned() });
            }
        }
        let mut outcome = self.service.registry.put_in_force(config);
        outcome.ended.extend(ended);
        outcome.applied.extend(is_renewed.then(|| "certificate".to_owned()));
        // The log has it if that fails, and what the configuration says wins at the next start.
        self.service.keep(drop);
        Ok(outcome)
    }

    /// Publishes when the certificate expires.
    pub(super) fn note_expiry(&self) {
        if let Some(certificate) = &self.certificate {
            self.service.context().port.set_certificate_expires(certificate.expires());
        }
    }
}

impl Reload for Reloader {
    fn reload(&self) -> Result<ReloadOutcome, SettingFaults> {
        let outcome = self.in_turn();
        match &outcome {
            Ok(reloaded) => {
                for (tenant, error) in &reloaded.refused {
                    let error = error.to_string();
                    log::warn!("event=tenant_not_changed tenant={tenant} error={}", Quoted(&error));
                }
                for EndedChange { key, what } in &reloaded.ended {
                    log::warn!(
                        "event=change_dropped key={} what={} message=\"the configuration has changed\"",
                        Quoted(key),
                        Quoted(what)
                    );
                }
                log::info!(
                    "event=reloaded applied={} needs_restart={} tenants_not_changed={}",
                    Quoted(&reloaded.applied.join(",")),
                    Quoted(&reloaded.needs_restart.join(",")),
                    reloaded.refused.len(),
                );
            }
            Err(faults) => {
                log::error!("event=reload_failed error={}", QuotedFaults(&faults.to_string()));
            }
        }
        outcome
    }
}
