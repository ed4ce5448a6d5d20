//! A PostgreSQL that says what a test wants it to say.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use super::{Tenant, PATIENCE};

/// What the service asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A session; what is said for it comes before the login is over.
    Login,
    /// Describe of the statement of this text.
    Prepare(String),
    /// Execute of the statement of this text, which is bound.
    Execute(String),
    /// A simple query.
    Query(String),
    /// Ready for the next; what has been executed since the last time.
    Sync(Vec<String>),
}

/// A server whose script is asked first. It says true if it has answered; otherwise
/// the server does what a PostgreSQL without any tables would.
pub struct Fake {
    pub port: u16,
    counts: Arc<Counts>,
}

/// What was asked of it so far.
#[derive(Default)]
struct Counts {
    cancels: AtomicUsize,
    sessions: AtomicUsize,
    flushes: AtomicUsize,
}

impl Fake {
    pub fn start(script: impl Fn(&mut Talk, &Asked) -> bool + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, counts) = (Arc::new(script), Arc::<Counts>::default());
        let seen = Arc::clone(&counts);
        #[allow(clippy::disallowed_methods)] // A test's own, ended with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                // Small answers are not to wait for one another.
                stream.set_nodelay(true).unwrap();
                std::thread::spawn(move || {
                    // Nobody waits for it to be taken for ever.
                    stream.set_write_timeout(Some(PATIENCE)).unwrap();
                    let mut talk = Talk::over(stream);
                    // It ends when the service hangs up.
                    let _ = talk.serve(&*script, &seen);
                });
            }
        });
        Fake { port, counts }
    }

    /// Cancel requests so far.
    pub fn cancels(&self) -> usize {
        self.counts.cancels.load(Ordering::SeqCst)
    }

    /// Sessions so far.
    pub fn sessions(&self) -> usize {
        self.counts.sessions.load(Ordering::SeqCst)
    }

    /// How often it was asked to answer at once.
    pub fn flushes(&self) -> usize {
        self.counts.flushes.load(Ordering::SeqCst)
    }

    /// A tenant of this server with at most so many connections.
    pub fn tenant(&self, name: &str, max: usize) -> Tenant {
        let dsn = format!(
            "host=127.0.0.1 port={} user=u password=p dbname=d sslmode=disable \
             pool_max_conns={max} pool_min_conns=0",
            self.port
        );
        Tenant { name: name.to_owned(), password: "p".to_owned(), dsn }
    }
}

/// A message as PostgreSQL sends it.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = announced(kind, body.len());
    out.extend_from_slice(body);
    out
}

/// The header of a message with such a body.
pub fn announced(kind: u8, body: usize) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend((body as u32 + 4).to_be_bytes());
    out
}

/// A row of these values, binary or text as they are.
pub fn row(values: &[&[u8]]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    message(b'D', &body)
}

/// RowDescription of columns of these types.
pub fn described(types: &[u32]) -> Vec<u8> {
    let mut body = (types.len() as u16).to_be_bytes().to_vec();
    for oid in types {
        body.extend(b"c\0");
        body.extend([0; 6]);
        body.extend(oid.to_be_bytes());
        body.extend([255; 6]);
        body.extend([0, 0]);
    }
    message(b'T', &body)
}

