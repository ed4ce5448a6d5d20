//! The settings of a pool and of its connections.

use std::time::Duration;

use crate::client::balance::Balance;
use crate::client::pick::Picker;
use crate::client::resolver::Resolver;

/// How messages are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// The numbers of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Connections, or with a `min_size` the most of them. 1 to 1000, default 10.
    pub size: usize,
    /// The fewest connections: there are more, up to `size`, as soon as somebody has to wait for
    /// one, and fewer again when they were not needed for `idle_timeout`. 1 to `size`. Default
    /// `None`: always `size`.
    pub min_size: Option<usize>,
    /// Connections beyond `min_size` that were not needed for so long are closed. Default 5 min.
    pub idle_timeout: Duration,
    /// How many have one connection at the same time: 1, the default, is a connection to
    /// oneself; 100 suits short unary calls. 1 to 10 000.
    pub calls_per_channel: usize,
    /// How long `get` waits for a free connection. Default 15 s.
    pub checkout_timeout: Duration,
    /// At most so many callers wait. Default 1000.
    pub max_waiters: usize,
    /// How long `open` waits for a first connection; one attempt takes no longer. Default 30 s.
    pub open_timeout: Duration,
    /// A connection that is so old is replaced, up to a tenth earlier by chance. Default 1 h;
    /// `None`: never.
    pub max_age: Option<Duration>,
    /// A connection that is lent for so long is logged with the place in the program that asked
    /// for it. Default 10 min; `None`: never.
    pub leak_warning: Option<Duration>,
    /// How long a stop waits for connections that are lent. Default 30 s.
    pub drain_timeout: Duration,
    /// Which of the free connections is lent. Default round robin.
    pub balance: Balance,
    /// A choice of the program's own, which wins over `balance`. Default `None`.
    pub pick: Option<Picker>,
}

/// The numbers of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// The largest message, both ways, in bytes. 1 to 1 GiB, default 4 MiB.
    pub max_message_bytes: usize,
    /// A connection that is silent for so long is asked whether it lives; `None`: never.
    /// Default 30 s.
    pub keepalive_time: Option<Duration>,
    /// It is dead if it does not answer within so long. Default 5 s.
    pub keepalive_timeout: Duration,
    /// It is asked while there is no call, too. Default true.
    pub keepalive_permit_without_calls: bool,
    /// One attempt to connect takes at most so long, all its steps together. Default 10 s.
    pub connect_timeout: Duration,
    /// The pause after the first attempt that failed; each further one is 1.6 times as long.
    /// Default 1 s.
    pub reconnect_backoff_min: Duration,
    /// The longest pause. Default 3 s.
    pub max_reconnect_delay: Duration,
    /// A connection that was idle for so long is probed, so that it stays warm; `None`: never.
    /// Default 25 s.
    pub ping_interval: Option<Duration>,
    /// How messages are compressed that are sent. Default not at all.
    pub compression: Compression,
    /// What comes first in the header `user-agent`. Default none: gRPC's own alone.
    pub user_agent: Option<String>,
    /// Whether `http_proxy` and `https_proxy` of the environment are obeyed, which look names
    /// up themselves. Default false: they would divert connections to this machine, too.
    pub http_proxy: bool,
    /// The names among the addresses are looked up so often, beside when a connection to one has
    /// failed. Default 60 s; `None`: only then.
    pub dns_refresh: Option<Duration>,
    /// Who looks them up. Default `None`: the system.
    pub resolver: Option<Resolver>,
}
