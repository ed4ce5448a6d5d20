//! The pages: tiny_http on a private Unix socket, behind `proxy`.
//!
//! tiny_http trusts its clients: a large Content-Length makes it allocate that much, and
//! a body that never arrives holds a thread for ever. So it sees only requests that
//! `proxy` has written itself.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::TryRecvError;
use tiny_http::{Header, Request, Response};

use crate::clock;
use crate::http::not_served::NotServed;
use crate::http::{metrics, ready};
use crate::lock::Leaf;
use crate::pool::service::Service;
use crate::threads;
use crate::threads::stop::{Stopped, Thread};

/// Threads that answer.
const ANSWERING: usize = 2;
/// How often a thread checks whether it must stop.
const POLL: Duration = Duration::from_millis(500);

/// A page that took this long to build is reused for ten times that, at most a second: a
/// client that asks in a loop costs a tenth of a core instead of a whole one.
const SLOW: Duration = Duration::from_millis(20);
const KEPT_MAX: Duration = Duration::from_secs(1);

/// The last metrics page that was slow to build, and when it expires.
#[derive(Default)]
struct CachedPage(Leaf<Option<(Instant, String)>>);

impl CachedPage {
    fn page<E>(&self, now: Instant, make: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
        if let Some((until, page)) = &*self.0.lock() {
            if now < *until {
                return Ok(page.clone());
            }
        }
        let page = make()?;
        let made = clock::now();
        let took = made.saturating_duration_since(now);
        let kept = (took >= SLOW).then(|| (made + (10 * took).min(KEPT_MAX), page.clone()));
        let before = std::mem::replace(&mut *self.0.lock(), kept);
        drop(before);
        Ok(page)
    }
}

/// A directory that nobody else can enter, whatever the umask.
fn private_directory(parent: &Path) -> io::Result<tempfile::TempDir> {
    let only_own = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("connpool-http-").permissions(only_own).tempdir_in(parent)
}

/// A tiny_http server and its threads.
pub(super) struct Pages {
    _answering: Vec<Thread>,
    directory: tempfile::TempDir,
}

impl Pages {
    /// Serves on a Unix socket in a directory that only this process's user can enter.
    ///
    /// # Errors
    /// If the socket cannot be created or a thread cannot be started.
    pub fn start(service: &Service) -> Result<Pages, NotServed> {
        let parent = std::env::temp_dir();
        let unusable = |error| NotServed::Directory(parent.clone(), error);
        let directory = private_directory(&parent).map_err(unusable)?;
        let listener = UnixListener::bind(socket_in(directory.path())).map_err(unusable)?;
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(server);
        let metrics = Arc::<CachedPage>::default();
        let mut answering = Vec::new();
        for _ in 0..ANSWERING {
            let (server, service) = (Arc::clone(&server), service.clone());
            let metrics = Arc::clone(&metrics);
            answering.push(Thread::start(threads::HTTP, move |stopped| {
                run(&server, &service, &metrics, &stopped);
            })?);
        }
        Ok(Pages { _answering: answering, directory })
    }

    pub fn socket(&self) -> PathBuf {
        socket_in(self.directory.path())
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("http")
}

fn run(server: &tiny_http::Server, service: &Service, metrics: &CachedPage, stopped: &Stopped) {
    while stopped.try_recv() != Err(TryRecvError::Disconnected) {
        match server.recv_timeout(POLL) {
            Ok(Some(request)) => {
                threads::survive(threads::HTTP, || respond(request, service, metrics));
            }
            Ok(None) => {}
            // The accept thread has ended; the supervisor starts a new server.
            Err(_) => return,
        }
    }
}

fn respond(request: Request, service: &Service, metrics: &CachedPage) {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let (status, kind, body) = match path {
        "/health" | "/health/live" => (200, "text/plain; charset=utf-8", "OK".to_owned()),
        "/health/ready" => match ready::asks_for_tenants(query) {
            Ok(tenants) => {
                let (status, page) = ready::page(&service.health(), tenants);
                (status, "application/json", page)
            }
            Err(rule) => (400, "text/plain; charset=utf-8", rule.to_owned()),
        },
        "/metrics" => match metrics.page(clock::now(), || metrics::page(service)) {
            Ok(page) => (200, prometheus::TEXT_FORMAT, page),
            Err(error) => (500, "text/plain; charset=utf-8", error.to_string()),
        },
        _ => (
            404,
            "text/plain; charset=utf-8",
            "not found: the pages are /health and /metrics\n".to_owned(),
        ),
    };
    // Not chunked, so that clients of HTTP/1.0 understand it too.
    let mut response =
        Response::from_string(body).with_status_code(status).with_chunked_threshold(usize::MAX);
    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
        response = response.with_header(header);
    }
    // It fails only if the client has disconnected.
    let _ = request.respond(response);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_enters_the_directory_of_the_socket() {
        let parent = tempfile::tempdir().expect("a directory");
        let directory = private_directory(parent.path()).expect("a directory");
        let mode = std::fs::metadata(directory.path()).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
