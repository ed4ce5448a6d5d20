//! A healthy tenant beside ten whose databases never answer, and whose callers keep waiting.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use connection_pool_manager::client::service::Client;
use connection_pool_manager::proto::connection_pool::{ConnectionRequest, ConnectionResponse};
use grpcio::{CallOption, ClientUnaryReceiver};
use socket2::{Domain, Socket, Type};

use super::admission::bare_grants;
use super::Group;
use crate::bench::Bench;
use crate::crowd::Crowd;
use crate::figures::{Line, Round, Side, Unit};
use crate::harness::now;
use crate::load;
use crate::machine::pause;
use crate::options::Options;
use crate::Answer;

pub const GROUP: Group = Group { name: "neighbours", rows: &[MUTE, DROPPED], measure };

const MUTE: &str = "grant beside mute databases, p50";
const DROPPED: &str = "grant beside unreachable ones, p50";

const TENANTS: usize = 10;
/// Callers that wait for each of them.
const CALLERS: usize = 2;
const PATIENCE: Duration = Duration::from_secs(20);

/// A listener whose backlog is full: no SYN is answered.
struct Full {
    listener: TcpListener,
    _fillers: Vec<Socket>,
}

impl Full {
    fn new() -> Answer<Full> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(0)?;
        let listener: TcpListener = socket.into();
        let mut fillers = Vec::new();
        for _ in 0..4 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            filler.set_nonblocking(true)?;
            // In progress, for ever.
            let _ = filler.connect(&listener.local_addr()?.into());
            fillers.push(filler);
        }
        Ok(Full { listener, _fillers: fillers })
    }
}

fn measure(bench: &Bench, options: &Options) -> Answer<Vec<Line>> {
    // It accepts connections into its backlog, and never answers.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let full = Full::new()?;
    let ports = [(MUTE, mute.local_addr()?.port()), (DROPPED, full.listener.local_addr()?.port())];
    let mut lines = Vec::new();
    for (row, port) in ports {
        if options.wants(GROUP.name, row) {
            lines.push(compare(bench, options, row, port)?);
        }
    }
    Ok(lines)
}

/// Rounds of one healthy tenant alone take turns with rounds beside the others.
fn compare(bench: &Bench, options: &Options, row: &str, port: u16) -> Answer<Line> {
    let crowd = Crowd::start()?;
    let callers = crowd.callers.connect(1)?;
    let round = |length| {
        let tasks = callers.iter().map(|caller| bare_grants(caller, bench.request())).collect();
        load::run(&callers, tasks, length)
    };
    round(Duration::from_millis(300));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for number in 0..options.rounds {
        alone.push(round(options.length));
        // New names each time: those of the last round may be known to be unreachable, and
        // then no call would wait for them.
        let names: Vec<String> = (0..TENANTS).map(|n| format!("{port}-{number}-{n}")).collect();
        let strangers = &crowd.clients.one()?.client;
        let waiting = waiting(strangers, &names, port)?;
        until(|| names.iter().all(|name| strangers.stats(name).is_ok()))?;
        beside.push(round(options.length));
        // Cancelled, so that they are gone when the next round begins.
        drop(waiting);
        until(|| names.iter().all(|name| strangers.stats(name).is_err()))?;
    }
    let side = |name: &str, rounds: &[Round]| {
        let value = |round: &Round| round.quantile(0.5).unwrap_or(f64::NAN);
        Side {
            failed: rounds.iter().map(|round| round.failed).sum(),
            ..Side::plain(name, rounds.iter().map(value).collect())
        }
    };
    let (ours, peer) = (side(row, &beside), Some(side("alone", &alone)));
    Ok(Line { row: row.to_owned(), unit: Unit::Micros, ours, peer })
}

/// Calls that wait for tenants of these names on a port that never answers.
fn waiting(
    client: &Client,
    names: &[String],
    port: u16,
) -> grpcio::Result<Vec<ClientUnaryReceiver<ConnectionResponse>>> {
    let callers = names.iter().flat_map(|name| std::iter::repeat_n(name, CALLERS));
    let calls = callers.map(|name| {
        let request = ConnectionRequest {
            tenant_id: name.clone(),
            dsn: format!("host=127.0.0.1 port={port} user=u password=p dbname=d connect_timeout=1"),
            ..ConnectionRequest::default()
        };
        client.pool_stub().get_connection_async(&request, CallOption::default())
    });
    calls.collect()
}

fn until(holds: impl Fn() -> bool) -> Answer<()> {
    let until = now() + PATIENCE;
    while !holds() {
        if now() >= until {
            return Err("the others' tenants neither come nor go".into());
        }
        pause(Duration::from_millis(10));
    }
    Ok(())
}
