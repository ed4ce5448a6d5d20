//! tiny_http under a supervisor.
//!
//! Its accept thread dies of a lack of file descriptors, or of any other accept
//! error, without a word. So the listening socket is ours: a supervisor asks
//! for `/health` over loopback now and then and, when no answer comes, puts a
//! new server on a clone of the same socket.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{after, select};
use socket2::{Domain, Socket, Type};
use tiny_http::{Header, Request, Response};

use crate::http::metrics::{self, Gauges};
use crate::pool::service::Service;
use crate::runtime::shutdown::{Stopped, Thread};
use crate::threads;

/// Threads that answer; a stalled reader holds one for `SEND_TIMEOUT` at most.
const ANSWERING: usize = 2;
/// A thread looks for the stop so often.
const POLL: Duration = Duration::from_millis(500);
/// A reader who takes nothing for so long is cut off.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// The supervisor asks so often.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// And waits so long for an answer.
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A running HTTP server. Its threads end, and its port closes, when dropped.
pub struct Server {
    port: u16,
    // In this order: who rebuilds ends before those who answer.
    _supervisor: Thread,
    _answering: Vec<Thread>,
    _current: Arc<Current>,
}

/// The server that answers now; the supervisor replaces it.
struct Current(RwLock<Arc<tiny_http::Server>>);

impl Current {
    fn get(&self) -> Arc<tiny_http::Server> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, server: tiny_http::Server) {
        let fresh = Arc::new(server);
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *current, fresh);
        drop(current);
        old.unblock();
    }
}

impl Server {
    /// Binds and serves.
    ///
    /// # Errors
    /// If the address cannot be listened on, or there is no thread left.
    pub fn start(address: SocketAddr, service: &Service) -> io::Result<Server> {
        let gauges = Gauges::new(service.clone()).map_err(io::Error::other)?;
        let registry = service.context().tools.metrics.registry();
        registry.register(Box::new(gauges)).map_err(io::Error::other)?;
        let listener = listen(address)?;
        let port = listener.local_addr()?.port();
        let current = Arc::new(Current(RwLock::new(Arc::new(serve(&listener)?))));
        let mut answering = Vec::new();
        for _ in 0..ANSWERING {
            let (current, service) = (Arc::clone(&current), service.clone());
            answering.push(Thread::start(threads::HTTP, move |stopped| {
                run(&current, &service, &stopped);
            })?);
        }
        let probe = SocketAddr::new(loopback(address.ip()), port);
        let watched = Arc::clone(&current);
        let supervisor = Thread::start(threads::HTTP_WATCH, move |stopped| {
            supervise(&watched, &listener, probe, &stopped);
        })?;
        Ok(Server { port, _supervisor: supervisor, _answering: answering, _current: current })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Linux hands SO_SNDTIMEO on to accepted sockets, which is how a stalled reader
/// gets a limit that tiny_http does not know.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_write_timeout(Some(SEND_TIMEOUT))?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

fn serve(listener: &TcpListener) -> io::Result<tiny_http::Server> {
    tiny_http::Server::from_listener(listener.try_clone()?, None).map_err(io::Error::other)
}

fn loopback(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

fn run(current: &Current, service: &Service, stopped: &Stopped) {
    while stopped.is_empty() && !is_closed(stopped) {
        let server = current.get();
        match server.recv_timeout(POLL) {
            Ok(Some(request)) => {
                threads::survive(threads::HTTP, || respond(request, service));
            }
            Ok(None) => {}
            // The accept thread is gone; the supervisor will bring a new server.
            Err(_) => {
                select! {
                    recv(stopped) -> _ => return,
                    recv(after(POLL)) -> _ => {}
                }
            }
        }
    }
}

fn is_closed(stopped: &Stopped) -> bool {
    matches!(stopped.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
}

fn respond(request: Request, service: &Service) {
    let path = request.url().split('?').next().unwrap_or_default().to_owned();
    let (status, kind, body) = match path.as_str() {
        "/health" | "/health/live" => (200, "text/plain; charset=utf-8", "OK".to_owned()),
        "/metrics" => match metrics::page(service) {
            Ok(page) => (200, prometheus::TEXT_FORMAT, page),
            Err(error) => (500, "text/plain; charset=utf-8", error.to_string()),
        },
        _ => (
            404,
            "text/plain; charset=utf-8",
            "not found: there is /health and /metrics\n".to_owned(),
        ),
    };
    let mut response = Response::from_string(body).with_status_code(status);
    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
        response = response.with_header(header);
    }
    // The client may have gone; then nobody needs the answer.
    let _ = request.respond(response);
}

fn supervise(current: &Current, listener: &TcpListener, probe: SocketAddr, stopped: &Stopped) {
    loop {
        select! {
            recv(stopped) -> _ => return,
            recv(after(PROBE_INTERVAL)) -> _ => {}
        }
        threads::survive(threads::HTTP_WATCH, || {
            let Err(error) = ask(probe) else { return };
            log::warn!("event=http_mute error={error:?} action=restart");
            match serve(listener) {
                Ok(server) => current.replace(server),
                Err(error) => log::error!("event=http_restart_failed error={error:?}"),
            }
        });
    }
}

fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PROBE_LIMIT)?;
    stream.set_read_timeout(Some(PROBE_LIMIT))?;
    stream.set_write_timeout(Some(PROBE_LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b"200") {
        Ok(())
    } else {
        Err(io::Error::other("an answer that is not 200"))
    }
}
