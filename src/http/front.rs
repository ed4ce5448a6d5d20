//! What the network meets: a bounded number of connections, a bounded head, a
//! bounded time. What passes is asked of `pages` in our own words.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::http::seats::Seat;
use crate::threads;

/// The request line and headers have so many bytes.
const HEAD_BYTES: usize = 8192;
/// A whole request head must have come within this time.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// The same while many connections are open.
const HURRIED_HEAD_LIMIT: Duration = Duration::from_secs(1);
/// A client whose head is not there after so long, or who does not close, gives way to
/// others when all seats are taken. A head comes in one packet, with the connection.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same for a client who takes its answer: metrics are large.
const SEND_PATIENCE: Duration = Duration::from_secs(1);
/// How often a connection looks whether it has to hurry.
const LOOK: Duration = Duration::from_millis(200);
/// A whole answer must have been taken within this time.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// After the answer the client has so long to close first.
const LINGER: Duration = Duration::from_secs(1);

/// Finds the socket of the pages that answer now.
pub(super) type Behind = Arc<dyn Fn() -> std::path::PathBuf + Send + Sync>;

/// Takes the next connection and serves it on a thread of its own.
///
/// # Errors
/// If accepting fails, for example for want of file descriptors. The listener
/// stays good; try again later.
pub(super) fn accept(listener: &TcpListener, seat: Seat, behind: &Behind) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let behind = Arc::clone(behind);
    let stream = Arc::new(stream);
    seat.waits(&stream, PATIENCE);
    threads::spawn(threads::HTTP, move || {
        threads::survive(threads::HTTP, || {
            // A client that misbehaves or leaves is nobody's concern but its own.
            let _ = serve(&stream, &seat, &behind());
        });
        drop(seat);
    })?;
    Ok(())
}

/// One request and its answer; then the connection is closed, which every client
/// of health checks and scrapes can live with.
fn serve(client: &Arc<TcpStream>, seat: &Seat, pages: &Path) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(request) = read_request(client, seat)? else {
        let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return send(client, seat, &[refusal.as_bytes()]);
    };
    seat.works();
    let mut inner = UnixStream::connect(pages)?;
    inner.set_read_timeout(Some(HEAD_LIMIT))?;
    inner.set_write_timeout(Some(SEND_LIMIT))?;
    inner.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    inner.read_to_end(&mut answer)?;
    // tiny_http never says so itself.
    let status = answer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (status, rest) = answer.split_at(status);
    let head = [status, b"Connection: close\r\n"].concat();
    send(client, seat, &[&head, rest])
}

/// Sends the answer, in a bounded time however little of it the client takes.
fn send(client: &Arc<TcpStream>, seat: &Seat, answer: &[&[u8]]) -> io::Result<()> {
    let until = clock::now() + SEND_LIMIT;
    seat.waits(client, SEND_PATIENCE);
    // One after the other: put together, a large page would be in memory twice.
    for mut part in answer.iter().copied() {
        while !part.is_empty() {
            client.set_write_timeout(Some(clock::left(until)?))?;
            match (&**client).write(part)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => part = &part[sent..],
            }
        }
    }
    seat.waits(client, PATIENCE);
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
fn read_request(mut client: &TcpStream, seat: &Seat) -> io::Result<Option<String>> {
    let began = clock::now();
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !ends(&head) {
        if head.len() > HEAD_BYTES {
            return Ok(None);
        }
        let limit = if seat.is_crowded() { HURRIED_HEAD_LIMIT } else { HEAD_LIMIT };
        client.set_read_timeout(Some(clock::left(began + limit)?.min(LOOK)))?;
        match client.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            // Nothing came while it looked away.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
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
