//! What all tenants share.

use std::sync::Arc;

use scheduled_thread_pool::ScheduledThreadPool;

use crate::config::ServerConfig;
use crate::core::ids::TenantId;
use crate::lock::Leaf;
use crate::metrics::Metrics;
use crate::pool::access::AccessInForce;
use crate::pool::caller::Caller;
use crate::pool::conversions::Conversions;
use crate::pool::keeping::Keeping;
use crate::pool::memory::Memory;
use crate::pool::peers::Peers;
use crate::pool::port::Port;
use crate::pool::rates::RequestRates;
use crate::pool::reloading::Reloading;
use crate::pool::requests::one_shots::OneShots;
use crate::pool::requests::outstanding::Outstanding;
use crate::pool::servers::Servers;
use crate::pool::serving::Serving;
use crate::pool::tools::{log_no_socket_thread, log_spawn_failure, CancelGrace, OpenCalls, Tools};
use crate::pool::waiting_room::{Full, Parked, WaitingRoom};
use crate::threads::agenda::Agenda;
use crate::threads::alarms::Alarms;
use crate::threads::bell::Bell;
use crate::threads::polls::Polls;
use crate::threads::socket_waits::SocketWaits;
use crate::threads::workers::Workers;

/// What all tenants share.
pub struct Context {
    /// Settings as they were at the start. [`live`](Context::live) returns those in force, for all
    /// that a reload can change.
    pub config: ServerConfig,
    /// Settings as they are in force.
    live: Leaf<Arc<ServerConfig>>,
    /// Workers, alarms, metrics.
    pub tools: Tools,
    /// The one-shots that run.
    pub one_shots: OneShots,
    /// Large requests that are being decoded.
    pub conversions: Conversions,
    /// Wakes the reaper.
    pub bell: Bell,
    /// When each tenant's waiters are due.
    pub agenda: Agenda,
    /// What is polled from time to time.
    pub polls: Polls,
    /// Wakes the keeper.
    pub keeper: Bell,
    /// Whether requests are wanted.
    pub serving: Serving,
    /// The gRPC port.
    pub port: Port,
    /// All permits that are out.
    pub outstanding: Outstanding,
    /// Who reads the settings again.
    pub reloading: Reloading,
    /// What operators change is kept over a restart.
    pub keeping: Keeping,
    /// Who may call.
    pub access: AccessInForce,
    /// How many requests a second each identity makes.
    pub rates: RequestRates,
    /// All client connections.
    pub peers: Peers,
    /// The servers that tenants are connected to.
    pub servers: Servers,
    /// The memory that is held for others.
    pub memory: Memory,
    /// All requests that wait.
    pub waiting_room: WaitingRoom,
    /// r2d2's one thread.
    pub r2d2: Arc<ScheduledThreadPool>,
}

impl Context {
    /// What all tenants of a service with these settings share.
    pub fn new(config: ServerConfig) -> Arc<Context> {
        let bell = Bell::default();
        let tools = Tools {
            workers: Workers::new(log_spawn_failure),
            socket_waits: SocketWaits::new(log_no_socket_thread),
            open_calls: OpenCalls::default(),
            alarms: Alarms::new(bell.clone()),
            metrics: Metrics::new(config.limits.metrics_tenants),
            grace: CancelGrace::new(config.limits.clocks.cancel_grace),
        };
        // One thread moves opened backends into their pools, for all tenants.
        let r2d2 =
            ScheduledThreadPool::builder().num_threads(1).thread_name_pattern("r2d2").build();
        Arc::new(Context {
            conversions: Conversions::new(&tools.workers),
            agenda: Agenda::new(bell.clone()),
            polls: Polls::new(bell.clone()),
            bell,
            keeper: Bell::default(),
            serving: Serving::default(),
            port: Port::default(),
            outstanding: Outstanding::default(),
            reloading: Reloading::default(),
            keeping: Keeping::default(),
            access: AccessInForce::new(Arc::clone(&config.access)),
            rates: RequestRates::default(),
            peers: Peers::new(config.limits.memory_bytes_per_connection),
            memory: Memory::new(&config.limits),
            servers: Servers::new(config.limits.connections_per_server, &tools.alarms),
            waiting_room: WaitingRoom::new(&config.limits),
            r2d2: Arc::new(r2d2),
            tools,
            one_shots: OneShots::default(),
            live: Leaf::new(Arc::new(config.clone())),
            config,
        })
    }

    /// Puts other settings in force, and returns those before. `has_changed` names the tenants
    /// that differ.
    pub(super) fn put_in_force(
        &self,
        config: ServerConfig,
        has_changed: impl Fn(&TenantId) -> bool,
    ) -> Arc<ServerConfig> {
        self.access.replace(Arc::clone(&config.access), has_changed);
        self.tools.grace.set(config.limits.clocks.cancel_grace);
        std::mem::replace(&mut *self.live.lock(), Arc::new(config))
    }

    /// Settings as they are in force. For each decision they are to be had anew. Those that only
    /// a restart changes (`config::keys`) may be others than those that hold.
    pub fn live(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.lock())
    }

    /// Takes a place for a request of this caller that waits.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn park(&self, caller: &Caller) -> Result<Parked, Full> {
        let limited = caller.owner().map(|id| (id, self.live().limits.waiters_per_identity));
        self.waiting_room.enter(caller.peer(), limited.filter(|(_, limit)| *limit > 0))
    }
}
