//! A conversation with a server of a test.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::Conversation;
use crate::backend::stream::socket::Socket;
use crate::backend::stream::watch::Watch;
use crate::backend::stream::wire::Stream;
use crate::config::dsn::Dsn;
use crate::config::TcpKeepalive;

/// A conversation, and the server's side of it.
#[allow(clippy::disallowed_methods)] // The server.
pub(super) fn pair() -> (Conversation, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let dsn = Dsn::parse("postgres://u@127.0.0.1/d").expect("a DSN");
    let with = (&dsn, TcpKeepalive::default());
    let socket = Socket::connect(address, with, Duration::from_secs(60)).expect("a socket");
    socket.is_started();
    let server = listener.accept().expect("a connection").0;
    server.set_nodelay(true).expect("a socket");
    let stream = Stream::plain(&Arc::new(socket));
    (Conversation::new(stream, Arc::<Watch>::default()), server)
}
