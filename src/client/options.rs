//! What one call may say of itself.

use std::time::Duration;

use grpcio::{Metadata, MetadataBuilder};

/// How one call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) idempotent: bool,
    pub(super) wait_for_ready: bool,
    pub(super) metadata: Option<Metadata>,
}

impl CallOptions {
    /// As the service's settings say; not idempotent.
    pub fn new() -> CallOptions {
        CallOptions::default()
    }

    /// The whole call, with all attempts and pauses, takes at most so long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> CallOptions {
        self.timeout = Some(timeout);
        self
    }

    /// Making the call twice does no harm, so that it may be repeated when nobody knows whether
    /// the server got it.
    #[must_use]
    pub fn idempotent(mut self) -> CallOptions {
        self.idempotent = true;
        self
    }

    /// Waits while nothing is connected, instead of failing at once.
    #[must_use]
    pub fn wait_for_ready(mut self) -> CallOptions {
        self.wait_for_ready = true;
        self
    }

    /// Sends these with the call.
    ///
    /// # Errors
    /// If gRPC does not take a key or a value; keys that begin with `grpc-` are gRPC's own.
    pub fn metadata(mut self, pairs: &[(&str, &str)]) -> Result<CallOptions, grpcio::Error> {
        let mut builder = MetadataBuilder::new();
        for (key, value) in pairs {
            if key.to_ascii_lowercase().starts_with("grpc-") {
                return Err(grpcio::Error::InvalidMetadata(format!("{key} is gRPC's own")));
            }
            builder.add_str(key, value)?;
        }
        self.metadata = Some(builder.build());
        Ok(self)
    }
}
