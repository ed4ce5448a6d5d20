use super::*;
use crate::core::testing::{ms, start, Xorshift};

type Logins = super::LoginHistory<String>;

fn account(user: &str) -> String {
    user.to_owned()
}

fn caller(n: u64) -> CallerId {
    CallerId::new(&format!("caller-{n}"))
}

/// Guesses as often as it is free to.
fn guessed(logins: &mut Logins, who: &CallerId, now: Instant) {
    for _ in 0..FREE {
        assert_eq!(logins.enter(&account("u"), who, now), Ok(()));
        logins.refused(&account("u"), who, now);
    }
}

#[test]
fn after_a_few_refusals_one_try_a_second_is_made() {
    let (t0, mut logins) = (start(), Logins::new(9));
    let (one, account) = (caller(1), account("u"));
    guessed(&mut logins, &one, t0);
    let deferred = |retry| Err(Deferred { refusals: FREE, retry });
    assert_eq!(logins.enter(&account, &one, t0), deferred(PAUSE));
    assert_eq!(logins.enter(&account, &one, t0 + ms(999)), deferred(ms(1)));
    assert_eq!(logins.enter(&account, &one, t0 + PAUSE), Ok(()));
    assert!(logins.enter(&account, &one, t0 + PAUSE).is_err());
    // Nothing is wrong elsewhere.
    assert_eq!(logins.enter(&self::account("v"), &one, t0), Ok(()));
}

#[test]
fn whoever_is_put_off_has_its_turn_however_often_another_asks() {
    let (t0, mut logins) = (start(), Logins::new(9));
    let (guesser, other, account) = (caller(1), caller(2), account("u"));
    guessed(&mut logins, &guesser, t0);
    let mut tries = 0;
    let mut promised = None;
    for n in 0..5000 {
        let now = t0 + ms(n);
        if logins.enter(&account, &guesser, now).is_ok() {
            logins.refused(&account, &guesser, now);
            tries += 1;
        }
        if n == 500 {
            let deferred = logins.enter(&account, &other, now).unwrap_err();
            assert_eq!(deferred.retry, ms(1500), "the guesser stands in front of it");
            promised = Some(now + deferred.retry);
        }
        if promised == Some(now) {
            assert_eq!(logins.enter(&account, &other, now), Ok(()));
        }
    }
    assert_eq!(tries, 3, "at 1, 3 and 4 s");
}

#[test]
fn refusals_are_forgotten_with_time_and_by_the_one_who_then_knew_better() {
    let (t0, mut logins) = (start(), Logins::new(9));
    let (one, two, account) = (caller(1), caller(2), account("u"));
    guessed(&mut logins, &one, t0);
    let just_before = t0 + FORGIVEN - ms(1);
    assert_eq!(logins.enter(&account, &one, just_before), Ok(()), "it is time for the next try");
    assert!(logins.enter(&account, &one, just_before).is_err());
    assert_eq!(logins.enter(&account, &one, t0 + FORGIVEN), Ok(()));
    guessed(&mut logins, &one, t0 + FORGIVEN);
    let now = t0 + FORGIVEN;
    logins.let_in(&account, &two);
    assert!(logins.enter(&account, &two, now).is_err(), "another does not excuse it");
    logins.let_in(&account, &one);
    assert_eq!(logins.enter(&account, &two, now), Ok(()));
    guessed(&mut logins, &one, now);
    logins.refused(&account, &two, now);
    logins.let_in(&account, &one);
    assert!(logins.enter(&account, &two, now).is_err(), "it was not alone");
}

#[test]
fn what_is_forgotten_leaves_the_rest() {
    let (t0, mut logins) = (start(), Logins::new(9));
    let one = caller(1);
    guessed(&mut logins, &one, t0);
    logins.forget(|account| account == "v");
    assert!(logins.enter(&account("u"), &one, t0).is_err());
    logins.forget(|account| account == "u");
    assert_eq!(logins.enter(&account("u"), &one, t0), Ok(()));
}

#[test]
fn the_accounts_that_are_remembered_are_bounded() {
    let (t0, mut logins) = (start(), Logins::new(3));
    guessed(&mut logins, &caller(1), t0);
    for n in 0..100 {
        logins.refused(&account(&format!("u{n}")), &caller(n), t0 + ms(n));
        assert!(logins.troubled.len() <= 3);
    }
    assert_eq!(logins.enter(&account("u"), &caller(1), t0), Ok(()), "the oldest is forgotten");
    assert_eq!(logins.troubled.get(&account("u99")).map(|one| one.refusals), Some(1));
}

/// What is promised, checked against nothing but a list of all that was allowed.
#[test]
fn whatever_they_do_tries_are_few_and_promises_are_kept() {
    for seed in 0..200 {
        let mut random = Xorshift::new(seed);
        let (mut now, mut logins) = (start(), Logins::new(2));
        let account = account("u");
        let mut made: Vec<Instant> = Vec::new();
        let mut promised: HashMap<u64, Instant> = HashMap::new();
        let (mut refusals, mut last) = (0, now);
        for _ in 0..3000 {
            now += ms(random.below(200));
            if random.below(3000) == 0 {
                now += FORGIVEN;
            }
            if now - last >= FORGIVEN {
                (refusals, made) = (0, Vec::new());
                promised.clear();
            }
            let n = random.below(5);
            // Some come when they may, some long after, some all the time.
            let due = promised.get(&n).copied();
            if due.is_some_and(|at| n < 2 && now < at) {
                continue;
            }
            match logins.enter(&account, &caller(n), now) {
                Ok(()) => {
                    promised.remove(&n);
                    if refusals >= FREE {
                        made.push(now);
                    }
                    // Most of them are wrong.
                    if random.below(10) > 0 {
                        logins.refused(&account, &caller(n), now);
                        (refusals, last) = (refusals + 1, now);
                    }
                }
                Err(deferred) => {
                    assert!(refusals >= FREE, "seed {seed}: refused for nothing");
                    assert_eq!(deferred.refusals, refusals);
                    // Five of them, each with one turn, and one that has just been taken.
                    assert!(deferred.retry <= 6 * PAUSE, "seed {seed}: {deferred:?}");
                    let kept = due.is_none_or(|at| now < at || now - at >= TURN_KEPT);
                    assert!(kept, "seed {seed}: it came in time and was put off again");
                    promised.insert(n, now + deferred.retry);
                }
            }
        }
        let window = Duration::from_secs(30);
        for (i, first) in made.iter().enumerate() {
            let tries = made[i..].iter().take_while(|at| **at - *first < window).count();
            let most = (window + TURN_KEPT).as_secs() as usize + 1;
            assert!(tries <= most, "seed {seed}: {tries}");
        }
    }
}
