use std::net::TcpListener;

use super::*;
use crate::threads;
use crate::threads::stop::StopSignal;

/// Asks a server that reads what was sent and then answers with these frames.
fn answered(frames: Vec<Vec<u8>>) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let server = threads::spawn("server", move || {
        let (mut stream, _) = listener.accept().expect("it comes");
        let mut head = [0; 24 + 9];
        stream.read_exact(&mut head).expect("it speaks first");
        assert!(head.starts_with(b"PRI * HTTP/2.0"));
        // It may have heard enough before all is sent.
        let _ = stream.write_all(&frames.concat());
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let (_stop, stopped) = StopSignal::new();
    let asked = ask(address, None, Duration::from_millis(500), &stopped, |_| {});
    server.expect("a thread").join().expect("it did not panic");
    asked
}

#[test]
fn an_answer_is_success_and_anything_else_is_not() {
    let settings = frame(SETTINGS, 0, 0, &[]);
    let answer = frame(DATA, 0, 1, &[0; 7]);
    answered(vec![settings.clone(), frame(HEADERS, 4, 1, &[]), answer]).expect("it answers");
    for (frames, error) in [
        (vec![frame(HEADERS, END_STREAM, 1, &[])], "failed"),
        (vec![settings.clone(), frame(RST_STREAM, 0, 1, &[0; 4])], "reset"),
        (vec![frame(GOAWAY, 0, 0, &[0; 8])], "GOAWAY"),
        (vec![frame(DATA, 0, 1, &[]); 40], "within the first frames"),
        (vec![vec![255; 9]], "too large"),
        (vec![settings], "timed out"),
    ] {
        let refused = answered(frames).expect_err("no answer").to_string();
        assert!(refused.contains(error), "{refused}");
    }
}

#[test]
fn a_stop_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let (stop, stopped) = StopSignal::new();
    drop(stop);
    for tls in [None, Some(&ProbeTls { own: None })] {
        let asked = ask(address, tls, Duration::from_secs(3600), &stopped, |_| {});
        assert!(asked.is_err(), "tls: {}", tls.is_some());
    }
}
