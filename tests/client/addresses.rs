//! Names that stand for addresses, which come and go.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connection_pool_manager::client::{
    ConnectionManager, Event, Pool, PoolError, Ready, Resolver, ServiceConfig,
};

use crate::echo::{free_port, say, Echo};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

/// A name server of a test.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<u16>>>);

impl Names {
    fn of(ports: &[u16]) -> Names {
        let names = Names::default();
        names.say(ports);
        names
    }

    /// What the name stands for from now on: these ports of this machine.
    fn say(&self, ports: &[u16]) {
        *self.0.lock().unwrap() = ports.to_vec();
    }

    /// Settings of a service that this one resolves, every 10 ms.
    fn settings(&self, size: usize) -> ServiceConfig {
        let mut config = settings(1, size);
        config.addresses = vec!["users.test:1".to_owned()];
        config.connection.dns_refresh = Some(Duration::from_millis(10));
        let ports = Arc::clone(&self.0);
        config.connection.resolver = Some(Resolver::new(move |host: &str, _: u16| {
            assert_eq!(host, "users.test");
            match &*ports.lock().unwrap() {
                ports if ports.is_empty() => Err(io::Error::other("no such host")),
                ports => {
                    Ok(ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect())
                }
            }
        }));
        config
    }
}

/// Connections that stand, by port.
fn at(pool: &Pool, port: u16) -> usize {
    let address = format!("users.test/127.0.0.1:{port}");
    let status = pool.status();
    status.connections.iter().filter(|one| one.address == address && one.age.is_some()).count()
}

#[test]
fn the_connections_of_a_name_are_spread_over_all_it_stands_for_and_follow_it() {
    let (one, two, three) = (Echo::start(), Echo::start(), Echo::start());
    let names = Names::of(&[one.port, two.port]);
    let pool = ready(&names.settings(4));
    assert_eq!((at(&pool, one.port), at(&pool, two.port)), (2, 2));
    let held = pool.get().unwrap();
    names.say(&[three.port]);
    eventually("all that is not lent has moved", || {
        at(&pool, three.port) == 4 && pool.status().connections.len() == 5
    });
    assert_eq!(say(&held, "still").unwrap(), "still");
    drop(held);
    eventually("that, too", || pool.status().connections.len() == 4);
    for _ in 0..8 {
        assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
    }
    assert_eq!(three.calls(), 8);
}

#[test]
fn a_name_that_is_not_known_fails_with_the_reason_and_heals() {
    let names = Names::default();
    let config = names.settings(2);
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    manager.on_event(move |event: &Event| match event {
        Event::ResolveFailed { host, error, .. } => {
            hears.lock().unwrap().push(format!("{host}: {error}"));
        }
        Event::Resolved { host, addresses, .. } => {
            hears.lock().unwrap().push(format!("{host}: {addresses}"));
        }
        _ => {}
    });
    let pool = manager.add("users", &config).unwrap();
    let Err(PoolError::NotConnected { last_error, .. }) = pool.get() else { panic!("no name") };
    assert_eq!(last_error, "users.test cannot be resolved: no such host");
    let echo = Echo::start();
    names.say(&[echo.port]);
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
    // A server of names that fails takes nothing away.
    names.say(&[]);
    let failures = told.lock().unwrap().len();
    eventually("it has failed again", || told.lock().unwrap().len() > failures);
    assert_eq!((pool.metrics().connected, pool.status().last_error), (2, None));
    let told = told.lock().unwrap();
    assert_eq!(told[0], "users.test: no such host");
    assert!(told.contains(&"users.test: 1".to_owned()), "{told:?}");
}

#[test]
fn a_connection_that_fails_has_its_name_looked_up_again() {
    let mut echo = Echo::start();
    let names = Names::of(&[echo.port]);
    let mut config = names.settings(2);
    config.connection.dns_refresh = None;
    let pool = ready(&config);
    let old = echo.port;
    let other = Echo::start();
    names.say(&[other.port]);
    assert_eq!((at(&pool, old), at(&pool, other.port)), (2, 0), "nobody has asked again");
    drop(std::mem::replace(&mut echo, Echo::start()));
    eventually("they have moved", || at(&pool, other.port) == 2);
    assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
}

