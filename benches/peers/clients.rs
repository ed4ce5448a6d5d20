//! Clients of gRPC's core, as applications have them: for streams of rows, for thousands of
//! calls that wait, and for the time that such a client waits for an answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connection_pool_manager::client::service::Client;
use crossbeam_channel::bounded;
use grpcio::{CallOption, ChannelBuilder, ChannelCredentialsBuilder, EnvBuilder, Environment};

use crate::figures::Round;
use crate::harness::{now, Service};
use crate::load::{sum, Tally};
use crate::Answer;

/// A call that has no answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client with a connection of its own.
pub struct Connected {
    pub client: Client,
    raw: grpcio::Client,
}

/// What makes clients.
#[derive(Clone)]
pub struct Clients {
    environment: Arc<Environment>,
    address: String,
    trust: Vec<u8>,
}

pub fn options() -> CallOption {
    CallOption::default().timeout(PATIENCE).wait_for_ready(true)
}

impl Clients {
    /// Clients of this service.
    pub fn of(service: &Service) -> Answer<Clients> {
        let trust = std::fs::read(service.certs.path().join("cert.pem"))?;
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        Ok(Clients { environment, address: format!("localhost:{}", service.port), trust })
    }

    /// So many, each connected.
    pub fn connect(&self, count: usize) -> Answer<Vec<Connected>> {
        (0..count).map(|_| self.one()).collect()
    }

    pub fn one(&self) -> Answer<Connected> {
        let credentials = ChannelCredentialsBuilder::new().root_cert(self.trust.clone()).build();
        let channel = ChannelBuilder::new(Arc::clone(&self.environment))
            .use_local_subchannel_pool(true)
            .max_receive_message_len(8 << 20)
            .set_credentials(credentials)
            .connect(&self.address);
        let client = Client::on(channel.clone()).with_timeout(PATIENCE);
        client.health_stub().check(&Default::default(), options())?;
        Ok(Connected { client, raw: grpcio::Client::new(channel) })
    }
}

/// What is done on gRPC's thread, so that no call costs a change of threads on this side.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Connected {
    /// Calls again and again for so long.
    pub fn repeat<C>(&self, mut call: C, length: Duration) -> Answer<Round>
    where
        C: FnMut() -> Later<grpcio::Result<()>> + Send + 'static,
    {
        let (said, done) = bounded(1);
        let began = now();
        self.raw.spawn(async move {
            let mut tally = Tally::default();
            loop {
                let begun: Instant = now();
                if begun >= began + length {
                    break;
                }
                let done = call().await;
                tally.count(begun, done.map(|()| 1).map_err(|error| error.to_string()));
            }
            // Nobody may wait any more.
            drop(said.send(tally));
        });
        Ok(sum(began, vec![done.recv_timeout(length + 3 * PATIENCE)?]))
    }
}
