//! Who is lent a connection, and who waits.

use std::future::poll_fn;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use connection_pool_manager::client::{Balance, CheckoutOptions, ConnectionManager, PoolError};
use grpcio::Client;

use crate::echo::{free_port, say, Echo};
use crate::proxy::Proxy;
use crate::{eventually, ready, settings, PATIENCE};

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn the_fourth_of_three_waits_and_gets_the_first_that_comes_back() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 3));
    let mut held: Vec<_> = (0..3).map(|_| pool.get().unwrap()).collect();
    let (sender, got) = channel();
    std::thread::scope(|scope| {
        let waiting = pool.clone();
        scope.spawn(move || sender.send(waiting.get_within(PATIENCE).unwrap()).unwrap());
        eventually("it waits", || pool.metrics().waiting == 1);
        assert!(got.try_recv().is_err());
        drop(held.pop());
        assert_eq!(say(&got.recv().unwrap(), "four").unwrap(), "four");
    });
    drop(held);
    let metrics = pool.metrics();
    assert_eq!((metrics.lent, metrics.waiting, metrics.checkouts), (0, 0, 4));
}

#[test]
fn a_checkout_that_waits_in_vain_names_those_who_have_connections() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 1));
    let held = pool.get().unwrap();
    let error = pool.get_within(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, PoolError::CheckoutTimeout { holders, .. } if holders.len() == 1));
    let said = error.to_string();
    assert!(said.contains("no connection to echo was free within"), "{said}");
    assert!(said.contains("checkout.rs:"), "{said}");
    drop(held);
    assert!(pool.get_within(PATIENCE).is_ok());
    assert_eq!(pool.metrics().checkout_failures, 1);
}

#[test]
fn a_panic_gives_the_connection_back_and_goes_on_to_the_caller() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 1));
    let panicking = || pool.execute(|_| -> () { panic!("on purpose") });
    assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
    assert_eq!(pool.execute(|connection| say(connection, "after").unwrap()).unwrap(), "after");
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own threads, all joined.
fn many_share_two_connections_one_after_the_other() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&settings(proxy.port, 2));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let said = pool.execute(|connection| say(connection, "hello")).unwrap();
                    assert_eq!(said.unwrap(), "hello");
                }
            });
        }
    });
    assert_eq!((echo.calls(), proxy.taken()), (200, 2));
}

#[test]
fn each_connection_has_a_socket_of_its_own_and_all_are_used() {
    let echo = Echo::start();
    let proxy = Proxy::to(echo.port);
    let pool = ready(&settings(proxy.port, 5));
    assert_eq!(proxy.taken(), 5);
    for _ in 0..10 {
        pool.execute(|connection| say(connection, "hello").unwrap()).unwrap();
    }
    let served: Vec<u64> = pool.status().connections.iter().map(|one| one.served).collect();
    assert_eq!(served, [2; 5]);
}

#[test]
fn a_shared_connection_is_lent_many_times_at_once() {
    let echo = Echo::start();
    let mut config = settings(echo.port, 2);
    config.pool.calls_per_channel = 3;
    config.pool.balance = Balance::LeastBusy;
    let pool = ready(&config);
    let held: Vec<_> = (0..6).map(|_| pool.get().unwrap()).collect();
    let lent: Vec<usize> = pool.status().connections.iter().map(|one| one.lent).collect();
    assert_eq!(lent, [3, 3]);
    assert!(matches!(pool.get_within(Duration::ZERO), Err(PoolError::CheckoutTimeout { .. })));
    drop(held);
    assert_eq!(pool.metrics().lent, 0);
}

#[test]
fn a_checkout_says_how_long_it_waits_and_whether_it_shares() {
    let echo = Echo::start();
    let mut config = settings(echo.port, 2);
    config.pool.calls_per_channel = 2;
    let pool = ready(&config);
    let alone = pool.get_with(&CheckoutOptions::new().exclusive()).unwrap();
    let shared: Vec<_> = (0..2).map(|_| pool.get().unwrap()).collect();
    let mut lent: Vec<usize> = pool.status().connections.iter().map(|one| one.lent).collect();
    lent.sort_unstable();
    assert_eq!(lent, [1, 2], "two share one, and nobody the other");
    assert!(pool.try_get().is_none());
    let none = CheckoutOptions::new().timeout(Duration::ZERO);
    assert!(matches!(pool.get_with(&none), Err(PoolError::CheckoutTimeout { .. })));
    #[allow(clippy::disallowed_methods)] // A deadline that is over.
    let over = CheckoutOptions::new().deadline(std::time::Instant::now());
    assert!(matches!(pool.get_with(&over), Err(PoolError::DeadlineExceeded { .. })));
    assert_eq!(say(&alone, "alone").unwrap(), "alone");
    drop((alone, shared));

    let manager = ConnectionManager::new().unwrap();
    let nobody = manager.add("nobody", &settings(free_port(), 1)).unwrap();
    eventually("it is known to be down", || nobody.get().is_err());
    let patient = CheckoutOptions::new().wait_for_ready().timeout(Duration::from_millis(1));
    let late = nobody.get_with(&patient).unwrap_err();
    assert!(matches!(late, PoolError::CheckoutTimeout { .. }) && late.to_string().contains("; "));
}

#[test]
#[allow(clippy::disallowed_methods)] // A test's own thread, joined.
fn a_guard_may_go_to_another_thread() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 1));
    let connection = pool.get().unwrap();
    let said = std::thread::spawn(move || say(&connection, "there").unwrap()).join().unwrap();
    assert_eq!((said.as_str(), pool.metrics().lent), ("there", 0));
}

#[test]
fn a_thread_of_grpc_is_refused_instead_of_waiting_for_ever() {
    let echo = Echo::start();
    let pool = ready(&settings(echo.port, 1));
    let held = pool.get().unwrap();
    let ((sender, said), (hand, woken)) = (channel(), channel::<Waker>());
    let asking = pool.clone();
    let mut polled = false;
    Client::new(held.channel().clone()).spawn(poll_fn(move |context| {
        if !std::mem::replace(&mut polled, true) {
            hand.send(context.waker().clone()).unwrap();
            return Poll::Pending;
        }
        sender.send(asking.get().map(drop)).unwrap();
        Poll::Ready(())
    }));
    // It goes on where gRPC runs what was woken: on a thread of its own.
    woken.recv().unwrap().wake();
    assert!(matches!(said.recv_timeout(PATIENCE), Ok(Err(PoolError::OnGrpcThread))));
    assert_eq!(pool.metrics().waiting, 0);
}

#[test]
fn only_so_many_may_wait() {
    let echo = Echo::start();
    let mut config = settings(echo.port, 1);
    config.pool.max_waiters = 0;
    let pool = ready(&config);
    let _held = pool.get().unwrap();
    assert!(matches!(pool.get(), Err(PoolError::TooManyWaiters { limit: 0, .. })));
}
