//! The thread that keeps client connections within their limits.
//!
//! gRPC 1.56 accepts every connection. So the guard reads the kernel's list of accepted connections
//! several times a second, and aborts those beyond the limits, newest first. In between more may be
//! open for a moment; descriptors are reserved for that. If the system does not let it close
//! connections, it logs that once and only counts.
//!
//! gRPC reports the connections with too many calls. It is asked only when the memory of the
//! process has grown, so that it costs nothing otherwise.

mod closer;
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
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

use closer::Closer;
use memory::Resident;
use sockets::{ClientSocket, Sockets};

/// The pause between rounds: a client in a loop opens some hundred connections in it.
const PAUSE: Duration = Duration::from_millis(100);
/// A round takes longer if the kernel has very many sockets. The pause is this many times as long,
/// so that the guard never takes more than a fiftieth of a core.
const PAUSE_PER_LOOK: u32 = 50;
/// The longest pause, also used after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often it checks whether the memory has grown. A client opens a few thousand calls in that
/// time, which take some 50 MB.
const WATCH: Duration = Duration::from_millis(25);
/// The growth that makes it count calls; ordinary work rarely reaches it.
const GROWTH: u64 = 16 << 20;
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
    /// True once it was logged that the kernel does not list connections.
    blind: bool,
    said: HashMap<ConnectionExcess, Said>,
    last_look: Option<Instant>,
    /// The memory in use when calls were last counted, or the lowest since.
    least: u64,
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
        blind: false,
        said: HashMap::new(),
        last_look: None,
        least: u64::MAX,
    };
    Thread::start(threads::GRPC_GUARD, move |stopped| guard.run(&stopped))
}

impl Guard {
    fn run(&mut self, stopped: &Stopped) {
        let mut next_look = clock::now();
        loop {
            let began = clock::now();
            let due = began >= next_look;
            let looked = threads::survive(threads::GRPC_GUARD, || {
                if due || self.has_grown()?.is_some() {
                    self.look(began)?;
                }
                Ok(())
            });
            if due {
                let took = clock::now() - began;
                let pause = PAUSE.max(took * PAUSE_PER_LOOK).min(LONGEST_PAUSE);
                next_look = began + pause;
            }
            match looked {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    self.no_look(&error);
                    next_look = began + LONGEST_PAUSE;
                }
                None => next_look = began + LONGEST_PAUSE,
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

    /// The connections with too many calls, if the memory has grown enough to ask.
    fn connections_with_excess_calls(&mut self) -> io::Result<Vec<SocketAddr>> {
        let Some(now) = self.has_grown()? else { return Ok(Vec::new()) };
        // Further growth is measured from here.
        self.least = now;
        Ok((self.excess_calls)())
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
        // Before the sockets, so that no byte is counted as read before it counts as received.
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
        let excess_calls = self.connections_with_excess_calls()?;
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

fn seen(one: &ClientSocket, taken: &HashMap<SocketAddr, u64>) -> SeenConnection<IpAddr> {
    let taken = taken.get(&one.peer).copied().unwrap_or(0);
    SeenConnection { id: one.inode, host: one.peer.ip(), received: one.received, taken }
}
