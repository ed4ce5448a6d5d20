//! A service that answers with what it is sent, or as its script says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use connection_pool_manager::client::{raw, Connection};
use connection_pool_manager::proto::error_details::{ErrorInfo, RetryInfo};
use connection_pool_manager::proto::status::Status;
use futures_executor::block_on;
use grpcio::{
    ChannelBuilder, Client, Environment, Method, RpcStatus, RpcStatusCode, Server, ServerBuilder,
    ServerCredentials, ServiceBuilder, UnarySink,
};
use protobuf::well_known_types::any::Any;
use protobuf::well_known_types::duration::Duration;
use protobuf::Message;

/// A method of bytes.
pub static SAY: LazyLock<Method<Vec<u8>, Vec<u8>>> = LazyLock::new(|| raw("/test.Echo/Say"));

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

impl Echo {
    pub fn start() -> Echo {
        Echo::on(0)
    }

    /// A server on this port; 0 takes any.
    pub fn on(port: u16) -> Echo {
        let environment = Arc::new(Environment::new(1));
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let service = ServiceBuilder::new()
            .add_unary_handler(&SAY, move |ctx, request: Vec<u8>, sink| {
                own.calls.fetch_add(1, Ordering::SeqCst);
                let step = own.script.lock().unwrap().pop_front();
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
                    Some(Step::Details(millis)) => details(millis),
                };
                ctx.spawn(async move { drop(sink.fail(status).await) });
            })
            .build();
        let arguments = ChannelBuilder::new(Arc::clone(&environment)).reuse_port(false);
        let mut server = ServerBuilder::new(environment)
            .register_service(service)
            .channel_args(arguments.build_args())
            .build()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        let port = server.add_listening_port(&address, ServerCredentials::insecure()).unwrap();
        server.start();
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

/// A status with an `ErrorInfo` and a `RetryInfo`.
fn details(millis: i32) -> RpcStatus {
    let info = ErrorInfo { reason: "TOO_BUSY".to_owned(), ..Default::default() };
    let mut delay = Duration::new();
    delay.nanos = millis * 1_000_000;
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
