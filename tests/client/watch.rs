//! Servers that say themselves whether they serve.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use connection_pool_manager::client::{
    raw, CallOptions, ClientMetrics, Config, ConnectionManager, Pool, PoolError, Ready,
    ServiceConfig,
};
use futures_util::SinkExt;
use grpcio::{
    Environment, RpcContext, Server, ServerStreamingSink, ServiceBuilder, UnarySink, WriteFlags,
};

use crate::echo::{listen, Echo, SAY};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;

/// What a server says, and who listens.
#[derive(Default)]
struct Board {
    status: u8,
    /// Streams that were begun, and those that are open.
    begun: usize,
    open: usize,
    asked: Vec<Vec<u8>>,
    wakers: Vec<Waker>,
}

/// A server with `Watch`, and a `Check` that says only that it does not serve.
struct Watched {
    port: u16,
    board: Arc<Mutex<Board>>,
    server: Server,
}

impl Watched {
    fn start(status: u8, port: u16) -> Watched {
        let board = Arc::new(Mutex::new(Board { status, ..Board::default() }));
        let environment = Arc::new(Environment::new(1));
        let own = Arc::clone(&board);
        let watch = move |ctx: RpcContext<'_>, asked: Vec<u8>, sink: ServerStreamingSink<_>| {
            let board = Arc::clone(&own);
            {
                let mut board = board.lock().unwrap();
                (board.begun, board.open) = (board.begun + 1, board.open + 1);
                board.asked.push(asked);
            }
            ctx.spawn(async move {
                tell(&board, sink).await;
                board.lock().unwrap().open -= 1;
            });
        };
        let check = |ctx: RpcContext<'_>, _: Vec<u8>, sink: UnarySink<Vec<u8>>| {
            ctx.spawn(async move { drop(sink.success(vec![0x08, NOT_SERVING]).await) });
        };
        let say = |ctx: RpcContext<'_>, request: Vec<u8>, sink: UnarySink<Vec<u8>>| {
            ctx.spawn(async move { drop(sink.success(request).await) });
        };
        let service = ServiceBuilder::new()
            .add_server_streaming_handler(&raw("/grpc.health.v1.Health/Watch"), watch)
            .add_unary_handler(&raw("/grpc.health.v1.Health/Check"), check)
            .add_unary_handler(&SAY, say)
            .build();
        let (port, server) = listen(environment, service, port, |arguments| arguments);
        Watched { port, board, server }
    }

    fn say(&self, status: u8) {
        let mut board = self.board.lock().unwrap();
        board.status = status;
        board.wakers.drain(..).for_each(Waker::wake);
    }

    fn streams(&self) -> (usize, usize) {
        let board = self.board.lock().unwrap();
        (board.begun, board.open)
    }
}

/// Tells the status, and each change of it, until nobody listens.
async fn tell(board: &Mutex<Board>, mut sink: ServerStreamingSink<Vec<u8>>) {
    let mut said = None;
    loop {
        let status = poll_fn(|context| {
            let mut board = board.lock().unwrap();
            if said != Some(board.status) {
                return Poll::Ready(board.status);
            }
            board.wakers.push(context.waker().clone());
            Poll::Pending
        });
        let status = status.await;
        said = Some(status);
        if sink.send((vec![0x08, status], WriteFlags::default())).await.is_err() {
            return;
        }
    }
}

/// Settings that only listen: nothing is probed.
fn listening(port: u16, size: usize) -> ServiceConfig {
    let mut config = settings(port, size);
    config.health.watch = true;
    config.health.service = "shop.Users".to_owned();
    config
}

fn calls(pool: &Pool) -> bool {
    pool.call(&SAY, &b"7".to_vec(), &CallOptions::new()).is_ok()
}

#[test]
fn a_server_that_says_that_it_stops_serving_is_left_alone_until_it_serves() {
    let server = Watched::start(SERVING, 0);
    let pool = ready(&listening(server.port, 2));
    eventually("it is listened to", || server.streams() == (1, 1));
    assert!(calls(&pool));
    server.say(NOT_SERVING);
    eventually("nothing is lent", || matches!(pool.get(), Err(PoolError::NotConnected { .. })));
    assert!(pool.status().connections.iter().all(|one| one.state == "sick"));
    assert_eq!(pool.health().level, "unhealthy");
    // Its own word counts, whatever it is asked.
    server.say(SERVING);
    eventually("it is used again", || calls(&pool));
    assert_eq!(server.streams(), (1, 1));
    assert_eq!(server.board.lock().unwrap().asked, [b"\x0a\x0ashop.Users"]);
    pool.stop();
    eventually("nobody listens any more", || {
        // It notices when it has something to say.
        let next = 3 - server.board.lock().unwrap().status;
        server.say(next);
        server.streams() == (1, 0)
    });
}

#[test]
fn a_stream_that_was_lost_is_begun_again() {
    let mut server = Watched::start(SERVING, 0);
    let port = server.port;
    let pool = ready(&listening(port, 1));
    eventually("it is listened to", || server.streams() == (1, 1));
    let stopping = server.server.shutdown();
    server.server.cancel_all_calls();
    futures_executor::block_on(stopping).unwrap();
    drop(server);
    eventually("it is known", || !calls(&pool));
    let server = Watched::start(NOT_SERVING, port);
    eventually("it is listened to", || server.streams().0 >= 1);
    eventually("its word is taken", || pool.health().error.is_some_and(|it| it.contains("serve")));
    server.say(SERVING);
    eventually("it is used again", || calls(&pool));
}

#[test]
fn a_server_without_watch_counts_as_alive() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&listening(proxy.port, 1));
    eventually("it was asked, over a connection of its own", || proxy.taken() == 2);
    assert!(pool.force_health_check().unwrap().healthy);
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert!(calls(&pool));
    assert_eq!(proxy.taken(), 2, "it is not asked again at once");
}

#[test]
fn it_is_begun_and_ended_and_asks_for_another_service_while_the_pool_is_in_use() {
    let server = Watched::start(SERVING, 0);
    let mut config = Config::new();
    let mut apply = |manager: Option<&ConnectionManager>, watch: bool, service: &str| {
        let mut users = listening(server.port, 1);
        users.health.watch = watch;
        users.health.service = service.to_owned();
        config.services.insert("users".to_owned(), users);
        match manager {
            Some(manager) => drop(manager.apply(&config).unwrap()),
            None => return Some(ConnectionManager::open(&config, ClientMetrics::new()).unwrap()),
        }
        None
    };
    let manager = apply(None, false, "").unwrap();
    let pool = manager.pool("users").unwrap();
    assert_eq!(server.streams(), (0, 0));
    apply(Some(&manager), true, "");
    eventually("it is listened to", || server.streams() == (1, 1));
    server.say(NOT_SERVING);
    eventually("nothing is lent", || matches!(pool.get(), Err(PoolError::NotConnected { .. })));
    server.say(SERVING);
    eventually("it is used again", || calls(&pool));
    apply(Some(&manager), true, "shop");
    eventually("it asks for another one", || {
        server.board.lock().unwrap().asked == [b"".to_vec(), b"\x0a\x04shop".to_vec()]
    });
    apply(Some(&manager), false, "shop");
    eventually("nobody listens any more", || {
        // It notices when it has something to say: that it serves, or knows no such service.
        let next = 4 - server.board.lock().unwrap().status;
        server.say(next);
        server.streams() == (2, 0)
    });
    assert!(calls(&pool));
}
