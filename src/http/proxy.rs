//! A reverse proxy in front of tiny_http. It bounds the number of connections, the size
//! of a request head and the time of each step, and passes a request on in its own words.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::http::slots::HttpSlot;
use crate::threads;

/// The most bytes of a request line and its headers.
const HEAD_BYTES: usize = 8192;
/// The time within which a whole request head must arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// When all slots are taken, a client that has sent no whole head, or has not closed its
/// connection, for this long is disconnected. A head usually arrives in one packet.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same limit while the client reads its answer: metrics are large.
const SEND_PATIENCE: Duration = Duration::from_secs(1);
/// The time within which the client must have read a whole answer.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait after the answer for the client to close first.
const LINGER: Duration = Duration::from_secs(1);

/// The answer while other clients hold all large answers.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
                      Connection: close\r\nContent-Length: 0\r\n\r\n";

/// Returns the socket of the pages that are served at present.
pub(super) type Upstream = Arc<dyn Fn() -> std::path::PathBuf + Send + Sync>;

/// Takes the next connection and serves it on a thread of its own.
///
/// # Errors
/// If accepting fails, for example for lack of file descriptors. The listener remains
/// usable; try again later.
pub(super) fn accept(
    listener: &TcpListener,
    slot: HttpSlot,
    upstream: &Upstream,
) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let upstream = Arc::clone(upstream);
    let stream = Arc::new(stream);
    slot.waits(&stream, PATIENCE);
    threads::spawn(threads::HTTP, move || {
        threads::survive(threads::HTTP, || {
            // A client that misbehaves or disconnects harms only itself.
            let _ = serve(&stream, &slot, &upstream());
        });
        drop(slot);
    })?;
    Ok(())
}

/// Serves one request, then closes the connection; no health check or scrape needs more.
fn serve(client: &Arc<TcpStream>, slot: &HttpSlot, pages: &Path) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let Some(request) = read_request(client)? else {
        let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return send(client, slot, &[refusal.as_bytes()]);
    };
    slot.works();
    let large = match request.split(' ').nth(1).is_some_and(|path| path.starts_with("/metrics")) {
        true => match slot.large.answer(clock::now() + SEND_LIMIT) {
            Some(answer) => Some(answer),
            None => return send(client, slot, &[BUSY]),
        },
        false => None,
    };
    let making = match &large {
        Some(answer) => match answer.make(clock::now() + SEND_LIMIT) {
            Some(making) => Some(making),
            None => return send(client, slot, &[BUSY]),
        },
        None => None,
    };
    let mut inner = UnixStream::connect(pages)?;
    inner.set_read_timeout(Some(HEAD_LIMIT))?;
    inner.set_write_timeout(Some(SEND_LIMIT))?;
    inner.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    inner.read_to_end(&mut answer)?;
    drop(making);
    // tiny_http never sends this header itself.
    let status = answer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (status, rest) = answer.split_at(status);
    let head = [status, b"Connection: close\r\n"].concat();
    if let Some(large) = &large {
        large.send_to(client, SEND_PATIENCE);
    }
    send(client, slot, &[&head, rest])
}

/// Sends the answer, in a bounded time however slowly the client reads.
fn send(client: &Arc<TcpStream>, slot: &HttpSlot, answer: &[&[u8]]) -> io::Result<()> {
    let until = clock::now() + SEND_LIMIT;
    slot.waits(client, SEND_PATIENCE);
    // One part at a time: joined, a large page would be in memory twice.
    for mut part in answer.iter().copied() {
        while !part.is_empty() {
            client.set_write_timeout(Some(clock::left(until)?))?;
            match (&**client).write(part)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => part = &part[sent..],
            }
        }
    }
    slot.waits(client, PATIENCE);
    linger(client)
}

/// Waits briefly for the client to read its answer and close. Closing while bytes of a
/// request body still arrive would reset the connection before the answer is read.
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

/// Reads the head and rewrites it, reduced to what matters. A body is not read: no page
/// takes one.
fn read_request(mut client: &TcpStream) -> io::Result<Option<String>> {
    let until = clock::now() + HEAD_LIMIT;
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !ends(&head) {
        if head.len() > HEAD_BYTES {
            return Ok(None);
        }
        client.set_read_timeout(Some(clock::left(until)?))?;
        match client.read(&mut chunk)? {
            0 => return Ok(None),
            count => head.extend_from_slice(&chunk[..count]),
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
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;
    use crate::http::slots::Slots;

    /// Between two checks.
    fn pause() {
        let _ = crossbeam_channel::never::<()>().recv_timeout(Duration::from_millis(1));
    }

    /// Waits until `look` returns a value.
    fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let until = clock::now() + Duration::from_secs(60);
        loop {
            if let Some(there) = look() {
                return there;
            }
            assert!(clock::now() < until, "it never happened");
            pause();
        }
    }

    #[test]
    fn a_client_has_a_deadline_while_it_is_slow_and_none_while_it_waits_for_the_page() {
        let place = tempfile::tempdir().expect("a directory");
        let (socket, slots) = (place.path().join("pages"), Slots::default());
        let pages = UnixListener::bind(&socket).expect("a socket");
        let (stream, mut client) = connected();
        slots.room().try_send(()).expect("room");
        let slot = slots.slot();
        std::thread::scope(|threads| {
            let serving = threads.spawn(|| serve(&stream, &slot, &socket));
            slot.waits(&stream, PATIENCE);
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is taken");
            let (mut page, _) = pages.accept().expect("it asks for the page");
            assert_eq!(slot.patience(), None, "its client waits for the page");
            // Closed before it was read, it would be broken off.
            assert!(page.read(&mut [0; 1024]).expect("a request") > 0);
            // More than the system takes ahead of its reader.
            let body = vec![b'x'; 16 << 20];
            page.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("it is taken");
            page.write_all(&body).expect("it is taken");
            drop(page);
            let taking: Instant = eventually(|| slot.patience());
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).expect("an answer");
            assert!(answer.ends_with(&body));
            eventually(|| slot.patience().filter(|closing| *closing != taking));
            drop(client);
            serving.join().expect("no panic").expect("it was served");
        });
    }

    /// A connection, ours first.
    fn connected() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("a port"));
        let (ours, _) = listener.accept().expect("a connection");
        (Arc::new(ours), client.expect("a connection"))
    }

    #[test]
    fn a_head_that_is_too_long_is_not_read_to_its_end() {
        let (stream, mut client) = connected();
        client.write_all(&[b'x'; HEAD_BYTES + 1]).expect("it is taken");
        assert_eq!(read_request(&stream).expect("it came in time"), None);
    }

    #[test]
    fn an_unread_answer_is_abandoned_in_time() {
        let (stream, client) = connected();
        let slots = Slots::default();
        slots.room().try_send(()).expect("room");
        let slot = slots.slot();
        std::thread::scope(|threads| {
            let sending = threads.spawn(|| send(&stream, &slot, &[&vec![b'x'; 16 << 20]]));
            let until = clock::now() + Duration::from_secs(60);
            while !sending.is_finished() && clock::now() < until {
                pause();
            }
            let in_time = sending.is_finished();
            // Whatever is wrong, this ends it.
            drop(client);
            assert!(sending.join().expect("no panic").is_err() && in_time);
        });
    }

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
