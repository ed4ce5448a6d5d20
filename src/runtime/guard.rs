//! The thread that keeps client connections within their limits.
//!
//! gRPC 1.56 accepts every connection. So the guard reads the kernel's list of accepted connections
//! several times a second, and aborts those beyond the limits, newest first. In between more may be
//! open for a moment; descriptors are reserved for that. If the system does not let it close
//! connections, it logs that once and only counts.
//!
//! gRPC reports the connections with too many calls. It is asked only when the memory of the
//! process has grown, or a connection makes calls very fast, so that it costs nothing otherwise.

mod closer;
mod load;
mod memory;
mod sockets;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};

use crate::clock;
use crate::core::connections::{ConnectionBounds, ConnectionExcess, Connections, SeenConnection};
use crate::core::quoted::Quoted;
use crate::pool::peers::TakenFromPeer;
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

use closer::Closer;
use load::BusyMeter;
use memory::Resident;
use sockets::{ClientSocket, Sockets};

/// The pause between rounds while the process has little to do: a client in a loop opens some
/// hundred connections in it.
const PAUSE: Duration = Duration::from_millis(100);
/// A round computes for longer if the kernel has very many sockets. The pause is this many times
/// as long, so that the guard never takes more than a fiftieth of a core. The time that others keep
/// it from the cores does not count: then there is most to look at.
const PAUSE_PER_LOOK: u32 = 50;
/// The longest pause, also used after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often it checks whether the memory has grown, or the process is busy; then it looks at
/// once. A client opens a few thousand calls in that time, which take some 50 MB.
const WATCH: Duration = Duration::from_millis(25);
/// The growth that makes it count calls; ordinary work rarely reaches it.
const GROWTH: u64 = 16 << 20;
/// So many calls of one connection between two looks make it count calls, too.
const MANY_CALLS: u64 = 512;
/// The pause between two log lines of one reason.
const QUIET: Duration = Duration::from_secs(10);

/// Returns the clients' addresses of connections with more open calls than allowed.
pub type ExcessCalls = fn() -> Vec<SocketAddr>;

struct Guard {
    service: Service,
    port: u16,
    bounds: ConnectionBounds,
    excess_calls: ExcessCalls,
    sockets: Option<Sockets>,
    /// `None`: the system does not report it.
    memory: Option<Resident>,
    /// `None`: the system does not allow closing connections.
    closer: Option<Closer>,
    connections: Connections,
    load: BusyMeter,
    /// True once it was logged that the kernel does not list connections.
    blind: bool,
    said: HashMap<ConnectionExcess, Said>,
    last_look: Option<Instant>,
    /// The memory in use when calls were last counted, or the lowest since.
    least: u64,
    /// When calls may be counted again although it has not grown.
    next_count: Instant,
}

/// The connections closed for one reason since the last line.
struct Said {
    count: usize,
    last: SocketAddr,
    next: Instant,
}

/// Starts the guard of this port.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(
    port: u16,
    bounds: ConnectionBounds,
    excess_calls: ExcessCalls,
    service: &Service,
) -> io::Result<Thread> {
    let closer = Closer::new(port).inspect_err(|error| {
        log::warn!(
            "event=guard_powerless error={} message=\"client connections beyond the limits \
             are counted and not closed: allow the system call pidfd_getfd\"",
            Quoted(&error.to_string())
        );
    });
    let memory = Resident::open().inspect_err(|error| {
        log::warn!(
            "event=guard_blind error={} message=\"calls without an end are not \
             noticed: /proc is needed for that\"",
            Quoted(&error.to_string())
        );
    });
    let mut guard = Guard {
        service: service.clone(),
        port,
        bounds,
        excess_calls,
        sockets: None,
        memory: memory.ok(),
        closer: closer.ok(),
        connections: Connections::default(),
        load: BusyMeter::default(),
        blind: false,
        said: HashMap::new(),
        last_look: None,
        least: u64::MAX,
        next_count: clock::now(),
    };
    Thread::start(threads::GRPC_GUARD, move |stopped| guard.run(&stopped))
}

impl Guard {
    fn run(&mut self, stopped: &Stopped) {
        // When the next look is due, and how soon it may be.
        let (mut due, mut soonest) = (clock::now(), clock::now());
        loop {
            let (began, computed) = (clock::now(), load::computed());
            let is_busy = self.load.is_busy();
            let is_due = began >= due || is_busy && began >= soonest;
            let looked = threads::survive(threads::GRPC_GUARD, || {
                let looks = is_due || self.has_grown()?.is_some();
                if looks {
                    self.look(began)?;
                }
                Ok(looks)
            });
            let took = load::computed().saturating_sub(computed);
            let rest = (took * PAUSE_PER_LOOK).min(LONGEST_PAUSE);
            match looked {
                Some(Ok(true)) => (due, soonest) = (began + PAUSE.max(rest), began + rest),
                Some(Ok(false)) => {}
                Some(Err(error)) => {
                    self.no_look(&error);
                    (due, soonest) = (began + LONGEST_PAUSE, began + LONGEST_PAUSE);
                }
                None => (due, soonest) = (began + LONGEST_PAUSE, began + LONGEST_PAUSE),
            }
            select! {
                recv(stopped) -> _ => return,
                recv(after(WATCH)) -> _ => {}
            }
        }
    }

