//! The log of a pool. What repeats itself is written once a minute.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::CallEnded;
use crate::client::destination::Destination;
use crate::client::error::Holder;
use crate::core::breaker::PhaseChange;
use crate::core::health::{Level, Round};
use crate::core::quoted::Quoted;
use crate::core::repeats::{Repeated, Repeats};
use crate::lock::Leaf;

/// Writes the lines of one service.
pub(super) struct Lines {
    service: String,
    on: AtomicBool,
    /// What fails to connect is written for those who look closely only.
    quiet: AtomicBool,
    /// By the number of an address, of which there are few.
    repeats: Leaf<Repeats<usize>>,
}

/// Stands for the pool where others stand for an address.
const POOL: usize = usize::MAX;

impl Lines {
    pub(super) fn new(service: &str) -> Lines {
        Lines {
            service: service.to_owned(),
            on: AtomicBool::new(true),
            quiet: AtomicBool::new(false),
            repeats: Leaf::default(),
        }
    }

    /// Goes on in this way.
    pub(super) fn adjust(&self, on: bool, quiet: bool) {
        self.on.store(on, Ordering::Relaxed);
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Whether a line about a state that lasts may be written, and how many were not.
    fn admit(&self, event: &'static str, number: usize, now: Instant) -> Option<Repeated> {
        self.is_on()
            .then(|| self.repeats.lock().admit_state(event, &number, "lasting", now))
            .flatten()
    }

    pub(super) fn started(&self, addresses: usize, size: usize) {
        let service = &self.service;
        if self.is_on() {
            log::info!(
                "event=client_pool_started service={service} addresses={addresses} size={size}"
            );
        }
    }

    pub(super) fn stopped(&self) {
        if self.is_on() {
            log::info!("event=client_stopped service={}", self.service);
        }
    }

    pub(super) fn resized(&self, size: usize) {
        if self.is_on() {
            log::info!("event=client_resized service={} size={size}", self.service);
        }
    }

    pub(super) fn checkout_timeout(&self, waited: Duration, by: Option<&Holder>, now: Instant) {
        let Some(repeated) = self.admit("client_checkout_timeout", POOL, now) else {
            return;
        };
        let (service, waited) = (&self.service, waited.as_millis());
        let by = by.map_or_else(|| "nobody".to_owned(), Holder::to_string);
        let by = Quoted(&by);
        log::warn!(
            "event=client_checkout_timeout service={service} waited_ms={waited} \
             held_by={by}{repeated}"
        );
    }

    pub(super) fn connected(&self, at: &Destination, took: Duration) {
        let (service, took) = (&self.service, took.as_millis());
        if self.is_on() {
            log::debug!("event=client_connected service={service} address={at} took_ms={took}");
        }
    }

    pub(super) fn reconnected(&self, at: &Destination, down: Duration) {
        let (service, down) = (&self.service, down.as_millis());
        if self.is_on() {
            log::info!("event=client_reconnected service={service} address={at} down_ms={down}");
        }
    }

    pub(super) fn connect_failed(&self, at: &Destination, error: &str, now: Instant) {
        let Some(repeated) = self.admit("client_connect_failed", at.number, now) else {
            return;
        };
        let level = if self.is_quiet() { log::Level::Debug } else { log::Level::Warn };
        let (service, error) = (&self.service, Quoted(error));
        log::log!(
            level,
            "event=client_connect_failed service={service} address={at} error={error}{repeated}"
        );
    }

    pub(super) fn resolved(&self, host: &str, addresses: usize, size: usize) {
        let service = &self.service;
        if self.is_on() {
            log::info!(
                "event=client_resolved service={service} host={host} addresses={addresses} \
                 size={size}"
            );
        }
    }

    pub(super) fn not_resolved(&self, host: &str, error: &str, now: Instant) {
        if let Some(repeated) = self.admit("client_resolve_failed", POOL, now) {
            let (service, error) = (&self.service, Quoted(error));
            let level = if self.is_quiet() { log::Level::Debug } else { log::Level::Warn };
            log::log!(
                level,
                "event=client_resolve_failed service={service} host={host} \
                 error={error}{repeated}"
            );
        }
    }

    pub(super) fn readdressed(&self, addresses: usize) {
        if self.is_on() {
            log::info!("event=client_readdressed service={} addresses={addresses}", self.service);
        }
    }

    pub(super) fn ejected(&self, at: &Destination, reason: &str, time: Duration) {
        let (service, time) = (&self.service, time.as_secs());
        if self.is_on() {
            log::warn!(
                "event=client_ejected service={service} address={at} reason={reason} for_s={time}"
            );
        }
    }

    pub(super) fn restored(&self, at: &Destination) {
        if self.is_on() {
            log::info!("event=client_restored service={} address={at}", self.service);
        }
    }

    pub(super) fn lost(&self, at: &Destination, now: Instant) {
        let Some(repeated) = self.admit("client_lost", at.number, now) else {
            return;
        };
        let service = &self.service;
        log::info!("event=client_lost service={service} address={at}{repeated}");
    }

    pub(super) fn ended(&self, at: &Destination, reason: &str) {
        let service = &self.service;
        if self.is_on() {
            log::debug!("event=client_dropped service={service} address={at} reason={reason}");
        }
    }

    pub(super) fn sick(&self, at: &Destination, now: Instant) {
        if let Some(repeated) = self.admit("client_sick", at.number, now) {
            let service = &self.service;
            log::warn!("event=client_sick service={service} address={at}{repeated}");
        }
    }

    pub(super) fn well(&self, at: &Destination, now: Instant) {
        if let Some(repeated) = self.admit("client_well", at.number, now) {
            let service = &self.service;
            log::info!("event=client_well service={service} address={at}{repeated}");
        }
    }

    pub(super) fn silent(&self, at: &Destination, error: &str, replaced: bool, now: Instant) {
        if let Some(repeated) = self.admit("client_silent", at.number, now) {
            let (service, error) = (&self.service, Quoted(error));
            log::warn!(
                "event=client_silent service={service} address={at} error={error} \
                 replaced={replaced}{repeated}"
            );
        }
    }

    pub(super) fn reloaded(&self) {
        if self.is_on() {
            log::info!("event=client_tls_reloaded service={}", self.service);
        }
    }

    pub(super) fn not_reloaded(&self, error: &str, now: Instant) {
        if let Some(repeated) = self.admit("client_tls_invalid", POOL, now) {
            let (service, error) = (&self.service, Quoted(error));
            log::error!("event=client_tls_invalid service={service} error={error}{repeated}");
        }
    }

    pub(super) fn applied(&self, applied: &[&str], later: &[&str]) {
        if self.is_on() && !(applied.is_empty() && later.is_empty()) {
            let level = if later.is_empty() { log::Level::Info } else { log::Level::Warn };
            let (service, applied, later) = (&self.service, applied.join(","), later.join(","));
            let (applied, later) = (Quoted(&applied), Quoted(&later));
            log::log!(
                level,
                "event=client_settings_applied service={service} applied={applied} later={later}"
            );
        }
    }

    pub(super) fn unusual(&self, said: &str) {
        if self.is_on() {
            let (service, said) = (&self.service, Quoted(said));
            log::warn!("event=client_unusual_setting service={service} setting={said}");
        }
    }

    pub(super) fn pick_panicked(&self, now: Instant) {
        if let Some(repeated) = self.admit("client_pick_panicked", POOL, now) {
            log::error!("event=client_pick_panicked service={}{repeated}", self.service);
        }
    }

    pub(super) fn leak(&self, holder: &Holder) {
        let (at, held) = (holder.at.to_string(), holder.held.as_secs());
        if self.is_on() {
            let (service, at, thread) =
                (&self.service, Quoted(&at), Quoted(holder.thread.as_str()));
            log::warn!("event=client_leak service={service} at={at} thread={thread} held_s={held}");
        }
    }

    pub(super) fn level(&self, level: Level, round: Round) {
        if !self.is_on() {
            return;
        }
        let (service, Round { working, failed }) = (&self.service, round);
        let at = if level == Level::Healthy { log::Level::Info } else { log::Level::Warn };
        let level = level.as_str();
        log::log!(
            at,
            "event=client_health service={service} level={level} working={working} failed={failed}"
        );
    }

    pub(super) fn breaker(&self, method: &str, change: PhaseChange) {
        if !self.is_on() {
            return;
        }
        let (service, method) = (&self.service, Quoted(method));
        match change {
            PhaseChange::Opened => {
                log::warn!("event=client_breaker_opened service={service} method={method}");
            }
            PhaseChange::Closed => {
                log::info!("event=client_breaker_closed service={service} method={method}");
            }
        }
    }

    pub(super) fn call(&self, ended: &CallEnded<'_>) {
        if !self.is_on() {
            return;
        }
        let CallEnded { method, code, attempts, took } = ended;
        let (service, method, code) = (&self.service, Quoted(method), code.as_str());
        let took = took.as_millis();
        log::debug!(
            "event=client_call service={service} method={method} code={code} \
             attempts={attempts} took_ms={took}"
        );
    }
}
