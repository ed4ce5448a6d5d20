//! What a busy machine changes: the service's own time limits run out, and idle connections
//! give way. Both are allowed, and only where the log shows them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::Service;

/// The longest that the service waits for a reset.
const RESET_LIMIT: Duration = Duration::from_secs(2);

const DAY_MILLIS: u128 = 24 * 60 * 60 * 1000;

/// The wall clock, which the log shows too.
#[allow(clippy::disallowed_methods)] // It is compared with times in the log.
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// True if this backend was closed because its reset, which began after `since`, ran out of
/// time.
pub fn reset_ran_out_of_time(service: &Service, pid: i32, since: SystemTime) -> bool {
    let closed = format!(" pid={pid} reason=reset_failed");
    let log = service.log().text();
    let since = since.duration_since(UNIX_EPOCH).expect("a date after 1970").as_millis();
    log.lines().find(|line| line.ends_with(&closed)).is_some_and(|line| {
        let took = (time_of_day(line) + DAY_MILLIS - since % DAY_MILLIS) % DAY_MILLIS;
        took >= RESET_LIMIT.as_millis()
    })
}

/// The milliseconds since midnight of a log line as `[2026-11-28T08:13:47.912Z ...`.
fn time_of_day(line: &str) -> u128 {
    let time = line.split(['T', 'Z']).nth(1).expect("a time");
    let numbers: Vec<u128> = time.split([':', '.']).map(|n| n.parse().expect(time)).collect();
    let [hours, minutes, seconds, millis] = numbers[..] else { panic!("{line}") };
    ((hours * 60 + minutes) * 60 + seconds) * 1000 + millis
}

/// True if this backend was closed to make room for others.
pub fn gave_way(service: &Service, pid: i32) -> bool {
    service.log().text().contains(&format!(" pid={pid} reason=gave_way"))
}

/// True if a backend of this tenant was closed to make room for others.
pub fn any_gave_way(service: &Service, tenant: &str) -> bool {
    let log = service.log().text();
    let tenant = format!("event=backend_closed tenant={tenant} ");
    log.lines().any(|line| line.contains(&tenant) && line.ends_with(" reason=gave_way"))
}