#[test]
fn a_small_pool_uses_a_part_of_many_addresses_and_others_when_these_are_gone() {
    let echoes: Vec<Echo> = (0..4).map(|_| Echo::start()).collect();
    let proxies: Vec<Proxy> = echoes.iter().map(|echo| Proxy::to(echo.port)).collect();
    let names = Names::of(&proxies.iter().map(|proxy| proxy.port).collect::<Vec<_>>());
    let pool = ready(&names.settings(2));
    let used = |pool: &Pool| -> Vec<usize> {
        (0..4).filter(|index| at(pool, proxies[*index].port) > 0).collect()
    };
    let before = used(&pool);
    assert_eq!(before.len(), 2);
    for index in &before {
        proxies[*index].cut();
    }
    eventually("two others are used", || {
        let now = used(&pool);
        now.len() == 2 && now.iter().all(|index| !before.contains(index))
    });
    assert_eq!(pool.execute(|connection| say(connection, "on").unwrap()).unwrap(), "on");
}

#[test]
fn localhost_is_reached_whatever_family_its_server_listens_on() {
    let echo = Echo::start();
    let mut config = settings(echo.port, 2);
    config.addresses = vec![format!("localhost:{}", echo.port)];
    let pool = ready(&config);
    assert_eq!(pool.health().level, "healthy");
    let connection = pool.get().unwrap();
    assert_eq!(connection.address(), format!("localhost/127.0.0.1:{}", echo.port));
    assert_eq!(say(&connection, "on").unwrap(), "on");
}

#[test]
fn a_list_may_have_names_beside_addresses() {
    let (one, two) = (Echo::start(), Echo::start());
    let names = Names::of(&[one.port]);
    let mut config = names.settings(4);
    config.addresses.push(format!("127.0.0.1:{}", two.port));
    let pool = ready(&config);
    let literal = format!("127.0.0.1:{}", two.port);
    // All may have gone to the one that needs no look-up; then two move.
    eventually("both have the same", || {
        let status = pool.status();
        let here = status.connections.iter().filter(|one| one.address == literal).count();
        (at(&pool, one.port), here) == (2, 2)
    });
}

#[test]
fn a_resolver_that_never_answers_ends_in_time() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let mut config = settings(free_port(), 1);
    config.addresses = vec!["mute.test:1".to_owned()];
    config.connection.connect_timeout = Duration::from_millis(50);
    config.connection.resolver = Some(Resolver::new(move |_: &str, _: u16| {
        let _ = held.lock().unwrap().recv();
        Err(io::Error::other("too late"))
    }));
    let manager = ConnectionManager::new().unwrap();
    let pool = manager.add("mute", &config).unwrap();
    let said = pool.get().unwrap_err().to_string();
    assert!(said.contains("mute.test cannot be resolved: no answer within 0.05 s"), "{said}");
    drop(release);
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own thread, joined.
fn a_pool_moves_to_addresses_that_are_set_and_no_call_fails() {
    let (one, two) = (Echo::start(), Echo::start());
    let manager = ConnectionManager::new().unwrap();
    let told = Arc::new(Mutex::new(0));
    let hears = Arc::clone(&told);
    manager.on_event(move |event: &Event| {
        *hears.lock().unwrap() += usize::from(matches!(event, Event::Readdressed { .. }));
    });
    let pool = manager.add("echo", &settings(one.port, 3)).unwrap();
    pool.await_ready(Ready::All, PATIENCE).unwrap();
    let address = |echo: &Echo| format!("127.0.0.1:{}", echo.port);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let connection = pool.get_within(PATIENCE).unwrap();
                assert_eq!(say(&connection, "on").unwrap(), "on");
            }
        });
        for echo in [&two, &one, &two] {
            pool.set_addresses(&[address(echo)]).unwrap();
            eventually("they have moved", || {
                let connections = pool.status().connections;
                connections.len() == 3 && connections.iter().all(|it| it.address == address(echo))
            });
        }
        stop.store(true, Ordering::Relaxed);
        calling.join().unwrap();
    });
    assert_eq!(*told.lock().unwrap(), 3);
    assert!(manager.get_connection("echo", &address(&two)).is_ok());
    let other = manager.get_connection("echo", &address(&one)).unwrap_err();
    assert!(matches!(other, PoolError::AddressMismatch { .. }), "{other}");
    let said = pool.set_addresses(&["nowhere".to_owned()]).unwrap_err().to_string();
    assert!(said.contains("address \"nowhere\" must have a port"), "{said}");
    let said = pool.set_addresses(&[]).unwrap_err().to_string();
    assert!(said.contains("addresses must have at least one"), "{said}");
    assert!(pool.get().is_ok(), "nothing has changed");
    pool.stop();
    let stopped = pool.set_addresses(&[address(&one)]).unwrap_err();
    assert!(matches!(stopped, PoolError::Closed { .. }), "{stopped}");
}