/// ParameterStatus.
pub fn setting(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// NOTICE, as `raise notice` gives it.
pub fn notice(text: &str) -> Vec<u8> {
    message(b'N', format!("SNOTICE\0VNOTICE\0C00000\0M{text}\0\0").as_bytes())
}

/// The oid of `text`.
pub const TEXT: u32 = 25;

/// One connection, as its script sees it.
pub struct Talk {
    stream: TcpStream,
    /// Names of prepared statements, and their texts.
    statements: HashMap<String, String>,
    /// The text of the statement that is bound.
    bound: String,
    /// What was executed since the last Sync.
    executed: Vec<String>,
    /// All is left out up to the next Sync.
    failed: bool,
}

impl Talk {
    fn over(stream: TcpStream) -> Talk {
        Talk {
            stream,
            statements: HashMap::new(),
            bound: String::new(),
            executed: Vec::new(),
            failed: false,
        }
    }

    /// Says that it failed, and leaves out what comes behind.
    pub fn fail(&mut self, sqlstate: &str, text: &str) -> bool {
        self.failed = true;
        self.say(&message(b'E', format!("SERROR\0VERROR\0C{sqlstate}\0M{text}\0\0").as_bytes()))
    }

    /// Says these bytes one after the other, with a pause before each, until the service
    /// has hung up.
    pub fn drip(&mut self, bytes: impl IntoIterator<Item = u8>, pause: Duration) {
        let never = crossbeam_channel::never::<()>();
        for byte in bytes {
            let _ = never.recv_timeout(pause);
            if !self.say(&[byte]) {
                break;
            }
        }
    }

    /// Waits until so many bytes have come, or no more come because nothing is taken.
    pub fn waits_for(&mut self, bytes: usize) {
        let never = crossbeam_channel::never::<()>();
        let (mut all, mut came, mut same) = (vec![0; bytes], 0, 0);
        while came < bytes && same < 20 {
            let _ = never.recv_timeout(Duration::from_millis(20));
            let now = self.stream.peek(&mut all).unwrap_or(0);
            same = if now == came { same + 1 } else { 0 };
            came = now;
        }
    }

    /// Ends the connection. What was said arrives before.
    pub fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends bytes as they are. False: the service has hung up.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends what `next` gives until so many bytes are sent or the service hangs up.
    /// Tells how many it took.
    pub fn flood(&mut self, bytes: usize, mut next: impl FnMut(usize) -> Vec<u8>) -> usize {
        let (mut sent, mut n) = (0, 0);
        while sent < bytes {
            let mut part = Vec::new();
            while part.len() < 64 << 10 {
                part.extend(next(n));
                n += 1;
            }
            if !self.say(&part) {
                break;
            }
            sent += part.len();
        }
        sent
    }

    /// Says no more; returns when the service has hung up.
    pub fn stall(&mut self) {
        let mut bytes = [0; 1024];
        while self.stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
    }

    /// Ready for the next statement.
    pub fn ready(&mut self) -> bool {
        self.say(&message(b'Z', b"I"))
    }

    fn serve(
        &mut self,
        script: &dyn Fn(&mut Talk, &Asked) -> bool,
        counts: &Counts,
    ) -> std::io::Result<()> {
        let start = self.body()?;
        if start.starts_with(&80_877_102u32.to_be_bytes()) {
            counts.cancels.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        counts.sessions.fetch_add(1, Ordering::SeqCst);
        self.say(&message(b'R', &[0; 4]));
        if !script(self, &Asked::Login) {
            self.say(&setting("client_encoding", "UTF8"));
        }
        self.say(&message(b'K', &[0, 0, 1, 2, 9, 8, 7, 6]));
        self.ready();
        let mut batch: Vec<(u8, Vec<u8>)> = Vec::new();
        loop {
            let mut kind = [0];
            self.stream.read_exact(&mut kind)?;
            let body = self.body()?;
            match kind[0] {
                b'X' => return Ok(()),
                b'Q' => self.query(script, &body),
                // Sync and Flush.
                kind @ (b'S' | b'H') => {
                    let flushed = usize::from(kind == b'H');
                    counts.flushes.fetch_add(flushed, Ordering::SeqCst);
                    for (kind, body) in std::mem::take(&mut batch) {
                        self.one(script, kind, &body);
                    }
                    if kind == b'S' {
                        self.failed = false;
                        let executed = std::mem::take(&mut self.executed);
                        if !script(self, &Asked::Sync(executed)) {
                            self.ready();
                        }
                    }
                }
                // The data of a COPY.
                b'd' => {}
                b'c' => {
                    self.say(&message(b'C', b"COPY 1\0"));
                }
                b'f' => {
                    self.fail("57014", "COPY from stdin failed");
                }
                kind => batch.push((kind, body)),
            }
        }
    }

    fn query(&mut self, script: &dyn Fn(&mut Talk, &Asked) -> bool, body: &[u8]) {
        let sql = text(body);
        if !script(self, &Asked::Query(sql.clone())) {
            self.say(&message(b'C', b"SELECT 0\0"));
        }
        self.ready();
    }

    fn one(&mut self, script: &dyn Fn(&mut Talk, &Asked) -> bool, kind: u8, body: &[u8]) {
        if self.failed {
            return;
        }
        match kind {
            b'P' => {
                let name = text(body);
                let sql = text(&body[name.len() + 1..]);
                self.statements.insert(name, sql);
                self.say(&message(b'1', &[]));
            }
            // Of a statement.
            b'D' => {
                let sql = self.statements.get(&text(&body[1..])).cloned().unwrap_or_default();
                if !script(self, &Asked::Prepare(sql.clone())) {
                    self.describe(&sql);
                }
            }
            b'B' => {
                let portal = text(body);
                let name = text(&body[portal.len() + 1..]);
                self.bound = self.statements.get(&name).cloned().unwrap_or_default();
                self.say(&message(b'2', &[]));
            }
            b'E' => {
                let sql = self.bound.clone();
                self.executed.push(sql.clone());
                if !script(self, &Asked::Execute(sql.clone())) {
                    self.execute(&sql);
                }
            }
            b'C' => {
                self.say(&message(b'3', &[]));
            }
            _ => {}
        }
    }

    /// As a session answers in which nothing was ever done.
    fn execute(&mut self, sql: &str) {
        let answer = match () {
            () if is_reset(sql) => {
                let settings: &[u8] = b"C|on|content|off|safe_encoding|Default|public";
                let nothing: &[u8] = b"";
                let values = [nothing, nothing, nothing, nothing, settings, b"0", b"f", b"f", b""];
                [row(&values), message(b'C', b"SELECT 1\0")].concat()
            }
            () if sql.starts_with("SELECT pg_catalog.concat_ws") => [
                row(&[b"C|on|content|off|safe_encoding|Default|public"]),
                message(b'C', b"SELECT 1\0"),
            ]
            .concat(),
            () if sql.starts_with("copy t from") => message(b'G', &[0, 0, 1, 0, 0]),
            () if sql.starts_with("copy t to") => {
                let data = [message(b'H', &[0, 0, 1, 0, 0]), message(b'd', b"1\n")];
                [data.concat(), message(b'c', b""), message(b'C', b"COPY 1\0")].concat()
            }
            () if sql.starts_with("RESET") => message(b'C', b"RESET\0"),
            () if sql.starts_with("DISCARD") => message(b'C', format!("{sql}\0").as_bytes()),
            () => message(b'C', b"SELECT 0\0"),
        };
        self.say(&answer);
    }

    /// A COPY has no columns; all else has one of text.
    fn describe(&mut self, sql: &str) {
        self.say(&message(b't', &[0, 0]));
        match sql.starts_with("copy") {
            true => self.say(&message(b'n', b"")),
            false => self.say(&described(&[TEXT])),
        };
    }

    fn body(&mut self) -> std::io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length).saturating_sub(4) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

/// True for the first question of a reset.
pub fn is_reset(sql: &str) -> bool {
    sql.contains("pg_advisory_unlock_all")
}

/// The answer to a question after types: one of them, by its number, which is a domain
/// over another or none.
pub fn type_row(oid: u32, base: u32) -> Vec<u8> {
    let (oid, base) = (oid.to_string(), base.to_string());
    row(&[oid.as_bytes(), b"odd", b"d", b"0", base.as_bytes(), b"f"])
}

/// True for a question after types.
pub fn is_type_query(sql: &str) -> bool {
    sql.contains("pg_catalog.pg_type")
}

/// The text that ends at the first zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
