//! A service that answers with what it is sent, or as its script says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use connection_pool_manager::client::{raw, Connection};
use connection_pool_manager::proto::error_details::{ErrorInfo, RetryInfo};
use connection_pool_manager::proto::status::Status;
use futures_executor::block_on;
use futures_util::{SinkExt, StreamExt};
use grpcio::{
    ChannelBuilder, Client, ClientStreamingSink, DuplexSink, Environment, Method, RequestStream,
    RpcContext, RpcStatus, RpcStatusCode, Server, ServerBuilder, ServerCredentials,
    ServerStreamingSink, Service, ServiceBuilder, UnarySink, WriteFlags,
};
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::duration::Duration;
use protobuf::Message;

/// A method of bytes.
pub static SAY: LazyLock<Method<Vec<u8>, Vec<u8>>> = LazyLock::new(|| raw("/test.Echo/Say"));

/// Answers with each letter of the request; the call then ends as its script says.
pub static LETTERS: LazyLock<Method<Vec<u8>, Vec<u8>>> =
    LazyLock::new(|| raw("/test.Echo/Letters"));

/// Answers with all it is sent in one, or at the first message that is empty.
pub static JOIN: LazyLock<Method<Vec<u8>, Vec<u8>>> = LazyLock::new(|| raw("/test.Echo/Join"));

/// Answers each message with itself, until one is empty.
pub static TALK: LazyLock<Method<Vec<u8>, Vec<u8>>> = LazyLock::new(|| raw("/test.Echo/Talk"));

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// It fails with this code.
    Fail(RpcStatusCode),
    /// It is not answered until the server ends.
    Hang,
    /// It is answered with the metadata it came with, `key=value` a line.
    Metadata,
    /// It fails with ABORTED and details, which ask to come again after so many milliseconds.
    Details(i32),
    /// The same, after so many seconds.
    After(i64),
}

/// A server on this machine. Stops when dropped.
pub struct Echo {
    pub port: u16,
    shared: Arc<Shared>,
    _server: Server,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    script: Mutex<VecDeque<Step>>,
    /// Keeps what is never answered.
    hanging: Mutex<Vec<UnarySink<Vec<u8>>>>,
}

impl Shared {
    /// Counts a call, and tells what becomes of it.
    fn step(&self) -> Option<Step> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.script.lock().unwrap().pop_front()
    }
}

/// A server of this service on a port of this machine, in plain text; 0 takes any.
pub fn listen(
    environment: Arc<Environment>,
    service: Service,
    port: u16,
    with: impl FnOnce(ChannelBuilder) -> ChannelBuilder,
) -> (u16, Server) {
    let arguments = with(ChannelBuilder::new(Arc::clone(&environment)).reuse_port(false));
    let mut server = ServerBuilder::new(environment)
        .register_service(service)
        .channel_args(arguments.build_args())
        .build()
        .unwrap();
    let address = format!("127.0.0.1:{port}");
    let port = server.add_listening_port(&address, ServerCredentials::insecure()).unwrap();
    server.start();
    (port, server)
}

impl Echo {
    pub fn start() -> Echo {
        Echo::on(0)
    }

    /// A server on this port; 0 takes any.
    pub fn on(port: u16) -> Echo {
        Echo::build(port, |arguments| arguments)
    }

