//! What almost all work needs of the service.

use crate::metrics::Metrics;
use crate::threads::alarms::Alarms;
use crate::threads::workers::Workers;

/// What every operation needs of the service.
#[derive(Clone)]
pub struct Tools {
    /// Runs cancels.
    pub workers: Workers,
    /// Times out.
    pub alarms: Alarms,
    /// Counts cancels.
    pub metrics: Metrics,
}
