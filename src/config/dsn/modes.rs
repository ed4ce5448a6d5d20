//! The keys that take one of a few words.

/// A value that is written as one of a few words.
pub(super) trait Keyword: Copy + 'static {
    /// Every value, in the order in which an error lists them.
    const ALL: &'static [Self];

    /// The word.
    fn keyword(self) -> &'static str;

    /// The value of a word.
    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.keyword() == word)
    }

    /// The allowed words, for an error: `a, b or c`.
    fn allowed() -> String {
        let words: Vec<&str> = Self::ALL.iter().map(|value| value.keyword()).collect();
        match words.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
        }
    }
}

/// The values of `sslmode`; each checks what the ones before it do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SslMode {
    /// Never encrypt.
    Disable,
    /// Encrypt if the server can; libpq's default.
    #[default]
    Prefer,
    /// Encrypt or fail. The certificate is checked only if a root certificate is named, and then as
    /// with `VerifyCa`.
    Require,
    /// The server's certificate must be issued by a trusted root.
    VerifyCa,
    /// The certificate must also be valid for the host's name.
    VerifyFull,
}

impl Keyword for SslMode {
    const ALL: &'static [SslMode] = &[
        SslMode::Disable,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    fn keyword(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

impl SslMode {
    /// The value of `sslmode`.
    pub fn as_str(self) -> &'static str {
        self.keyword()
    }
}

/// The values of `sslnegotiation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslNegotiation {
    /// Ask the server first whether it supports TLS.
    #[default]
    Postgres,
    /// Begin with the TLS handshake; PostgreSQL 17 and later.
    Direct,
}

impl Keyword for SslNegotiation {
    const ALL: &'static [SslNegotiation] = &[SslNegotiation::Postgres, SslNegotiation::Direct];

    fn keyword(self) -> &'static str {
        match self {
            SslNegotiation::Postgres => "postgres",
            SslNegotiation::Direct => "direct",
        }
    }
}

/// The values of `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never bind.
    Disable,
    /// Bind if the server can; libpq's default.
    #[default]
    Prefer,
    /// Bind or fail.
    Require,
}

impl Keyword for ChannelBinding {
    const ALL: &'static [ChannelBinding] =
        &[ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require];

    fn keyword(self) -> &'static str {
        match self {
            ChannelBinding::Disable => "disable",
            ChannelBinding::Prefer => "prefer",
            ChannelBinding::Require => "require",
        }
    }
}

/// The values of `target_session_attrs`: what a server must be to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetSession {
    /// Anything.
    #[default]
    Any,
    /// Sessions there can write by default.
    ReadWrite,
    /// Sessions there cannot.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery; if no host is, anything.
    PreferStandby,
}

impl Keyword for TargetSession {
    const ALL: &'static [TargetSession] = &[
        TargetSession::Any,
        TargetSession::ReadWrite,
        TargetSession::ReadOnly,
        TargetSession::Primary,
        TargetSession::Standby,
        TargetSession::PreferStandby,
    ];

    fn keyword(self) -> &'static str {
        match self {
            TargetSession::Any => "any",
            TargetSession::ReadWrite => "read-write",
            TargetSession::ReadOnly => "read-only",
            TargetSession::Primary => "primary",
            TargetSession::Standby => "standby",
            TargetSession::PreferStandby => "prefer-standby",
        }
    }
}

impl TargetSession {
    /// The value of `target_session_attrs`.
    pub fn as_str(self) -> &'static str {
        self.keyword()
    }
}
