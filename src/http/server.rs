//! The proxy and the pages together, under a supervisor.
//!
//! tiny_http's accept thread ends silently on any accept error, such as a lack of file
//! descriptors. So a supervisor requests `/health` periodically and, when it gets no
//! answer, starts new pages behind the same port.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{after, select, TryRecvError};

use crate::clock;
use crate::core::quoted::Quoted;
use crate::http::door::{HttpDoor, ServedPages, Upstream};
use crate::http::metrics::PoolGauges;
use crate::http::not_served::NotServed;
use crate::http::pages::Pages;
use crate::http::proxy;
use crate::http::slots::Slots;
use crate::http::tls::{HttpTls, PemSource};
use crate::listener;
use crate::logging;
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// How often the accepting thread checks whether it must stop.
const POLL: Duration = Duration::from_millis(100);
/// How often the supervisor requests `/health`.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How long it waits for the answer.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A running HTTP server. Its threads end, and its ports close, when dropped.
pub struct HttpServer {
    address: SocketAddr,
    admin: Option<SocketAddr>,
    tls: Option<Arc<HttpTls>>,
    // Dropped in this order: the supervisor ends before the threads that answer.
    _supervisor: Thread,
    _accepting: Vec<Thread>,
    _pages: Arc<RwLock<Pages>>,
}

impl HttpServer {
    /// Binds and serves, as the settings of the service say. With TLS it serves from
    /// [`secure`](Self::secure) on.
    ///
    /// # Errors
    /// If an address cannot be listened on, or a thread cannot be started.
    pub fn start(service: &Service) -> Result<HttpServer, NotServed> {
        let gauges = PoolGauges::new(service.clone()).map_err(io::Error::other)?;
        let registry = service.context().tools.metrics.registry();
        registry.register(Box::new(gauges)).map_err(io::Error::other)?;
        let config = &service.context().config;
        let (main, address) = bind(config.http)?;
        let pages = Arc::new(RwLock::new(Pages::start(service)?));
        let now = Arc::clone(&pages);
        let upstream: Upstream =
            Arc::new(move || now.read().unwrap_or_else(PoisonError::into_inner).socket());
        let tls = config.http_tls.then(Arc::<HttpTls>::default);
        let door = |served| HttpDoor {
            pages: served,
            guarded: config.http_auth.then(|| service.clone()),
            tls: tls.clone(),
            upstream: Arc::clone(&upstream),
        };
        let most = config.limits.http_connections;
        let (mut accepting, mut admin) = (Vec::new(), None);
        let served = match config.http_admin {
            Some(other) => {
                let (listener, address) = bind(other)?;
                admin = Some(address);
                accepting.push(accept_at(listener, door(ServedPages::All), most)?);
                ServedPages::Liveness
            }
            None => ServedPages::All,
        };
        accepting.push(accept_at(main, door(served), most)?);
        let (watched, service) = (Arc::clone(&pages), service.clone());
        let supervisor = Thread::start(threads::HTTP_WATCH, move |stopped| {
            supervise(&watched, &service, &upstream, &stopped);
        })?;
        Ok(HttpServer {
            address,
            admin,
            tls,
            _supervisor: supervisor,
            _accepting: accepting,
            _pages: pages,
        })
    }

    /// TLS, if it is asked for, with the certificate that `source` returns before each handshake.
    ///
    /// # Errors
    /// OpenSSL does not take the certificate.
    pub fn secure(&self, source: PemSource) -> Result<(), NotServed> {
        match &self.tls {
            Some(tls) => Ok(tls.begin(source)?),
            None => Ok(()),
        }
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The other address, for all but liveness, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), NotServed> {
    let listener = listener::listen(address).map_err(|error| NotServed::Listen(address, error))?;
    let address = listener.local_addr()?;
    // The accepting thread checks between connections whether it must stop.
    listener.set_nonblocking(true)?;
    Ok((listener, address))
}

/// Serves a port, with places for `most` connections of its own: who floods one leaves the other
/// usable.
fn accept_at(listener: TcpListener, door: HttpDoor, most: usize) -> io::Result<Thread> {
    let door = Arc::new(door);
    Thread::start(threads::HTTP_ACCEPT, move |stopped| {
        run(&listener, &door, Slots::new(most), &stopped)
    })
}

fn run(listener: &TcpListener, door: &Arc<HttpDoor>, slots: Slots, stopped: &Stopped) {
    while wait_readable(listener, stopped) && take_room(&slots, stopped) {
        if let Err(error) = proxy::accept(listener, slots.slot(), door) {
            if error.kind() != io::ErrorKind::WouldBlock {
                if logging::admits("http_accept_failed", None) {
                    log::warn!("event=http_accept_failed error={}", Quoted(&error.to_string()));
                }
                select! {
                    recv(stopped) -> _ => return,
                    recv(after(POLL)) -> _ => {}
                }
            }
        }
    }
}

/// Waits for a slot for one more connection, or makes one free; false when stopping.
fn take_room(slots: &Slots, stopped: &Stopped) -> bool {
    loop {
        let again = slots.make_room(clock::now());
        select! {
            recv(stopped) -> _ => return false,
            send(slots.room(), ()) -> _ => return true,
            recv(after(again)) -> _ => {}
        }
    }
}

/// Waits for a connection; false when stopping.
fn wait_readable(listener: &TcpListener, stopped: &Stopped) -> bool {
    while stopped.try_recv() != Err(TryRecvError::Disconnected) {
        let ready = rustix::event::poll(
            &mut [rustix::event::PollFd::new(listener, rustix::event::PollFlags::IN)],
            Some(&timespec(POLL)),
        );
        if ready.is_ok_and(|ready| ready > 0) {
            return true;
        }
    }
    false
}

fn timespec(duration: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn supervise(pages: &RwLock<Pages>, service: &Service, upstream: &Upstream, stopped: &Stopped) {
    loop {
        select! {
            recv(stopped) -> _ => return,
            recv(after(PROBE_INTERVAL)) -> _ => {}
        }
        threads::survive(threads::HTTP_WATCH, || {
            let Err(error) = ask(&upstream()) else { return };
            log::warn!(
                "event=http_unresponsive error={} action=restart",
                Quoted(&error.to_string())
            );
            match Pages::start(service) {
                Ok(fresh) => {
                    let mut now = pages.write().unwrap_or_else(PoisonError::into_inner);
                    let old = std::mem::replace(&mut *now, fresh);
                    drop(now);
                    drop(old);
                }
                Err(error) => {
                    log::error!("event=http_restart_failed error={}", Quoted(&error.to_string()));
                }
            }
        });
    }
}

fn ask(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.set_write_timeout(Some(PROBE_LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b"200") {
        Ok(())
    } else {
        Err(io::Error::other("the answer's status is not 200"))
    }
}