    /// The memory in use, if it has grown enough to count calls.
    fn has_grown(&mut self) -> io::Result<Option<u64>> {
        let Some(memory) = &mut self.memory else { return Ok(None) };
        let now = memory.bytes()?;
        self.least = self.least.min(now);
        Ok((now > self.least.saturating_add(GROWTH)).then_some(now))
    }

    /// The connections with too many calls, if there is reason to ask: the memory has grown, or
    /// one has made `most` calls since the last look. What was freed and is used again is no growth.
    fn connections_with_excess_calls(&mut self, most: u64) -> io::Result<Vec<SocketAddr>> {
        let grown = self.has_grown()?;
        let (began, computed) = (clock::now(), load::computed());
        if grown.is_none() && (most < MANY_CALLS || began < self.next_count) {
            return Ok(Vec::new());
        }
        // Further growth is measured from here.
        self.least = grown.unwrap_or(self.least);
        let found = (self.excess_calls)();
        let took = load::computed().saturating_sub(computed);
        self.next_count = began + took * PAUSE_PER_LOOK;
        Ok(found)
    }

    fn no_look(&mut self, error: &io::Error) {
        self.sockets = None;
        self.service.context().port.set_guarded(false);
        if !std::mem::replace(&mut self.blind, true) {
            log::warn!(
                "event=guard_blind error={} message=\"client connections are not limited: \
                 the kernel does not list them over netlink\"",
                Quoted(&error.to_string())
            );
        }
    }

    fn look(&mut self, now: Instant) -> io::Result<()> {
        // Before the sockets, so that no byte is counted as taken before it counts as received.
        let taken = self.service.context().peers.taken();
        let sockets = match &mut self.sockets {
            Some(sockets) => sockets,
            none => none.insert(Sockets::open()?),
        };
        let mut there = sockets.on_port(self.port)?;
        let port = &self.service.context().port;
        there.retain(|socket| !port.is_ours(socket.peer));
        port.set_guarded(self.closer.is_some());
        self.blind = false;
        let seen: Vec<SeenConnection<IpAddr>> = there.iter().map(|one| seen(one, &taken)).collect();
        let after =
            self.last_look.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_look = Some(now);
        let mut beyond = self.connections.look(&seen, self.bounds, after);
        let most = taken.values().map(|taken| taken.calls).max().unwrap_or(0);
        let excess_calls = self.connections_with_excess_calls(most)?;
        let excess_calls = there.iter().filter(|socket| excess_calls.contains(&socket.peer));
        beyond.extend(excess_calls.map(|socket| (socket.inode, ConnectionExcess::Streams)));
        let closed = if beyond.is_empty() { 0 } else { self.close(&beyond, &there, now)? };
        let open = there.len().saturating_sub(closed);
        self.service.context().port.set_clients(open, self.bounds.total);
        self.say(now);
        Ok(())
    }

    fn close(
        &mut self,
        beyond: &[(u64, ConnectionExcess)],
        there: &[ClientSocket],
        now: Instant,
    ) -> io::Result<usize> {
        let Some(closer) = &mut self.closer else { return Ok(0) };
        let peers: HashMap<u64, SocketAddr> =
            there.iter().map(|socket| (socket.inode, socket.peer)).collect();
        let those = beyond.iter().filter_map(|(id, _)| Some((*id, *peers.get(id)?))).collect();
        let closed = closer.close(those)?;
        let metrics = &self.service.context().tools.metrics;
        for (id, excess) in beyond {
            let Some(peer) = closed.get(id) else { continue };
            metrics.connection_refused(excess.as_str());
            let said = Said { count: 0, last: *peer, next: now };
            let said = self.said.entry(*excess).or_insert(said);
            said.count += 1;
            said.last = *peer;
        }
        Ok(closed.len())
    }

    /// Logs what was closed, if a line is due.
    fn say(&mut self, now: Instant) {
        let (open, limit) = self.service.context().port.clients();
        self.said.retain(|excess, said| {
            if now < said.next {
                return true;
            }
            if said.count == 0 {
                return false;
            }
            log::warn!(
                "event=connections_closed reason={} count={} from={} open={open} limit={limit} \
                 limit_of_an_address={}",
                excess.as_str(),
                said.count,
                said.last,
                self.bounds.per_host,
            );
            said.count = 0;
            said.next = now + QUIET;
            true
        });
    }
}

fn seen(one: &ClientSocket, taken: &HashMap<SocketAddr, TakenFromPeer>) -> SeenConnection<IpAddr> {
    let TakenFromPeer { bytes: taken, let_in, .. } =
        taken.get(&one.peer).copied().unwrap_or_default();
    SeenConnection { id: one.inode, host: one.peer.ip(), received: one.received, taken, let_in }
}