    /// A server with these arguments.
    pub fn with(arguments: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Echo {
        Echo::build(0, arguments)
    }

    fn build(port: u16, with: impl FnOnce(ChannelBuilder) -> ChannelBuilder) -> Echo {
        let environment = Arc::new(Environment::new(1));
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let service =
            ServiceBuilder::new().add_unary_handler(&SAY, move |ctx, request: Vec<u8>, sink| {
                let step = own.step();
                let status = match step {
                    None => return ctx.spawn(async move { drop(sink.success(request).await) }),
                    Some(Step::Hang) => return own.hanging.lock().unwrap().push(sink),
                    Some(Step::Metadata) => {
                        let pair = |(key, value): (&str, &[u8])| {
                            format!("{key}={}\n", String::from_utf8_lossy(value))
                        };
                        let all: String = ctx.request_headers().iter().map(pair).collect();
                        return ctx.spawn(async move { drop(sink.success(all.into()).await) });
                    }
                    Some(Step::Fail(code)) => RpcStatus::with_message(code, "as scripted".into()),
                    Some(Step::Details(millis)) => details(0, millis),
                    Some(Step::After(seconds)) => details(seconds, 0),
                };
                ctx.spawn(async move { drop(sink.fail(status).await) });
            });
        let service = streams(service, &shared).build();
        let (port, server) = listen(environment, service, port, with);
        Echo { port, shared, _server: server }
    }

    /// What becomes of the next calls; after that they are echoed.
    pub fn script(&self, steps: &[Step]) {
        self.shared.script.lock().unwrap().extend(steps);
    }

    /// How many of the calls that hang were cancelled; they are answered.
    pub fn cancelled(&self) -> usize {
        let hanging = std::mem::take(&mut *self.shared.hanging.lock().unwrap());
        let answer = |sink: UnarySink<Vec<u8>>| block_on(sink.success(b"late".to_vec())).is_err();
        hanging.into_iter().map(answer).filter(|cancelled| *cancelled).count()
    }

    /// Calls that have come.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

fn streams(builder: ServiceBuilder, shared: &Arc<Shared>) -> ServiceBuilder {
    let status = |code| RpcStatus::with_message(code, "as scripted".to_owned());
    let own = Arc::clone(shared);
    let letters = move |ctx: RpcContext<'_>, request: Vec<u8>, mut sink: ServerStreamingSink<_>| {
        let step = own.step();
        ctx.spawn(async move {
            for letter in request {
                if sink.send((vec![letter], WriteFlags::default())).await.is_err() {
                    return;
                }
            }
            let _ = match step {
                Some(Step::Fail(code)) => sink.fail(status(code)).await,
                Some(Step::Hang) => std::future::pending().await,
                _ => sink.close().await,
            };
        });
    };
    let own = Arc::clone(shared);
    let join = move |ctx: RpcContext<'_>,
                     mut requests: RequestStream<Vec<u8>>,
                     sink: ClientStreamingSink<Vec<u8>>| {
        let step = own.step();
        ctx.spawn(async move {
            let mut all = Vec::new();
            while let Some(Ok(part)) = requests.next().await {
                if part.is_empty() {
                    break;
                }
                all.extend(part);
            }
            let _ = match step {
                Some(Step::Fail(code)) => sink.fail(status(code)).await,
                _ => sink.success(all).await,
            };
        });
    };
    let own = Arc::clone(shared);
    let talk = move |ctx: RpcContext<'_>,
                     mut requests: RequestStream<Vec<u8>>,
                     mut sink: DuplexSink<Vec<u8>>| {
        own.step();
        ctx.spawn(async move {
            while let Some(Ok(part)) = requests.next().await {
                let is_last = part.is_empty();
                if is_last || sink.send((part, WriteFlags::default())).await.is_err() {
                    break;
                }
            }
            let _ = sink.close().await;
        });
    };
    builder
        .add_server_streaming_handler(&LETTERS, letters)
        .add_client_streaming_handler(&JOIN, join)
        .add_duplex_streaming_handler(&TALK, talk)
}

/// A status with an `ErrorInfo` and a `RetryInfo`.
fn details(seconds: i64, millis: i32) -> RpcStatus {
    let info = ErrorInfo { reason: "TOO_BUSY".to_owned(), ..Default::default() };
    let mut delay = Duration::new();
    (delay.seconds, delay.nanos) = (seconds, millis * 1_000_000);
    let retry = RetryInfo { retry_delay: Some(delay).into(), ..Default::default() };
    let details = vec![Any::pack(&info).unwrap(), Any::pack(&retry).unwrap()];
    let status = Status { code: 10, details, ..Default::default() };
    let code = RpcStatusCode::ABORTED;
    RpcStatus::with_details(code, "come again".to_owned(), status.write_to_bytes().unwrap())
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Says something over a connection, as a stub does.
pub fn say(connection: &Connection, text: &str) -> grpcio::Result<String> {
    let client = Client::new(connection.channel().clone());
    let said = client.unary_call(&SAY, &text.as_bytes().to_vec(), connection.options())?;
    Ok(String::from_utf8(said).unwrap())
}
