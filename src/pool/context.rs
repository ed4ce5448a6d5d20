//! What all tenants share.

use std::sync::Arc;

use scheduled_thread_pool::ScheduledThreadPool;

use crate::config::Config;
use crate::pool::alarms::Bell;
use crate::pool::job::Outstanding;
use crate::pool::operation::Tools;

/// What all tenants share.
pub struct Context {
    /// Settings of the service.
    pub config: Config,
    /// Workers, alarms, metrics.
    pub tools: Tools,
    /// Wakes the reaper.
    pub bell: Bell,
    /// Wakes the keeper.
    pub keeper: Bell,
    /// All permits that are out.
    pub outstanding: Outstanding,
    /// r2d2's one thread.
    pub r2d2: Arc<ScheduledThreadPool>,
}
