//! The gate and the lease table together, driven as the pool drives them.
//!
//! Each of them is compared with a model of its own next to it. Here is what lies between them: a
//! permit that goes from a waiter to a worker, to a lease, to its operations and back, whatever
//! happens on the way. A schedule is a list of steps drawn from a seed, and every rule is looked at
//! after every step.

mod checkouts;
mod door;
mod pool;
mod requests;
mod steps;

use super::lease_table::EndReason;
use super::testing::Xorshift;
use pool::{Pool, Sizes};
use requests::Answer;
use std::collections::BTreeMap;
use steps::Step;

/// How a schedule can be repeated; printed if it fails.
struct Story {
    seed: u64,
    sizes: Sizes,
    steps: Vec<Step>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("live({}) failed, with {:?}, in the last of", self.seed, self.sizes);
            for (number, step) in self.steps.iter().enumerate() {
                eprintln!("{number:4} {step:?}");
            }
        }
    }
}

/// One life of a pool, from its first caller to its end: how its requests were answered, and how
/// its leases ended.
fn live(seed: u64) -> (Vec<Answer>, Vec<EndReason>) {
    let mut random = Xorshift::new(seed);
    let sizes = Sizes {
        permits: 1 + random.below(4) as usize,
        waiters: random.below(7) as usize,
        tombstones: random.below(5) as usize,
    };
    let mut story = Story { seed, sizes, steps: Vec::new() };
    let mut pool = Pool::new(sizes);
    for _ in 0..100 {
        let step = Step::random(&mut random);
        story.steps.push(step);
        pool.play(step);
    }
    pool.settle(random.below(2) == 0);
    pool.ended()
}

#[test]
fn permits_requests_and_sessions_all_come_to_their_one_end_in_every_schedule() {
    let mut answers = BTreeMap::<Answer, u32>::new();
    let mut ends = BTreeMap::<EndReason, u32>::new();
    for seed in 1..=4_000 {
        let (answered, ended) = live(seed);
        answered.into_iter().for_each(|answer| *answers.entry(answer).or_default() += 1);
        ended.into_iter().for_each(|end| *ends.entry(end).or_default() += 1);
    }
    // Otherwise the schedules go past what they should meet.
    let met = |count: Option<&u32>| count.is_some_and(|count| *count > 200);
    assert!(Answer::ALL.iter().all(|answer| met(answers.get(answer))), "{answers:?}");
    assert!(EndReason::ALL.iter().all(|end| met(ends.get(end))), "{ends:?}");
}
