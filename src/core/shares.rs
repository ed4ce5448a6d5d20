//! Chooses what to evict when a shared resource is used up.
//!
//! There are no fixed shares: a single owner may hold everything, so that a gateway for all tenants
//! needs no setting. When a newcomer finds no room, the largest owner gives up what it can spare,
//! as long as it holds more than the newcomer will. So the first owner cannot lock others out, and
//! an owner that takes much evicts only itself.

use super::callers::CallerId;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

/// A part of the shared resource.
#[derive(Clone, Debug)]
pub struct Part {
    pub owner: CallerId,
    pub size: usize,
    /// Since when it can be spared; `None`: it cannot.
    pub spare_since: Option<Instant>,
}

/// The parts to evict, by index in `parts`, so that `need` becomes free for `newcomer`, which will
/// get `gets`.
///
/// Evicts from the largest owner, the part that could be spared for longest first; from other
/// owners only while they hold more than the newcomer will. `None`: that would not free enough, so
/// nothing is evicted.
pub fn giving_way(
    parts: &[Part],
    newcomer: &CallerId,
    gets: usize,
    need: usize,
) -> Option<Vec<usize>> {
    let mut held: HashMap<&CallerId, usize> = HashMap::new();
    for part in parts {
        *held.entry(&part.owner).or_default() += part.size;
    }
    let (mut freed, mut gone) = (0, HashSet::new());
    let mut going = Vec::new();
    while freed < need {
        let own = held.get(newcomer).copied().unwrap_or(0) + gets;
        let may_go = |(place, part): &(usize, &Part)| {
            let has_more = held.get(&part.owner).is_some_and(|held| *held > own);
            !gone.contains(place) && (has_more || part.owner == *newcomer)
        };
        let spare = parts.iter().enumerate().filter(may_go);
        let spare = spare.filter_map(|(place, part)| Some((place, part, part.spare_since?)));
        let (place, part, _) =
            spare.max_by_key(|(_, part, since)| (held.get(&part.owner), Reverse(*since)))?;
        gone.insert(place);
        going.push(place);
        freed += part.size;
        if let Some(held) = held.get_mut(&part.owner) {
            *held -= part.size;
        }
    }
    Some(going)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ms, start, Xorshift};
    use super::*;

    fn owner(n: u64) -> CallerId {
        CallerId::new(&format!("owner {n}"))
    }

    fn part(of: u64, size: usize, spare_since: Option<Instant>) -> Part {
        Part { owner: owner(of), size, spare_since }
    }

    #[test]
    fn who_has_most_gives_way_with_what_was_spare_for_longest() {
        let t0 = start();
        let at = |n| Some(t0 + ms(n));
        let parts = [
            part(1, 20, at(0)),
            part(2, 20, at(9)),
            part(2, 20, at(5)),
            part(2, 20, None),
            part(2, 20, at(7)),
        ];
        assert_eq!(giving_way(&parts, &owner(3), 20, 0), Some(vec![]));
        assert_eq!(giving_way(&parts, &owner(3), 20, 1), Some(vec![2]));
        assert_eq!(giving_way(&parts, &owner(3), 20, 21), Some(vec![2, 4]));
        // From 40 on the second has no more than the newcomer would.
        assert_eq!(giving_way(&parts, &owner(3), 40, 40), Some(vec![2, 4]));
        assert_eq!(giving_way(&parts, &owner(3), 40, 41), None);
    }

    #[test]
    fn who_has_most_displaces_nobody_but_itself() {
        let t0 = start();
        let parts = [part(1, 20, Some(t0)), part(2, 100, None), part(2, 100, Some(t0 + ms(9)))];
        assert_eq!(giving_way(&parts, &owner(2), 100, 100), Some(vec![2]));
        assert_eq!(giving_way(&parts, &owner(2), 100, 101), None);
        // Who has nothing displaces nobody who has no more than that.
        assert_eq!(giving_way(&parts[..1], &owner(3), 20, 1), None);
        assert_eq!(giving_way(&parts[..1], &owner(3), 19, 1), Some(vec![0]));
    }

    #[test]
    fn no_more_goes_than_is_needed_and_only_from_those_who_had_more() {
        for seed in 0..500 {
            let (mut chance, t0) = (Xorshift::new(seed), start());
            let parts: Vec<Part> = (0..chance.below(12))
                .map(|_| {
                    let spare = (chance.below(3) > 0).then(|| t0 + ms(chance.below(50)));
                    part(chance.below(4), 1 + chance.below(9) as usize, spare)
                })
                .collect();
            let (by, gets) = (owner(chance.below(5)), 1 + chance.below(9) as usize);
            let need = chance.below(gets as u64 + 1) as usize;
            let mut left: Vec<Option<&Part>> = parts.iter().map(Some).collect();
            let held = |left: &[Option<&Part>], owner: &CallerId| -> usize {
                let own = left.iter().flatten().filter(|part| part.owner == *owner);
                own.map(|part| part.size).sum()
            };
            let may_go = |left: &[Option<&Part>], part: &Part| {
                let more = held(left, &part.owner) > held(left, &by) + gets;
                part.spare_since.is_some() && (more || part.owner == by)
            };
            let Some(going) = giving_way(&parts, &by, gets, need) else {
                // All who may go have gone, and it is not enough.
                let mut freed = 0;
                let next = |left: &[Option<&Part>]| {
                    let may = |place: &usize| left[*place].is_some_and(|part| may_go(left, part));
                    let most = |place: &usize| {
                        let part = left[*place].expect("it is there");
                        (held(left, &part.owner), Reverse(part.spare_since))
                    };
                    (0..left.len()).filter(may).max_by_key(most)
                };
                while let Some(place) = next(&left) {
                    freed += left[place].take().map_or(0, |part| part.size);
                }
                assert!(freed < need, "seed {seed}: {freed} of {need}");
                continue;
            };
            let mut freed = 0;
            for place in going {
                assert!(freed < need, "seed {seed}: too much");
                let part = left[place].take().expect("it goes once");
                left[place] = Some(part);
                assert!(may_go(&left, part), "seed {seed}: {part:?}");
                left[place] = None;
                freed += part.size;
            }
            assert!(freed >= need, "seed {seed}: {freed} of {need}");
        }
    }
}
