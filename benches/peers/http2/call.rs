//! A call that has begun, and what has come of it.

use super::Done;

pub struct Call {
    pub id: u32,
    /// Whose it is.
    pub caller: usize,
    /// Its messages are taken as they come.
    pub streams: bool,
    /// How much may be sent.
    pub room: i64,
    /// Bytes that the server has not been told of that there is room for them again.
    pub untold: u32,
    /// Seconds without a sign of it.
    pub silent: u32,
    data: Vec<u8>,
    /// So much of the data was taken.
    taken: usize,
    http: Option<u16>,
    status: Option<u32>,
    text: String,
    pub outcome: Option<Done<()>>,
}

impl Call {
    pub fn new(id: u32, caller: usize, streams: bool, room: i64) -> Call {
        Call {
            id,
            caller,
            streams,
            room,
            untold: 0,
            silent: 0,
            data: Vec::new(),
            taken: 0,
            http: None,
            status: None,
            text: String::new(),
            outcome: None,
        }
    }

    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        let text = || std::str::from_utf8(value).ok();
        match name {
            b":status" => self.http = text().and_then(|text| text.parse().ok()),
            b"grpc-status" => self.status = text().and_then(|text| text.parse().ok()),
            b"grpc-message" => self.text = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }

    pub fn data(&mut self, bytes: &[u8]) {
        if self.taken == self.data.len() {
            self.data.clear();
            self.taken = 0;
        }
        self.data.extend_from_slice(bytes);
    }

    /// The server has ended it.
    pub fn end(&mut self) {
        let done = match (self.http, self.status) {
            (Some(200), Some(0)) => Ok(()),
            (Some(200), Some(status)) => Err(format!("status {status}: {}", self.text)),
            (Some(200), None) => Err("the call ended without a status".to_owned()),
            (http, _) => Err(format!("HTTP status {}", http.unwrap_or_default())),
        };
        self.outcome.get_or_insert(done);
    }

    pub fn fail(&mut self, why: &str) {
        self.outcome.get_or_insert_with(|| Err(why.to_owned()));
    }

    /// The next message, if it is there as a whole.
    pub fn message(&mut self) -> Done<Option<&[u8]>> {
        let Some(([compressed, length @ ..], rest)) =
            self.data[self.taken..].split_first_chunk::<5>()
        else {
            return Ok(None);
        };
        if *compressed != 0 {
            return Err("a message came compressed".to_owned());
        }
        let length = u32::from_be_bytes(*length) as usize;
        let message = rest.get(..length);
        self.taken += message.map_or(0, |message| 5 + message.len());
        Ok(message)
    }

    /// True if all of what has come was taken.
    pub fn is_empty(&self) -> bool {
        self.taken == self.data.len()
    }
}
