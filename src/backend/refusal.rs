//! Why the first steps with a server fail.

/// Why the first steps failed, where the words of the driver or of the system
/// would not say it.
#[derive(Debug)]
pub enum Refusal {
    /// The server and the DSN do not go together.
    Mismatch(String),
    /// The server's certificate does not stand up to what is checked.
    Untrusted(String),
    /// The server can serve nobody now.
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

/// What is said of a server that fails before it can say more in safety.
pub const UNAVAILABLE: &str = "the server answers the SSL request with an error";
