//! A reverse proxy in front of tiny_http. It bounds the number of connections, the size
//! of a request head and the time of each step, and passes a request on in its own words.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::http::door::HttpDoor;
use crate::http::request::HttpRequest;
use crate::http::slots::HttpSlot;
use crate::http::stream::HttpStream;
use crate::threads;

/// The most bytes of a request line and its headers.
const HEAD_BYTES: usize = 8192;
/// The time within which a whole request head must arrive, after a TLS handshake where there is one.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// When all slots are taken, a client that has sent no whole head, or has not closed its
/// connection, for this long is disconnected. A head usually arrives in one packet.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same limit during a TLS handshake, which takes a round trip or two more.
const HANDSHAKE_PATIENCE: Duration = Duration::from_millis(400);
/// The same limit while the client reads its answer: metrics are large.
const SEND_PATIENCE: Duration = Duration::from_secs(1);
/// The time within which the client must have read a whole answer.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait after the answer for the client to close first.
const LINGER: Duration = Duration::from_secs(1);

/// The answer while other clients hold all large answers.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
                      Connection: close\r\nContent-Length: 0\r\n\r\n";

/// Takes the next connection and serves it on a thread of its own.
///
/// # Errors
/// If accepting fails, for example for lack of file descriptors. The listener remains
/// usable; try again later.
pub(super) fn accept(
    listener: &TcpListener,
    slot: HttpSlot,
    door: &Arc<HttpDoor>,
) -> io::Result<()> {
    let (stream, _) = listener.accept()?;
    let door = Arc::clone(door);
    let stream = Arc::new(stream);
    let patience = if door.tls.is_some() { HANDSHAKE_PATIENCE } else { PATIENCE };
    slot.waits(&stream, patience);
    threads::spawn(threads::HTTP, move || {
        threads::survive(threads::HTTP, || {
            // A client that misbehaves or disconnects harms only itself.
            let _ = serve(&stream, &slot, &door);
        });
        drop(slot);
    })?;
    Ok(())
}

/// Serves one request, then closes the connection; no health check or scrape needs more.
fn serve(client: &Arc<TcpStream>, slot: &HttpSlot, door: &HttpDoor) -> io::Result<()> {
    client.set_nonblocking(false)?;
    let until = clock::now() + HEAD_LIMIT;
    let mut stream = door.open(Arc::clone(client), until)?;
    if door.tls.is_some() {
        slot.waits(client, PATIENCE);
    }
    let Some(request) = read_request(&mut stream, until)? else {
        let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return send(&mut stream, client, slot, &[refusal.as_bytes()]);
    };
    slot.works();
    if let Err(refusal) = door.admit(&request, client.peer_addr().ok()) {
        return send(&mut stream, client, slot, &[refusal.as_bytes()]);
    }
    let large = match request.path.starts_with("/metrics") {
        true => match slot.large.answer(clock::now() + SEND_LIMIT) {
            Some(answer) => Some(answer),
            None => return send(&mut stream, client, slot, &[BUSY]),
        },
        false => None,
    };
    let making = match &large {
        Some(answer) => match answer.make(clock::now() + SEND_LIMIT) {
            Some(making) => Some(making),
            None => return send(&mut stream, client, slot, &[BUSY]),
        },
        None => None,
    };
    let answer = ask_pages(door, &request)?;
    drop(making);
    // tiny_http never sends this header itself.
    let status = answer.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let (status, rest) = answer.split_at(status);
    let head = [status, b"Connection: close\r\n"].concat();
    if let Some(large) = &large {
        large.send_to(client, SEND_PATIENCE);
    }
    send(&mut stream, client, slot, &[&head, rest])
}

fn ask_pages(door: &HttpDoor, request: &HttpRequest) -> io::Result<Vec<u8>> {
    let mut inner = UnixStream::connect((door.upstream)())?;
    inner.set_read_timeout(Some(HEAD_LIMIT))?;
    inner.set_write_timeout(Some(SEND_LIMIT))?;
    inner.write_all(request.restated.as_bytes())?;
    let mut answer = Vec::new();
    inner.read_to_end(&mut answer)?;
    Ok(answer)
}

/// Sends the answer, in a bounded time however slowly the client reads.
fn send(
    stream: &mut HttpStream,
    client: &Arc<TcpStream>,
    slot: &HttpSlot,
    answer: &[&[u8]],
) -> io::Result<()> {
    let until = clock::now() + SEND_LIMIT;
    slot.waits(client, SEND_PATIENCE);
    // One part at a time: joined, a large page would be in memory twice.
    for mut part in answer.iter().copied() {
        while !part.is_empty() {
            match stream.write(part, until)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                sent => part = &part[sent..],
            }
        }
    }
    slot.waits(client, PATIENCE);
    linger(stream)
}

/// Waits briefly for the client to read its answer and close. Closing while bytes of a
/// request body still arrive would reset the connection before the answer is read.
fn linger(stream: &mut HttpStream) -> io::Result<()> {
    let until = clock::now() + LINGER;
    stream.end(until)?;
    let mut rest = [0; 4096];
    while stream.timed().read(&mut rest)? > 0 {}
    Ok(())
}

/// Reads the head and reduces it to what matters; `None` if it is none.
fn read_request(stream: &mut HttpStream, until: Instant) -> io::Result<Option<HttpRequest>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while !ends(&head) {
        if head.len() > HEAD_BYTES {
            return Ok(None);
        }
        match stream.read(&mut chunk, until)? {
            0 => return Ok(None),
            count => head.extend_from_slice(&chunk[..count]),
        }
        // Such as the first message of TLS, after which nothing would come.
        if head.first().is_some_and(|first| !first.is_ascii_graphic()) {
            return Ok(None);
        }
    }
    Ok(HttpRequest::read(&head))
}

fn ends(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use super::*;
    use crate::http::door::ServedPages;
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
        let (socket, slots) = (place.path().join("pages"), Slots::new(64));
        let pages = UnixListener::bind(&socket).expect("a socket");
        let (stream, mut client) = connected();
        let door = HttpDoor {
            pages: ServedPages::All,
            guarded: None,
            tls: None,
            upstream: Arc::new(move || socket.clone()),
        };
        slots.room().try_send(()).expect("room");
        let slot = slots.slot();
        std::thread::scope(|threads| {
            let serving = threads.spawn(|| serve(&stream, &slot, &door));
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
        let until = clock::now() + Duration::from_secs(60);
        let read = read_request(&mut HttpStream::plain(stream), until);
        assert!(read.expect("it came in time").is_none());
    }

    #[test]
    fn what_cannot_become_a_request_is_not_waited_for() {
        let (stream, mut client) = connected();
        client.write_all(b"\x16\x03\x01\x02").expect("it is taken");
        let until = clock::now() + Duration::from_secs(3600);
        let read = read_request(&mut HttpStream::plain(stream), until);
        assert!(read.expect("it ends").is_none());
    }

    #[test]
    fn an_unread_answer_is_abandoned_in_time() {
        let (stream, client) = connected();
        let slots = Slots::new(64);
        slots.room().try_send(()).expect("room");
        let slot = slots.slot();
        std::thread::scope(|threads| {
            let sending = threads.spawn(|| {
                let mut plain = HttpStream::plain(Arc::clone(&stream));
                send(&mut plain, &stream, &slot, &[&vec![b'x'; 16 << 20]])
            });
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
}
