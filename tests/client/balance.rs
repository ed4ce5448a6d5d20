//! Which connection is lent.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use connection_pool_manager::client::{raw, Balance, CallOptions, Offer, Picker, Pool};

use crate::echo::{say, Echo, SAY};
use crate::{ready, settings};

fn served(pool: &Pool) -> Vec<u64> {
    pool.status().connections.iter().map(|one| one.served).collect()
}

#[test]
fn each_rule_lends_as_it_says() {
    let echo = Echo::start();
    let with = |balance| {
        let mut config = settings(echo.port, 4);
        config.pool.balance = balance;
        config.pool.calls_per_channel = 10;
        ready(&config)
    };
    let pool = with(Balance::RoundRobin);
    (0..8).for_each(|_| drop(pool.get().unwrap()));
    assert_eq!(served(&pool), [2; 4]);
    let pool = with(Balance::LeastBusy);
    let held: Vec<_> = (0..8).map(|_| pool.get().unwrap()).collect();
    assert_eq!(served(&pool), [2; 4]);
    drop(held);
    for balance in [Balance::Random, Balance::PowerOfTwo] {
        let pool = with(balance);
        let held: Vec<_> = (0..40).map(|_| pool.get().unwrap()).collect();
        assert_eq!(served(&pool), [10; 4], "{balance:?}: no more than there may be");
        assert_eq!(say(&held[39], "on").unwrap(), "on");
    }
}

#[test]
fn a_program_chooses_among_what_is_free() {
    let (one, other) = (Echo::start(), Echo::start());
    let mut config = settings(one.port, 4);
    config.addresses.push(format!("127.0.0.1:{}", other.port));
    let port = format!(":{}", other.port);
    config.pool.pick = Some(Picker::new(move |offers: &[Offer]| {
        assert!(offers.len() > 1 && offers.iter().all(|offer| offer.lent == 0));
        offers.iter().position(|offer| offer.address.ends_with(&port))
    }));
    let pool = ready(&config);
    for _ in 0..6 {
        pool.call(&SAY, &b"on".to_vec(), &CallOptions::new()).unwrap();
    }
    assert_eq!((one.calls(), other.calls()), (0, 6));
    let held: Vec<_> = (0..4).map(|_| pool.get().unwrap()).collect();
    let addresses: BTreeSet<String> = held.iter().map(|one| one.address()).collect();
    assert_eq!(addresses.len(), 2, "what it does not choose is lent, too");
}

#[test]
fn a_choice_that_panics_or_misses_costs_nothing() {
    let echo = Echo::start();
    let asked = Arc::new(AtomicUsize::new(0));
    for bad in [None, Some(usize::MAX)] {
        let counts = Arc::clone(&asked);
        let mut config = settings(echo.port, 3);
        config.pool.pick = Some(Picker::new(move |_: &[Offer]| {
            counts.fetch_add(1, Ordering::Relaxed);
            assert!(bad.is_some(), "as scripted");
            bad
        }));
        let pool = ready(&config);
        for _ in 0..6 {
            let answer = pool.call(&raw("/test.Echo/Say"), &b"on".to_vec(), &CallOptions::new());
            assert_eq!(answer.unwrap(), b"on");
        }
        assert_eq!(served(&pool), [2; 3], "round robin, as the settings say");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 12);
}
