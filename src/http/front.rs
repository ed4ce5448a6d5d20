//! What the network meets: a bounded number of connections, a bounded head, a
//! bounded time. What passes is asked of `pages` in our own words.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Receiver, Sender};

use crate::clock;
use crate::threads;

/// Connections at once; more wait in the listener's backlog, which those before
/// them cannot hold up for longer than the limits below.
const CONNECTIONS: usize = 64;
/// The request line and headers have so many bytes.
const HEAD_BYTES: usize = 8192;
/// A whole request head must have come within this time.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// A whole answer must have been taken within this time.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// After the answer the client has so long to close first.
const LINGER: Duration = Duration::from_secs(1);

/// Finds the socket of the pages that answer now.
pub(super) type Behind = Arc<dyn Fn() -> std::path::PathBuf + Send + Sync>;

/// The connections that may be open at once. A channel is the semaphore: what
/// lies in it is open, so that waiting for room can be part of a `select!`.
pub(super) struct Seats {
    taken: Sender<()>,
    left: Receiver<()>,
}

/// One connection's right to be open.
pub(super) struct Seat(Receiver<()>);

impl Default for Seats {
    fn default() -> Seats {
        let (taken, left) = bounded(CONNECTIONS);
        Seats { taken, left }
    }
}

impl Seats {
    /// Sending here waits for room; each send is followed by one `seat`.
    pub(super) fn room(&self) -> &Sender<()> {
        &self.taken
    }

    /// Gives the room taken back when dropped.
    pub(super) fn seat(&self) -> Seat {
        Seat(self.left.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What this seat had put in is still there, or another seat's, which is as good.
        let _ = self.0.try_recv();
    }
}

/// Takes the next connection and serves it on a thread of its own.
///
/// # Errors
/// If accepting fails, for example for want of file descriptors. The listener
/// stays good; try again later.
pub(super) fn accept(listener: &TcpListener, seat: Seat, behind: &Behind) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let behind = Arc::clone(behind);
    threads::spawn(threads::HTTP, move || {
        let _seat = seat;
        threads::survive(threads::HTTP, || {
            // A client that misbehaves or leaves is nobody's concern but its own.
            let _ = serve(&stream, &behind());
        });
    })?;
    Ok(())
}

/// One request and its answer; then the connection is closed, which every client
/// of health checks and scrapes can live with.
fn serve(client: &TcpStream, pages: &Path) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(request) = read_request(client)? else {
        let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return send(client, refusal.as_bytes());
    };
    let mut inner = UnixStream::connect(pages)?;
    inner.set_read_timeout(Some(HEAD_LIMIT))?;
    inner.set_write_timeout(Some(SEND_LIMIT))?;
    inner.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    inner.read_to_end(&mut answer)?;
    // tiny_http never says so itself.
    let status = answer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (status, rest) = answer.split_at(status);
    send(client, &[status, b"Connection: close\r\n", rest].concat())
}

/// Sends the answer, in a bounded time however little of it the client takes.
fn send(mut client: &TcpStream, mut answer: &[u8]) -> io::Result<()> {
    let until = clock::now() + SEND_LIMIT;
    while !answer.is_empty() {
        client.set_write_timeout(Some(clock::left(until)?))?;
        match client.write(answer)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            sent => answer = &answer[sent..],
        }
    }
    linger(client)
}

/// Waits a little for the client to take its answer and close. Closing while
/// bytes of a body still come would reset the connection under the answer.
fn linger(mut client: &TcpStream) -> io::Result<()> {
    client.shutdown(std::net::Shutdown::Write)?;
    let until = clock::now() + LINGER;
    let mut rest = [0; 4096];
    loop {
        client.set_read_timeout(Some(clock::left(until)?))?;
        if client.read(&mut rest)? == 0 {
            return Ok(());
        }
    }
}

/// Reads the head and says it again, reduced to what matters. A body is not
/// read: nothing we serve takes one.
fn read_request(mut client: &TcpStream) -> io::Result<Option<String>> {
    let until = clock::now() + HEAD_LIMIT;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !ends(&head) {
        if head.len() > HEAD_BYTES {
            return Ok(None);
        }
        client.set_read_timeout(Some(clock::left(until)?))?;
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..count]);
    }
    Ok(restate(&head))
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

/// HEAD stays HEAD; every other method asks for the same page as GET.
fn restate(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (method, path, version) = (words.next()?, words.next()?, words.next()?);
    let plain = path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic());
    if !plain || !version.starts_with("HTTP/1.") || words.next().is_some() {
        return None;
    }
    let method = if method == "HEAD" { "HEAD" } else { "GET" };
    Some(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_reduced_to_what_matters() {
        let said = |head: &[u8]| restate(head);
        let get = "GET /health?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let long = b"POST /health?x=1 HTTP/1.1\r\nContent-Length: 100000000000000\r\n\r\n";
        assert_eq!(said(long).as_deref(), Some(get));
        assert!(said(b"HEAD / HTTP/1.1\r\n\r\n").is_some_and(|r| r.starts_with("HEAD / ")));
        for bad in [
            &b"nonsense\r\n\r\n"[..],
            b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
            b"GET /a b HTTP/1.1\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"\xff\xfe /\r\n\r\n",
            b"\r\n\r\n",
        ] {
            assert_eq!(said(bad), None);
        }
    }
}
