//! What is served: tiny_http on a private Unix socket, behind `front`.
//!
//! tiny_http believes its clients: a large Content-Length makes it allocate as
//! much, a body that never comes holds a thread for ever. So it meets only the
//! requests that `front` has written itself.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::TryRecvError;
use tiny_http::{Header, Request, Response};

use crate::http::not_served::NotServed;
use crate::http::{metrics, ready};
use crate::pool::service::Service;
use crate::runtime::shutdown::{Stopped, Thread};
use crate::threads;

/// Threads that answer.
const ANSWERING: usize = 2;
/// A thread looks for the stop so often.
const POLL: Duration = Duration::from_millis(500);

/// A tiny_http server and the threads that answer for it.
pub(super) struct Pages {
    _answering: Vec<Thread>,
    directory: tempfile::TempDir,
}

impl Pages {
    /// Serves on a Unix socket in a directory that only we can enter.
    ///
    /// # Errors
    /// If there is no room for the socket, or no thread left.
    pub fn start(service: &Service) -> Result<Pages, NotServed> {
        let parent = std::env::temp_dir();
        let unusable = |error| NotServed::Directory(parent.clone(), error);
        let directory = tempfile::Builder::new().prefix("connpool-http-").tempdir_in(&parent);
        let directory = directory.map_err(unusable)?;
        let listener = UnixListener::bind(socket_in(directory.path())).map_err(unusable)?;
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(server);
        let mut answering = Vec::new();
        for _ in 0..ANSWERING {
            let (server, service) = (Arc::clone(&server), service.clone());
            answering.push(Thread::start(threads::HTTP, move |stopped| {
                run(&server, &service, &stopped);
            })?);
        }
        Ok(Pages { _answering: answering, directory })
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        socket_in(self.directory.path())
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("http")
}

fn run(server: &tiny_http::Server, service: &Service, stopped: &Stopped) {
    while stopped.try_recv() != Err(TryRecvError::Disconnected) {
        match server.recv_timeout(POLL) {
            Ok(Some(request)) => {
                threads::survive(threads::HTTP, || respond(request, service));
            }
            Ok(None) => {}
            // The accept thread is gone; the supervisor will bring a new server.
            Err(_) => return,
        }
    }
}

fn respond(request: Request, service: &Service) {
    let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
    let (status, kind, body) = match path {
        "/health" | "/health/live" => (200, "text/plain; charset=utf-8", "OK".to_owned()),
        "/health/ready" => {
            let (status, page) =
                ready::page(&service.health(), query.split('&').any(|one| one == "tenants=all"));
            (status, "application/json", page)
        }
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
    // Whole and with its length, for clients of HTTP/1.0 too.
    let mut response =
        Response::from_string(body).with_status_code(status).with_chunked_threshold(usize::MAX);
    if let Ok(header) = Header::from_bytes("Content-Type", kind) {
        response = response.with_header(header);
    }
    // The client may have gone; then nobody needs the answer.
    let _ = request.respond(response);
}
