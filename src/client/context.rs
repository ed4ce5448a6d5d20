//! What the pools of one manager share.

use std::sync::{Arc, Weak};

use super::config::ServiceConfig;
use super::error::PoolError;
use super::keeper::{Keeper, Tended};
use super::metrics::{CallMeter, ClientMetrics, Measured};
use super::observer::Observers;
use super::reporter::{Reporter, Wishes};
use super::shared::Shared;

/// The keeper of pools, and who receives their events.
pub(super) struct ManagerContext {
    pub(super) keeper: Arc<Keeper>,
    pub(super) metrics: ClientMetrics,
    pub(super) observers: Observers,
}

impl ManagerContext {
    /// With metrics of its own.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn new() -> Result<ManagerContext, PoolError> {
        ManagerContext::with(ClientMetrics::new())
    }

    /// With these metrics.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn with(metrics: ClientMetrics) -> Result<ManagerContext, PoolError> {
        let keeper = Arc::new(Keeper::start()?);
        Ok(ManagerContext { keeper, metrics, observers: Observers::default() })
    }

    /// Reports for one service, as its settings say.
    pub(super) fn reporter(&self, service: &str, config: &ServiceConfig) -> Reporter {
        let meter = match config.enable_metrics {
            true => self.metrics.meter(service),
            false => CallMeter::off(),
        };
        Reporter::new(service, &Wishes::from(config), meter, self.observers.clone())
    }

    /// Looks after a pool, and measures it, for as long as it lives.
    pub(super) fn watch(&self, pool: &Arc<Shared>) {
        let measured: Arc<dyn Measured> = Arc::clone(pool) as Arc<dyn Measured>;
        let measured: Weak<dyn Measured> = Arc::downgrade(&measured);
        self.metrics.watch(measured);
        let kept: Arc<dyn Tended> = Arc::clone(pool) as Arc<dyn Tended>;
        self.keeper.keep(Arc::downgrade(&kept));
    }
}
