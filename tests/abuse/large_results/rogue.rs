//! A server that speaks PostgreSQL's protocol as far as errors, and says in them what no
//! PostgreSQL does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// What it answers with an error.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Refuses {
    Logins,
    Statements,
}

/// It serves until the process ends.
pub struct Rogue {
    port: u16,
}

impl Rogue {
    pub fn start(refuses: Refuses) -> Rogue {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        #[allow(clippy::disallowed_methods)] // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                #[allow(clippy::disallowed_methods)] // It ends with its connection.
                std::thread::spawn(move || serve(stream, refuses));
            }
        });
        Rogue { port }
    }

    pub fn dsn(&self) -> String {
        let port = self.port;
        format!("host=127.0.0.1 port={port} user=u password=p dbname=d sslmode=disable")
    }
}

fn serve(mut stream: TcpStream, refuses: Refuses) -> Option<()> {
    // Startup: a length and the rest.
    body(&mut stream)?;
    if refuses == Refuses::Logins {
        return say(&mut stream, b'E', &error());
    }
    say(&mut stream, b'R', &[0; 4])?;
    say(&mut stream, b'S', b"client_encoding\0UTF8\0")?;
    say(&mut stream, b'K', &[0, 0, 0, 9, 0, 0, 0, 9])?;
    say(&mut stream, b'Z', b"I")?;
    loop {
        let mut kind = [0];
        stream.read_exact(&mut kind).ok()?;
        let body = body(&mut stream)?;
        match kind[0] {
            b'P' => say(&mut stream, b'E', &error())?,
            // Nothing was asked.
            b'Q' if body == [0] => {
                say(&mut stream, b'I', &[])?;
                say(&mut stream, b'Z', b"I")?;
            }
            b'Q' => {
                say(&mut stream, b'C', b"SELECT 0\0")?;
                say(&mut stream, b'Z', b"I")?;
            }
            b'S' => say(&mut stream, b'Z', b"I")?,
            b'X' => return None,
            _ => {}
        }
    }
}

fn body(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; (u32::from_be_bytes(length) as usize).checked_sub(4)?];
    stream.read_exact(&mut body).ok()?;
    Some(body)
}

fn say(stream: &mut TcpStream, kind: u8, body: &[u8]) -> Option<()> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    stream.write_all(&message).ok()
}

/// A severity in a long-winded language, and a SQLSTATE of a thousand times its length.
fn error() -> Vec<u8> {
    let (severity, code) = ("F".repeat(5000), "Z".repeat(5000));
    let fields = [("S", &*severity), ("V", "ERROR"), ("C", &*code), ("M", "no")];
    let fields = fields.map(|(kind, text)| format!("{kind}{text}\0")).concat();
    [fields.as_bytes(), &[0]].concat()
}
