//! How the client reaches the service, and what it shows there.

use std::sync::Arc;

use grpcio::{
    Channel, ChannelBuilder, ChannelCredentialsBuilder, Environment, Metadata, MetadataBuilder,
};

use super::Client;

/// How the client reaches the service.
pub enum Security<'a> {
    /// Plaintext.
    Insecure,
    /// TLS, trusting this PEM certificate; the server must be called by one of
    /// its names.
    Trust(&'a [u8]),
    /// TLS, trusting this PEM certificate, with one of the client's own.
    Mutual {
        /// The certificate that is trusted, PEM.
        trust: &'a [u8],
        /// The client's certificate chain, PEM.
        cert: &'a [u8],
        /// Its key, PEM.
        key: &'a [u8],
    },
}

impl Security<'_> {
    /// A channel to `host:port`, which connects with the first call.
    pub(super) fn channel(&self, environment: &Arc<Environment>, address: &str) -> Channel {
        let environment = Arc::clone(environment);
        let builder = ChannelBuilder::new(environment)
            .use_local_subchannel_pool(true)
            .max_receive_message_len(8 << 20);
        match self {
            Security::Insecure => builder.connect(address),
            Security::Trust(pem) => {
                let credentials = ChannelCredentialsBuilder::new().root_cert(pem.to_vec()).build();
                builder.set_credentials(credentials).connect(address)
            }
            Security::Mutual { trust, cert, key } => {
                let credentials = ChannelCredentialsBuilder::new()
                    .root_cert(trust.to_vec())
                    .cert(cert.to_vec(), key.to_vec())
                    .build();
                builder.set_credentials(credentials).connect(address)
            }
        }
    }
}

impl Client {
    /// The same client with a bearer token in each call.
    ///
    /// # Errors
    /// The token has characters that metadata cannot have.
    pub fn with_token(&self, token: &str) -> Result<Client, grpcio::Error> {
        let mut metadata = MetadataBuilder::new();
        metadata.add_str("authorization", &format!("Bearer {token}"))?;
        Ok(self.with_metadata(metadata.build()))
    }

    /// The same client with this metadata in each call.
    #[must_use]
    pub fn with_metadata(&self, metadata: Metadata) -> Client {
        Client { metadata: Some(metadata), ..self.clone() }
    }
}
