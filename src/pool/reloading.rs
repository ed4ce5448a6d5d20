//! How settings are read again while the service runs, for those who ask for it.

use std::sync::{Arc, OnceLock, Weak};

use crate::core::ids::TenantId;
use crate::error::RequestError;
use crate::settings::{Origin, SettingFault, SettingFaults};

/// What a reload has done.
#[derive(Debug, Default)]
pub struct ReloadOutcome {
    /// What has changed, by the keys of the file: `service.wait`, `identities`.
    pub applied: Vec<String>,
    /// Keys whose new values hold only after a restart.
    pub needs_restart: Vec<String>,
    /// Tenants that stay as they were, and why.
    pub refused: Vec<(TenantId, RequestError)>,
    /// What operators had changed and holds no more, because the settings say something else.
    pub ended: Vec<EndedChange>,
}

/// What operators had changed, until a reload has ended it.
#[derive(Debug, PartialEq)]
pub struct EndedChange {
    /// `tenants.orders`, or `log`.
    pub key: String,
    /// The names of what was changed.
    pub what: String,
}

/// Who reads the settings again.
pub trait Reload: Send + Sync {
    /// Reads settings, identities and certificates again from where they came from at the start.
    /// All of it is checked before any of it holds. One reload waits for another, and for files,
    /// so it is not to be called on a thread of gRPC.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    fn reload(&self) -> Result<ReloadOutcome, SettingFaults>;
}

/// Who reads the settings again, once the service has started.
#[derive(Default)]
pub struct Reloading(OnceLock<Weak<dyn Reload>>);

impl Reloading {
    /// From now on this one does.
    pub fn begin(&self, by: &Arc<impl Reload + 'static>) {
        let by: Arc<dyn Reload> = Arc::clone(by) as Arc<dyn Reload>;
        // Only the start sets it.
        let _ = self.0.set(Arc::downgrade(&by));
    }

    /// Reads the settings again, as [`Reload::reload`] says.
    ///
    /// # Errors
    /// What is wrong with them, or that the service is not up or stops.
    pub fn reload(&self) -> Result<ReloadOutcome, SettingFaults> {
        match self.0.get().and_then(Weak::upgrade) {
            Some(by) => by.reload(),
            None => {
                let rule = "settings can be read again only while the service is up";
                Err(SettingFault::new("", Origin::Default, rule).into())
            }
        }
    }
}
