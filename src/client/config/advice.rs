//! What is allowed and rarely meant.

use std::time::Duration;

use super::ServiceConfig;
use crate::client::descriptors;
use crate::client::error::Fault;

impl ServiceConfig {
    /// What is allowed and rarely meant, each as a sentence with its key, and the variables that
    /// are probably misspelt. A pool logs it when it starts.
    pub fn advice(&self) -> Vec<String> {
        self.advice_within(descriptors::limit())
    }

    /// The same where the process may have so many files open.
    pub(super) fn advice_within(&self, files: Option<usize>) -> Vec<String> {
        let said = |hint: &Fault| format!("{} {}", hint.key, hint.rule);
        let mut advice: Vec<String> = self.hints().iter().map(said).collect();
        let (pool, connection) = (&self.pool, &self.connection);
        // A preset knows what it does.
        if self.profile().is_none() && !(5..=20).contains(&pool.size) {
            advice.push(format!("pool.size is usually from 5 to 20, and is {}", pool.size));
        }
        if self.addresses.len() > pool.size {
            let (addresses, size) = (self.addresses.len(), pool.size);
            advice.push(format!(
                "pool.size is {size}, and there are {addresses} addresses: a part of them is used"
            ));
        }
        // The program needs some itself, and its other pools.
        if let Some(files) = files.filter(|files| pool.size > files / 2) {
            let size = pool.size;
            advice
                .push(format!("pool.size is {size}, and the process may have {files} open files"));
        }
        let secs = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
        let mut usual = |key: &str, time: Duration, range: std::ops::RangeInclusive<Duration>| {
            if !range.contains(&time) {
                let (from, to) = (range.start().as_secs(), range.end().as_secs());
                let time = time.as_secs_f64();
                advice.push(format!("{key} is usually from {from} to {to} s, and is {time} s"));
            }
        };
        usual("pool.open_timeout", pool.open_timeout, secs(5, 300));
        if self.health.enabled {
            usual("health.interval", self.health.interval, secs(30, 120));
        }
        if connection.ping_interval.is_none() && connection.keepalive_time.is_some() {
            let said = "connection.keepalive_time without connection.ping_interval: a server with \
                        default settings answers such pings with GOAWAY";
            advice.push(said.to_owned());
        }
        advice
    }
}
