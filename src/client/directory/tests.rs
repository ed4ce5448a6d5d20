//! Names that are looked up by hand.

use super::*;
use crate::core::testing::{ms, start};

fn directory(addresses: &[&str], now: Instant) -> Directory {
    let times = Times {
        refresh: Some(ms(60_000)),
        limit: ms(10_000),
        pauses: Pauses { min: ms(1000), max: ms(3000) },
    };
    Directory::new(&endpoints(addresses), true, times, 7, now)
}

fn endpoints(addresses: &[&str]) -> Vec<(Endpoint, bool)> {
    addresses.iter().map(|text| (Endpoint::parse(text).unwrap(), false)).collect()
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// What is known, as it is shown.
fn shown(directory: &Directory) -> Vec<String> {
    directory.known.iter().map(ToString::to_string).collect()
}

fn hosts(inquiries: &[Inquiry]) -> Vec<&str> {
    inquiries.iter().map(|inquiry| &*inquiry.host).collect()
}

fn moved(host: &str, addresses: usize) -> LookedUp {
    LookedUp::Moved { host: host.to_owned(), addresses }
}

fn failed(host: &str, error: &str) -> LookedUp {
    LookedUp::Failed { host: host.to_owned(), error: error.to_owned() }
}

#[test]
fn addresses_are_known_at_once_and_names_when_they_are_looked_up() {
    let t0 = start();
    let mut directory = directory(&["10.0.0.9:1", "a:443", "unix:/run/b", "b:7"], t0);
    assert_eq!(shown(&directory), ["10.0.0.9:1", "unix:/run/b"]);
    assert_eq!(directory.look_ups(), LookUps { pending: true, down: None });
    let asked = directory.begin(t0);
    assert_eq!(hosts(&asked), ["a", "b"]);
    assert_eq!(asked[0], Inquiry { name: 1, host: "a".to_owned(), port: 443 });
    assert_eq!(directory.begin(t0), [], "they are being looked up");
    let two = addresses(&["10.0.0.1:443", "10.0.0.2:443"]);
    assert_eq!(directory.found(1, Ok(two), 0, t0), moved("a", 2));
    assert!(directory.look_ups().pending, "one is not known yet");
    let mixed = addresses(&["[2001:db8::1]:7", "10.0.0.3:7", "10.0.0.3:7"]);
    assert_eq!(directory.found(3, Ok(mixed), 0, t0), moved("b", 2));
    assert_eq!(directory.look_ups(), LookUps::default());
    let all = ["10.0.0.9:1", "unix:/run/b", "a/10.0.0.1:443", "a/10.0.0.2:443"];
    assert_eq!(shown(&directory)[..4], all);
    assert_eq!(shown(&directory)[4..], ["b/[2001:db8::1]:7", "b/10.0.0.3:7"]);
    let mut sites = directory.sites();
    sites.sort_by_key(|site| site.number);
    let second: Vec<bool> = sites.iter().map(|site| site.second).collect();
    assert_eq!(second, [false, false, false, false, false, true]);
    assert_eq!(directory.due(), Some(t0 + ms(60_000)));
}

#[test]
fn what_stays_keeps_its_number_and_what_is_new_has_one_of_its_own() {
    let t0 = start();
    let mut directory = directory(&["a:1"], t0);
    let at = |directory: &mut Directory, n: u64, list: &[&str]| {
        let now = t0 + ms(n * 60_000);
        assert_eq!(directory.begin(now).len(), 1);
        directory.found(0, Ok(addresses(list)), 0, now)
    };
    let numbers = |directory: &Directory| -> Vec<(usize, String)> {
        directory.known.iter().map(|one| (one.number, one.to_string())).collect()
    };
    assert_eq!(at(&mut directory, 0, &["10.0.0.1:1", "10.0.0.2:1"]), moved("a", 2));
    assert_eq!(at(&mut directory, 1, &["10.0.0.2:1", "10.0.0.1:1"]), LookedUp::Same);
    assert_eq!(at(&mut directory, 2, &["10.0.0.3:1", "10.0.0.2:1"]), moved("a", 2));
    assert_eq!(numbers(&directory), [(2, "a/10.0.0.3:1".into()), (1, "a/10.0.0.2:1".into())]);
    assert!(directory.destination(0).is_none() && directory.destination(2).is_some());
    assert_eq!(at(&mut directory, 3, &["10.0.0.1:1"]), moved("a", 1));
    assert_eq!(numbers(&directory), [(3, "a/10.0.0.1:1".into())], "it is not the old one");
}

#[test]
fn a_look_up_that_fails_keeps_what_was_known_and_is_made_again_after_a_pause() {
    let t0 = start();
    let mut directory = directory(&["a:1"], t0);
    let mut now = t0;
    for pause in [1000, 1600, 2560, 3000] {
        directory.begin(now);
        let said = directory.found(0, Err("no such host".into()), 0, now);
        assert_eq!(said, failed("a", "no such host"));
        let down = directory.look_ups().down.unwrap();
        assert_eq!((&*down.error, down.since), ("a cannot be resolved: no such host", t0));
        let due = directory.due().unwrap();
        assert!(due >= now + ms(pause) && due < now + ms(pause + 1), "{pause}");
        now = due;
    }
    directory.begin(now);
    assert_eq!(directory.found(0, Ok(vec![]), 0, now), failed("a", "it has no addresses"));
    now = directory.due().unwrap();
    directory.begin(now);
    directory.found(0, Ok(addresses(&["10.0.0.1:1"])), 0, now);
    now += ms(60_000);
    directory.begin(now);
    assert_eq!(directory.found(0, Err("refused".into()), 0, now), failed("a", "refused"));
    assert_eq!((shown(&directory).len(), directory.look_ups()), (1, LookUps::default()));
    assert_eq!(directory.due(), Some(now + ms(5000)));
}

#[test]
fn a_failed_connection_has_its_name_looked_up_again_and_not_too_often() {
    let t0 = start();
    let mut directory = directory(&["a:1", "10.0.0.9:1"], t0);
    directory.begin(t0);
    directory.doubt(0, t0);
    directory.found(0, Ok(addresses(&["10.0.0.1:1"])), 0, t0);
    directory.doubt(1, t0 + ms(9000));
    assert_eq!(directory.due(), Some(t0 + ms(60_000)), "the other is no name");
    directory.doubt(0, t0 + ms(1000));
    assert_eq!(directory.due(), Some(t0 + ms(5000)));
    assert_eq!(directory.begin(t0 + ms(4999)), []);
    assert_eq!(directory.begin(t0 + ms(5000)).len(), 1);
    directory.found(0, Ok(addresses(&["10.0.0.1:1"])), 0, t0 + ms(5000));
    directory.doubt(0, t0 + ms(30_000));
    assert_eq!(directory.due(), Some(t0 + ms(30_000)));
}

#[test]
fn a_look_up_that_takes_too_long_is_given_up_and_its_answer_is_taken_nevertheless() {
    let t0 = start();
    let mut directory = directory(&["a:1", "b:1", "c:1", "d:1", "e:1"], t0);
    assert_eq!(hosts(&directory.begin(t0)), ["a", "b", "c", "d"], "four at a time");
    directory.found(3, Ok(addresses(&["10.0.0.4:1"])), 0, t0);
    assert_eq!(hosts(&directory.begin(t0)), ["e"]);
    assert_eq!(directory.expire(0, t0 + ms(9_999)), []);
    assert_eq!(directory.due(), Some(t0 + ms(10_000)));
    let late = directory.expire(0, t0 + ms(10_000));
    assert_eq!(late.len(), 4);
    assert_eq!(late[0], failed("a", "no answer within 10 s"));
    let t1 = t0 + ms(11_000);
    assert_eq!(directory.begin(t1), [], "the four threads are still there");
    let found = directory.found(1, Ok(addresses(&["10.0.0.2:1"])), 0, t1);
    assert_eq!(found, moved("b", 1));
    assert_eq!(hosts(&directory.begin(t1)), ["a"]);
}

#[test]
fn a_name_stands_for_so_many_addresses_at_most() {
    let t0 = start();
    let mut directory = directory(&["a:1"], t0);
    directory.begin(t0);
    let many = (0..1000_u32).map(|n| SocketAddr::from((n.to_be_bytes(), 1))).collect();
    assert_eq!(directory.found(0, Ok(many), 0, t0), moved("a", MOST));
}

#[test]
fn a_proxy_looks_names_up_itself() {
    let t0 = start();
    let times = directory(&[], t0).times;
    let mut directory = Directory::new(&endpoints(&["a:1"]), false, times, 7, t0);
    assert_eq!((directory.begin(t0), shown(&directory)), (vec![], vec!["a:1".to_owned()]));
    assert_eq!(directory.known[0].target(), "dns:///a:1");
}

#[test]
fn processes_have_orders_of_their_own() {
    let t0 = start();
    let order = |seed| {
        let mut directory = directory(&["a:1"], t0);
        directory.seed = seed;
        directory.begin(t0);
        let all = (1..9_u8).map(|n| SocketAddr::from(([10, 0, 0, n], 1))).collect();
        directory.found(0, Ok(all), 0, t0);
        directory.sites().iter().map(|site| site.number).collect::<Vec<_>>()
    };
    assert_eq!(order(1), order(1));
    let firsts: std::collections::BTreeSet<usize> = (0..100).map(|seed| order(seed)[0]).collect();
    assert_eq!(firsts.len(), 8);
}

#[test]
fn addresses_that_are_set_keep_what_is_known_of_those_that_stay() {
    let t0 = start();
    let mut directory = directory(&["a:1", "10.0.0.9:1"], t0);
    directory.begin(t0);
    directory.found(0, Ok(addresses(&["10.0.0.1:1"])), 0, t0);
    let numbers = |directory: &Directory| -> Vec<(usize, String)> {
        directory.known.iter().map(|one| (one.number, one.to_string())).collect()
    };
    assert_eq!(numbers(&directory), [(0, "10.0.0.9:1".into()), (1, "a/10.0.0.1:1".into())]);
    directory.replace(&endpoints(&["b:1", "a:1", "10.0.0.8:1"]), t0);
    assert_eq!(numbers(&directory), [(1, "a/10.0.0.1:1".into()), (2, "10.0.0.8:1".into())]);
    assert!(directory.look_ups().pending && directory.has_several());
    assert_eq!(hosts(&directory.begin(t0)), ["b"]);
    directory.replace(&endpoints(&["10.0.0.8:1"]), t0);
    // The answer for one that is none of them any more.
    let late = directory.found(2, Ok(addresses(&["10.0.0.2:1"])), 0, t0);
    assert_eq!((late, directory.due(), directory.running), (LookedUp::Same, None, 0));
    assert_eq!(numbers(&directory), [(2, "10.0.0.8:1".into())]);
    assert!(!directory.has_several() && directory.endpoints().len() == 1);
    // With TLS it is another one.
    directory.replace(&[(Endpoint::parse("10.0.0.8:1").unwrap(), true)], t0);
    assert_eq!(numbers(&directory), [(3, "10.0.0.8:1".into())]);
}
