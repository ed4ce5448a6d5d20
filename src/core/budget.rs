//! Budgets of bytes: counts the memory held for clients, and refuses more than a limit.
//!
//! A byte usually counts in several budgets at once: those of the client connection, the
//! tenant, the use and the whole service. A [`Share`] lists them, the narrowest first.
//! [`Share::take`] takes from all of them or from none, and returns a value that gives the
//! bytes back when dropped.
//!
//! Unlike the rest of the core these counters are shared between threads: each is one
//! atomic number, so that counting needs no lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;

/// One limit of bytes, and how many are in use. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Budget(Arc<BudgetLevel>);

struct BudgetLevel {
    name: &'static str,
    limit: usize,
    used: AtomicUsize,
    refused: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes. `name` tells in errors what is limited, for example
    /// `bytes held for one connection`.
    pub fn new(name: &'static str, limit: usize) -> Budget {
        let level =
            BudgetLevel { name, limit, used: AtomicUsize::new(0), refused: AtomicU64::new(0) };
        Budget(Arc::new(level))
    }

    /// Bytes in use. Only [`Held::grow_over`] can exceed the limit.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Acquire)
    }

    /// The most bytes that may be in use.
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// How often it has refused bytes.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Acquire)
    }

    fn take(&self, bytes: usize) -> Result<(), Spent> {
        let level = &self.0;
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= level.limit);
        match level.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(used) => {
                level.refused.fetch_add(1, Ordering::AcqRel);
                Err(Spent { name: level.name, used, asked: bytes, limit: level.limit })
            }
        }
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({}: {} of {})", self.0.name, self.used(), self.limit())
    }
}

/// A budget that has refused bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Which budget.
    pub name: &'static str,
    /// Bytes in use.
    pub used: usize,
    /// Bytes asked for.
    pub asked: usize,
    /// The most bytes that may be in use.
    pub limit: usize,
}

