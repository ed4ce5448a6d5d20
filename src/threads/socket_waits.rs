//! Work that waits for its socket to receive something, on one thread for all.
//!
//! A thread for each that waits would be woken for each, and would wake another one before. This
//! one is woken for all that has come meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::lock::Leaf;
use crate::threads::{self, here};

#[cfg(test)]
mod tests;
mod watched;

use watched::{place, Arrived, Put, WatchedSockets};

/// Sockets that are looked at in one turn.
const TURN: usize = 64;
/// An event for all that arrives, and which tells an end from the rest.
const ARRIVALS: EventFlags = EventFlags::IN.union(EventFlags::RDHUP).union(EventFlags::ET);
/// What tells an end.
const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);
/// What the end of all handles is seen by.
const END: u64 = u64::MAX;

/// A socket that can be waited for.
pub type SharedSocket = Arc<dyn AsFd + Send + Sync>;

/// True once the socket has received something, within `limit`.
pub fn is_ready_within(socket: &SharedSocket, limit: Duration) -> bool {
    let Ok(limit) = Timespec::try_from(limit) else { return false };
    let mut watched = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    matches!(poll(&mut watched, Some(&limit)), Ok(1))
}

/// Work that goes on when its socket has received something. Nothing of it may block.
pub trait Awaiting: Send {
    /// Its socket; `None` if there is none to wait for.
    fn socket(&self) -> Option<SharedSocket>;
    /// Reads what has come. False: more has to come before it can go on.
    fn has_come(&mut self) -> bool;
    /// Goes on.
    fn go_on(self: Box<Self>);
}

/// All work that waits for a socket. The thread starts with the first, and ends with the last
/// handle.
#[derive(Clone)]
pub struct SocketWaits(Arc<Waits>);

struct Waits {
    /// `None` inside: it could not be started.
    started: OnceLock<Option<Arc<WaitsThread>>>,
    /// Called with the error then.
    not_started: fn(&io::Error),
}

/// A thread that cannot be started is reported to nobody.
impl Default for SocketWaits {
    fn default() -> SocketWaits {
        SocketWaits::new(|_| ())
    }
}

struct WaitsThread {
    epoll: OwnedFd,
    end: OwnedFd,
    sockets: Leaf<WatchedSockets>,
}

impl SocketWaits {
    /// No thread yet. `not_started` is called when it cannot be started; it must not block.
    pub fn new(not_started: fn(&io::Error)) -> SocketWaits {
        SocketWaits(Arc::new(Waits { started: OnceLock::new(), not_started }))
    }

    /// Goes on with `work` once its socket has received something.
    ///
    /// # Errors
    /// The work itself, if the system has no thread or descriptor for it.
    pub fn wait(&self, work: Box<dyn Awaiting>) -> Result<(), Box<dyn Awaiting>> {
        let Waits { started, not_started } = &*self.0;
        let start = || WaitsThread::start().inspect_err(not_started).ok();
        match started.get_or_init(start) {
            Some(waiting) => waiting.wait(work, false),
            None => Err(work),
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(Some(waiting)) = self.started.get() {
            // Cannot fail: nothing else is written to it.
            let _ = rustix::io::write(&waiting.end, &1_u64.to_ne_bytes());
        }
    }
}

impl WaitsThread {
    fn start() -> io::Result<Arc<WaitsThread>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let end = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &end, EventData::new_u64(END), EventFlags::IN)?;
        let waits = Arc::new(WaitsThread { epoll, end, sockets: Leaf::default() });
        let of_thread = Arc::clone(&waits);
        threads::spawn(threads::SOCKETS, move || {
            here::is_shared();
            of_thread.run();
        })?;
        Ok(waits)
    }

    /// `looked`: something may be there that brings no other event.
    fn wait(&self, work: Box<dyn Awaiting>, looked: bool) -> Result<(), Box<dyn Awaiting>> {
        let Some(socket) = work.socket() else { return Err(work) };
        let put = self.sockets.lock().put(&socket, work, looked);
        match put {
            Put::Watched => return Ok(()),
            Put::Taken(work) => return Err(work),
            Put::Ask => {}
        }
        if self.watch(&socket, ARRIVALS).is_ok() {
            return Ok(());
        }
        let given_up = self.sockets.lock().give_up(&socket);
        given_up.map_or(Ok(()), Err)
    }

    /// With `ARRIVALS`, an event comes for what is there, and for all that arrives; without, only
    /// for an end of the connection.
    fn watch(&self, socket: &SharedSocket, flags: EventFlags) -> Result<(), Errno> {
        let data = EventData::new_u64(place(socket) as u64);
        match epoll::modify(&self.epoll, &**socket, data, flags) {
            // Its first time.
            Err(Errno::NOENT) => epoll::add(&self.epoll, &**socket, data, flags),
            watched => watched,
        }
    }

    /// Until the last handle is dropped.
    fn run(&self) {
        let mut events = Vec::with_capacity(TURN);
        loop {
            events.clear();
            // Fails for a signal only: its descriptors are open until it ends.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut events), None);
            for event in &events {
                // A copy, as the event is packed.
                let flags = event.flags;
                let ended = flags.intersects(ENDED);
                match event.data.u64() {
                    END => return,
                    place => self.look(usize::try_from(place).unwrap_or(usize::MAX), ended),
                }
            }
        }
    }

    fn look(&self, place: usize, ended: bool) {
        let arrived = self.sockets.lock().arrived(place, ended);
        let mut work = match arrived {
            Arrived::For(work) => work,
            Arrived::Nobody => return,
            Arrived::Unwanted(socket) => return self.leave(&socket),
        };
        // A panic costs this work only.
        threads::survive(threads::SOCKETS, || {
            if work.has_come() {
                return work.go_on();
            }
            if let Err(work) = self.wait(work, true) {
                // Nobody would look again.
                work.go_on();
            }
        });
    }

    /// Ends the events of a socket that others read: each would wake this thread for nothing.
    fn leave(&self, socket: &SharedSocket) {
        let _ = self.watch(socket, EventFlags::ET);
        // Work may have been put there meanwhile, and have asked for events before this.
        if self.sockets.lock().is_awaited(socket) {
            let _ = self.watch(socket, ARRIVALS);
        }
    }
}
