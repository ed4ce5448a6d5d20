//! A service that answers with what it is sent, or as its script says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use connection_pool_manager::client::Connection;
use grpcio::{
    ChannelBuilder, Client, Environment, GrpcSlice, Marshaller, MessageReader, Method, MethodType,
    RpcStatus, RpcStatusCode, Server, ServerBuilder, ServerCredentials, ServiceBuilder, UnarySink,
};

/// A method of bytes.
pub const SAY: Method<Vec<u8>, Vec<u8>> = Method {
    ty: MethodType::Unary,
    name: "/test.Echo/Say",
    req_mar: Marshaller { ser: write, de: read },
    resp_mar: Marshaller { ser: write, de: read },
};

#[allow(clippy::ptr_arg)] // A marshaller has this form.
fn write(bytes: &Vec<u8>, slice: &mut GrpcSlice) -> grpcio::Result<()> {
    *slice = GrpcSlice::from(bytes.as_slice());
    Ok(())
}

fn read(mut reader: MessageReader) -> grpcio::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut bytes)
        .map_err(|error| grpcio::Error::Codec(Box::new(error)))?;
    Ok(bytes)
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// It fails with this code.
    Fail(RpcStatusCode),
    /// It is not answered until the server ends.
    Hang,
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
                match step {
                    None => ctx.spawn(async move { drop(sink.success(request).await) }),
                    Some(Step::Fail(code)) => {
                        let status = RpcStatus::with_message(code, "as scripted".to_owned());
                        ctx.spawn(async move { drop(sink.fail(status).await) });
                    }
                    Some(Step::Hang) => own.hanging.lock().unwrap().push(sink),
                }
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

    /// Calls that have come.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }
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