/// Counts the refusals of several shares, by the name of the budget that refused.
#[derive(Debug)]
pub struct Refusals(Box<[(&'static str, AtomicU64)]>);

impl Refusals {
    /// Counters at zero for budgets of these names; other names are not counted.
    pub fn by(names: &[&'static str]) -> Refusals {
        Refusals(names.iter().map(|name| (*name, AtomicU64::new(0))).collect())
    }

    /// How often budgets of this name have refused bytes.
    pub fn of(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(0, |(_, count)| count.load(Ordering::Acquire))
    }

    fn count(&self, name: &str) {
        if let Some((_, count)) = self.0.iter().find(|(known, _)| *known == name) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// The budgets that some bytes count in, the narrowest first. Cheap to clone. The default
/// has none.
#[derive(Clone, Debug, Default)]
pub struct Share(Option<Arc<Sharing>>);

#[derive(Debug)]
struct Sharing {
    budgets: Box<[Budget]>,
    refusals: Option<Arc<Refusals>>,
}

impl Share {
    /// A share of these budgets, the narrowest first.
    pub fn of(budgets: impl Into<Box<[Budget]>>) -> Share {
        Share(Some(Arc::new(Sharing { budgets: budgets.into(), refusals: None })))
    }

    /// A share of these budgets whose refusals are counted in `refusals`.
    pub fn counted(budgets: impl Into<Box<[Budget]>>, refusals: &Arc<Refusals>) -> Share {
        let refusals = Some(Arc::clone(refusals));
        Share(Some(Arc::new(Sharing { budgets: budgets.into(), refusals })))
    }

    fn budgets(&self) -> &[Budget] {
        self.0.as_ref().map_or(&[], |sharing| &sharing.budgets)
    }

    /// Takes `bytes` from every budget, or from none.
    ///
    /// # Errors
    /// The first budget without room.
    pub fn take(&self, bytes: usize) -> Result<Held, Spent> {
        let mut held = self.hold_nothing();
        held.grow(bytes)?;
        Ok(held)
    }

    /// Checks that no budget exceeds its limit; counts a refusal otherwise.
    ///
    /// # Errors
    /// The first budget that does.
    pub fn check(&self) -> Result<(), Spent> {
        let over = |budget: &&Budget| budget.used() > budget.limit();
        let Some(budget) = self.budgets().iter().find(over) else { return Ok(()) };
        budget.0.refused.fetch_add(1, Ordering::AcqRel);
        self.count(budget.0.name);
        let (name, used, limit) = (budget.0.name, budget.used(), budget.limit());
        Err(Spent { name, used, asked: 0, limit })
    }

    fn count(&self, name: &str) {
        let sharing = self.0.iter();
        sharing.flat_map(|sharing| &sharing.refusals).for_each(|all| all.count(name));
    }

    /// Holds no bytes yet; [`Held::grow`] takes some.
    pub fn hold_nothing(&self) -> Held {
        Held { share: self.clone(), bytes: 0 }
    }
}

/// Bytes taken from budgets, given back on drop.
#[derive(Debug, Default)]
#[must_use = "dropped, the bytes are given back"]
pub struct Held {
    share: Share,
    bytes: usize,
}

impl Held {
    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes `more` bytes from every budget, or from none.
    ///
    /// # Errors
    /// The first budget without room; the bytes held so far stay held.
    pub fn grow(&mut self, more: usize) -> Result<(), Spent> {
        let budgets = self.share.budgets();
        for (i, budget) in budgets.iter().enumerate() {
            if let Err(spent) = budget.take(more) {
                budgets.iter().take(i).for_each(|budget| budget.give_back(more));
                self.share.count(spent.name);
                return Err(spent);
            }
        }
        self.bytes += more;
        Ok(())
    }

    /// Takes `more` bytes even beyond the limits: for data that exists already and cannot be
    /// refused. Its producer must [`check`](Share::check) before it produces more.
    pub fn grow_over(&mut self, more: usize) {
        for budget in self.share.budgets() {
            budget.0.used.fetch_add(more, Ordering::AcqRel);
        }
        self.bytes += more;
    }

    /// Gives `fewer` bytes back, at most those that are held.
    pub fn shrink(&mut self, fewer: usize) {
        let fewer = fewer.min(self.bytes);
        self.bytes -= fewer;
        self.share.budgets().iter().for_each(|budget| budget.give_back(fewer));
    }

    /// Splits off `part` of the bytes, at most those that are held.
    pub fn split(&mut self, part: usize) -> Held {
        let part = part.min(self.bytes);
        self.bytes -= part;
        Held { share: self.share.clone(), bytes: part }
    }

    /// Holds exactly `bytes` from now on.
    ///
    /// # Errors
    /// As [`grow`](Held::grow).
    pub fn resize(&mut self, bytes: usize) -> Result<(), Spent> {
        match bytes.checked_sub(self.bytes) {
            Some(more) => self.grow(more),
            None => {
                self.shrink(self.bytes - bytes);
                Ok(())
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Xorshift;
    use super::*;

    #[test]
    fn bytes_count_in_every_budget_and_come_back() {
        let (narrow, wide) = (Budget::new("narrow", 10), Budget::new("wide", 100));
        let share = Share::of([narrow.clone(), wide.clone()]);
        let mut held = share.take(4).expect("room");
        assert_eq!((narrow.used(), wide.used()), (4, 4));
        held.grow(6).expect("room");
        let spent = held.grow(1).expect_err("no room");
        assert_eq!(spent, Spent { name: "narrow", used: 10, asked: 1, limit: 10 });
        held.resize(3).expect("fewer always fit");
        assert_eq!((narrow.used(), wide.used(), held.bytes()), (3, 3, 3));
        drop(held);
        assert_eq!((narrow.used(), wide.used()), (0, 0));
        assert_eq!((narrow.refused(), wide.refused()), (1, 0));
    }

    #[test]
    fn what_was_parted_with_comes_back_by_itself() {
        let budget = Budget::new("narrow", 10);
        let mut held = Share::of([budget.clone()]).take(5).expect("room");
        let (two, rest) = (held.split(2), held.split(9));
        assert_eq!((two.bytes(), rest.bytes(), held.bytes(), budget.used()), (2, 3, 0, 5));
        drop((held, rest));
        assert_eq!(budget.used(), 2);
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_taken_over_the_limit_is_in_the_way_of_what_comes_until_it_is_back() {
        let (narrow, wide) = (Budget::new("narrow", 10), Budget::new("wide", 100));
        let share = Share::of([narrow.clone(), wide.clone()]);
        let mut held = share.take(10).expect("room");
        assert_eq!(share.check(), Ok(()));
        held.grow_over(5);
        assert_eq!((narrow.used(), wide.used(), held.bytes()), (15, 15, 15));
        let spent = Spent { name: "narrow", used: 15, asked: 0, limit: 10 };
        assert_eq!(share.check(), Err(spent));
        assert!(share.take(0).is_err());
        held.shrink(6);
        assert_eq!(share.check(), Ok(()));
        drop(held);
        assert_eq!((narrow.used(), wide.used(), narrow.refused()), (0, 0, 2));
    }

    #[test]
    fn refusals_count_by_the_budget_that_had_no_room() {
        let (narrow, wide) = (Budget::new("narrow", 100), Budget::new("wide", 5));
        let refusals = Arc::new(Refusals::by(&["narrow", "wide"]));
        let share = Share::counted([narrow, wide], &refusals);
        assert!(share.take(6).is_err() && share.take(101).is_err() && share.take(7).is_err());
        assert_eq!(["narrow", "wide", "other"].map(|name| refusals.of(name)), [1, 2, 0]);
        assert!(Share::default().take(usize::MAX).is_ok(), "it counts nowhere");
    }

    #[test]
    fn what_one_budget_refuses_is_taken_from_none() {
        let (narrow, wide) = (Budget::new("narrow", 100), Budget::new("wide", 5));
        let share = Share::of([narrow.clone(), wide.clone()]);
        assert!(share.take(6).is_err_and(|spent| spent.name == "wide"));
        assert_eq!((narrow.used(), wide.used()), (0, 0));
        assert!(share.take(usize::MAX).is_err());
        let _five = share.take(5).expect("room");
        assert!(share.take(usize::MAX).is_err(), "the sum does not overflow");
    }

    #[test]
    fn a_budget_is_never_over_its_limit_nor_short_of_what_is_held() {
        for seed in 0..200 {
            let mut chance = Xorshift::new(seed);
            let wide = Budget::new("wide", 1000);
            let narrow: Vec<_> = (0..3).map(|_| Budget::new("narrow", 400)).collect();
            let mut all: Vec<(usize, Held)> = Vec::new();
            for _ in 0..200 {
                let (which, bytes) = (chance.below(3) as usize, chance.below(200) as usize);
                match chance.below(4) {
                    0 | 1 => {
                        let share = Share::of([narrow[which].clone(), wide.clone()]);
                        all.extend(share.take(bytes).ok().map(|held| (which, held)));
                    }
                    2 if !all.is_empty() => {
                        let one = chance.below(all.len() as u64) as usize;
                        let _ = all[one].1.resize(bytes);
                    }
                    _ if !all.is_empty() => {
                        drop(all.swap_remove(chance.below(all.len() as u64) as usize))
                    }
                    _ => {}
                }
                let sum = |own: Option<usize>| -> usize {
                    let of = all.iter().filter(|(which, _)| own.is_none_or(|own| own == *which));
                    of.map(|(_, held)| held.bytes()).sum()
                };
                assert_eq!(wide.used(), sum(None));
                assert!(wide.used() <= 1000);
                for (which, budget) in narrow.iter().enumerate() {
                    assert_eq!(budget.used(), sum(Some(which)));
                    assert!(budget.used() <= 400);
                }
            }
        }
    }
}
