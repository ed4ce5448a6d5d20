//! The pool on fakes of its two seams, `Connect` and `Backend`: what no real
//! PostgreSQL can be made to do on demand.

mod away;
mod changing;
mod closing;
mod failures;
mod fakes;
mod healing;
mod keeping;
mod listening;
mod logins;
mod schedules;
mod serving;
mod sharing;
mod starved;
mod swapping;
mod together;
mod world;
