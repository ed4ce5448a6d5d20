//! Which of the free channels is lent.
//!
//! Architecture Invariant: pure.

/// A rule that chooses among free channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any.
    Random,
    /// Of two that are drawn, the one with fewer calls.
    PowerOfTwo,
    /// The one with the fewest calls.
    LeastBusy,
}

/// A channel that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// To how many it is lent.
    pub lent: usize,
    /// Its address.
    pub address: usize,
}

/// Chooses one of `len` channels, of which `get` tells those that are free. Round robin begins
/// at `turn`; an address to `avoid` is taken only if no other is free.
pub(super) fn pick(
    balance: Balance,
    len: usize,
    get: impl Fn(usize) -> Option<Candidate>,
    turn: usize,
    avoid: Option<usize>,
    chance: u64,
) -> Option<usize> {
    let wanted = |index: usize| get(index).filter(|one| Some(one.address) != avoid);
    choose(balance, len, wanted, turn, chance).or_else(|| match avoid {
        Some(_) => choose(balance, len, get, turn, chance),
        None => None,
    })
}

fn choose(
    balance: Balance,
    len: usize,
    get: impl Fn(usize) -> Option<Candidate>,
    turn: usize,
    chance: u64,
) -> Option<usize> {
    let in_turn = || (0..len).map(|step| (turn + step) % len);
    let free = || in_turn().filter(|index| get(*index).is_some());
    let busy = |index: &usize| get(*index).map_or(usize::MAX, |one| one.lent);
    match balance {
        Balance::RoundRobin => free().next(),
        Balance::LeastBusy => free().min_by_key(busy),
        Balance::Random => free().nth(draw(chance, free().count())),
        Balance::PowerOfTwo => {
            let count = free().count();
            let first = draw(chance, count);
            // The second is another one, if there is one.
            let second = match count {
                0 | 1 => first,
                _ => (first + 1 + draw(chance >> 32, count - 1)) % count,
            };
            let drawn = [first, second].into_iter().filter_map(|nth| free().nth(nth));
            drawn.min_by_key(busy)
        }
    }
}

/// A number below `count`, or 0.
fn draw(chance: u64, count: usize) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
    usize::try_from(chance % count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Balance; 4] =
        [Balance::RoundRobin, Balance::Random, Balance::PowerOfTwo, Balance::LeastBusy];

    fn pick_of(
        balance: Balance,
        lent: &[Option<usize>],
        turn: usize,
        chance: u64,
    ) -> Option<usize> {
        let get = |index: usize| lent[index].map(|lent| Candidate { lent, address: index });
        pick(balance, lent.len(), get, turn, None, chance)
    }

    #[test]
    fn whoever_chooses_takes_a_free_one_if_there_is_one() {
        for balance in ALL {
            for chance in 0..50 {
                let chance = chance * 0x9E37_79B9_97F4_A7C1;
                assert_eq!(pick_of(balance, &[], 3, chance), None);
                assert_eq!(pick_of(balance, &[None, None], 1, chance), None);
                assert_eq!(pick_of(balance, &[None, Some(7), None], 2, chance), Some(1));
                let one = pick_of(balance, &[Some(1), None, Some(1), Some(1)], 9, chance);
                assert!(matches!(one, Some(0 | 2 | 3)), "{balance:?} {one:?}");
            }
        }
    }

    #[test]
    fn round_robin_goes_on_where_it_was() {
        let all = [Some(0), Some(0), None, Some(0)];
        assert_eq!(pick_of(Balance::RoundRobin, &all, 1, 0), Some(1));
        assert_eq!(pick_of(Balance::RoundRobin, &all, 2, 0), Some(3));
        assert_eq!(pick_of(Balance::RoundRobin, &all, 4, 0), Some(0));
    }

    #[test]
    fn the_least_busy_one_has_the_fewest_calls() {
        let all = [Some(3), Some(1), None, Some(2), Some(1)];
        assert_eq!(pick_of(Balance::LeastBusy, &all, 0, 0), Some(1));
        assert_eq!(pick_of(Balance::LeastBusy, &all, 2, 0), Some(4));
    }

    #[test]
    fn of_two_the_less_busy_one_is_taken_and_the_busiest_of_all_never() {
        for chance in 0..200_u64 {
            let chance = chance << 32 | chance;
            assert_ne!(
                pick_of(Balance::PowerOfTwo, &[Some(0), Some(9), Some(0)], 0, chance),
                Some(1)
            );
        }
    }

    #[test]
    fn chance_reaches_all() {
        let mut seen = [0; 3];
        for chance in 0..30 {
            seen[pick_of(Balance::Random, &[Some(0); 3], 0, chance).unwrap()] += 1;
        }
        assert_eq!(seen, [10; 3]);
    }

    #[test]
    fn an_address_to_avoid_is_taken_only_if_no_other_is_free() {
        for balance in ALL {
            let two = |index| Some(Candidate { lent: 0, address: index % 2 });
            for chance in 0..20 {
                let other = pick(balance, 4, two, 0, Some(0), chance);
                assert!(matches!(other, Some(1 | 3)), "{balance:?} {other:?}");
                assert!(pick(balance, 1, two, 0, Some(0), chance) == Some(0), "{balance:?}");
            }
        }
    }
}
