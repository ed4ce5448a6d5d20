//! Counts the round trips of a client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use crate::harness::postgres;

/// A proxy before PostgreSQL that counts the messages after which a client waits.
pub fn count(questions: &Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let questions = Arc::clone(questions);
    in_background(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, postgres().port())).unwrap();
            for socket in [&near, &far] {
                socket.set_nodelay(true).unwrap();
            }
            let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
            let questions = Arc::clone(&questions);
            in_background(move || forward(near, far, &questions));
            in_background(move || drop(std::io::copy(&mut &back.0, &mut &back.1)));
        }
    });
    port
}

#[allow(clippy::disallowed_methods)] // A benchmark's own, ended with its process.
fn in_background(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// Forwards messages one by one. The first one, which starts the session, has no
/// kind.
fn forward(mut near: TcpStream, mut far: TcpStream, questions: &AtomicUsize) {
    let mut head = 0;
    loop {
        let mut message = vec![0; head + 4];
        if near.read_exact(&mut message).is_err() {
            let _ = far.shutdown(Shutdown::Both);
            return;
        }
        let length = u32::from_be_bytes(message[head..].try_into().unwrap());
        if head == 1 && matches!(message[0], b'S' | b'H' | b'Q') {
            questions.fetch_add(1, Ordering::Relaxed);
        }
        message.resize(head + length as usize, 0);
        near.read_exact(&mut message[head + 4..]).unwrap();
        far.write_all(&message).unwrap();
        head = 1;
    }
}
