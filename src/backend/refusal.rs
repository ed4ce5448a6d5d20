//! Errors of the first steps with a server.

/// Why the first steps failed, where the driver's or the system's error would not say it.
#[derive(Debug)]
pub enum Refusal {
    /// The server does not support what the DSN requires.
    Mismatch(String),
    /// The server's certificate failed verification.
    Untrusted(String),
    /// The server cannot start a session now.
    Unavailable,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Mismatch(why) | Refusal::Untrusted(why) => f.write_str(why),
            Refusal::Unavailable => f.write_str(UNAVAILABLE),
        }
    }
}

impl std::error::Error for Refusal {}

/// The error for a server that fails before TLS protects its words.
pub const UNAVAILABLE: &str = "the server refused the SSL request with an error";
