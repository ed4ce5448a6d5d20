//! Where one service is counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::families::Families;
use super::{METHODS_MAX, METHOD_BYTES, OTHER};
use crate::client::call_error::Code;
use crate::lock::Leaf;

/// Counts for one service, or nothing at all. The series of a service without a label are
/// looked up once.
pub(in crate::client) struct CallMeter(Option<CallSeries>);

struct CallSeries {
    families: Arc<Families>,
    service: String,
    checkouts: IntCounter,
    checkout_wait: Histogram,
    connects: IntCounter,
    connect_failures: IntCounter,
    connect_time: Histogram,
    channel_age: Histogram,
    methods: Leaf<HashMap<String, Arc<Method>>>,
}

/// Counts for one method, or nothing at all.
#[derive(Clone)]
pub(in crate::client) struct MethodMeter(Option<Arc<Method>>);

struct Method {
    families: Arc<Families>,
    service: String,
    method: String,
    time: Histogram,
    retries: IntCounter,
    rejections: IntCounter,
}

impl CallMeter {
    /// Counts nothing.
    pub(in crate::client) fn off() -> CallMeter {
        CallMeter(None)
    }

    pub(super) fn new(families: Arc<Families>, service: &str) -> CallMeter {
        let label = &[service];
        CallMeter(Some(CallSeries {
            checkouts: families.pools.checkouts.with_label_values(label),
            checkout_wait: families.pools.checkout_wait.with_label_values(label),
            connects: families.pools.connects.with_label_values(label),
            connect_failures: families.pools.connect_failures.with_label_values(label),
            connect_time: families.pools.connect_time.with_label_values(label),
            channel_age: families.pools.channel_age.with_label_values(label),
            methods: Leaf::default(),
            service: service.to_owned(),
            families,
        }))
    }

    /// The label of the service; `None`: nothing is counted.
    pub(in crate::client) fn label(&self) -> Option<&str> {
        self.0.as_ref().map(|series| &*series.service)
    }

    /// The label of a method.
    pub(in crate::client) fn method_label(&self, method: &str) -> String {
        match self.method(method).0 {
            Some(method) => method.method.clone(),
            None => OTHER.to_owned(),
        }
    }

    /// Where a method is counted.
    pub(in crate::client) fn method(&self, method: &str) -> MethodMeter {
        let Some(series) = &self.0 else {
            return MethodMeter(None);
        };
        let mut methods = series.methods.lock();
        if let Some(known) = methods.get(method) {
            return MethodMeter(Some(Arc::clone(known)));
        }
        let has = methods.len() < METHODS_MAX && is_label(method);
        let method = if has { method } else { OTHER };
        let make = || Arc::new(Method::new(&series.families, &series.service, method));
        let made = methods.entry(method.to_owned()).or_insert_with(make);
        MethodMeter(Some(Arc::clone(made)))
    }

    /// A connection was lent.
    pub(in crate::client) fn lent(&self, waited: Duration) {
        if let Some(series) = &self.0 {
            series.checkouts.inc();
            series.checkout_wait.observe(waited.as_secs_f64());
        }
    }

    /// No connection was lent.
    pub(in crate::client) fn not_lent(&self, reason: &str) {
        if let Some(series) = &self.0 {
            series
                .families
                .pools
                .checkout_failures
                .with_label_values(&[&series.service, reason])
                .inc();
        }
    }

    /// A connection is begun.
    pub(in crate::client) fn connects(&self) {
        if let Some(series) = &self.0 {
            series.connects.inc();
        }
    }

    /// A connection stands.
    pub(in crate::client) fn connected(&self, took: Duration) {
        if let Some(series) = &self.0 {
            series.connect_time.observe(took.as_secs_f64());
        }
    }

    /// A connection could not be made.
    pub(in crate::client) fn connect_failed(&self) {
        if let Some(series) = &self.0 {
            series.connect_failures.inc();
        }
    }

    /// A connection ended that stood for so long.
    pub(in crate::client) fn disconnected(&self, reason: &str, age: Duration) {
        if let Some(series) = &self.0 {
            series.families.pools.disconnects.with_label_values(&[&series.service, reason]).inc();
            series.channel_age.observe(age.as_secs_f64());
        }
    }

    /// An address was taken out.
    pub(in crate::client) fn ejected(&self, reason: &str) {
        if let Some(series) = &self.0 {
            series.families.pools.ejections.with_label_values(&[&series.service, reason]).inc();
        }
    }

    /// A probe has ended.
    pub(in crate::client) fn probed(&self, in_round: bool, good: bool) {
        let Some(series) = &self.0 else {
            return;
        };
        let (families, label) = (&series.families.pools, &[&*series.service]);
        let family = if in_round { &families.health_checks } else { &families.pings };
        family.with_label_values(label).inc();
        if !good {
            families.health_check_failures.with_label_values(label).inc();
        }
    }

    /// A call is not repeated although its code may be.
    pub(in crate::client) fn retry_refused(&self, reason: &str) {
        if let Some(series) = &self.0 {
            series
                .families
                .calls
                .retries_refused
                .with_label_values(&[&series.service, reason])
                .inc();
        }
    }
}

impl Method {
    fn new(families: &Arc<Families>, service: &str, method: &str) -> Method {
        let labels = &[service, method];
        Method {
            time: families.calls.time.with_label_values(labels),
            retries: families.calls.retries.with_label_values(labels),
            rejections: families.calls.rejections.with_label_values(labels),
            families: Arc::clone(families),
            service: service.to_owned(),
            method: method.to_owned(),
        }
    }
}

impl MethodMeter {
    /// A call has ended.
    pub(in crate::client) fn call(&self, code: Code, took: Duration) {
        if let Some(one) = &self.0 {
            let labels = &[&one.service, &one.method, code.go_name()];
            one.families.calls.requests.with_label_values(labels).inc();
            one.time.observe(took.as_secs_f64());
        }
    }

    /// An attempt has ended.
    pub(in crate::client) fn attempt(&self, code: Code) {
        if let Some(one) = &self.0 {
            let labels = &[&one.service, &one.method, code.go_name()];
            one.families.calls.attempts.with_label_values(labels).inc();
        }
    }

    /// A call is repeated.
    pub(in crate::client) fn retry(&self) {
        if let Some(one) = &self.0 {
            one.retries.inc();
        }
    }

    /// An attempt begins while others of its call run.
    pub(in crate::client) fn hedged(&self) {
        if let Some(one) = &self.0 {
            let labels = &[&one.service, &one.method];
            one.families.calls.hedges.with_label_values(labels).inc();
        }
    }

    /// One of these has answered the call.
    pub(in crate::client) fn hedge_won(&self) {
        if let Some(one) = &self.0 {
            let labels = &[&one.service, &one.method];
            one.families.calls.hedges_won.with_label_values(labels).inc();
        }
    }

    /// A message of a stream.
    pub(in crate::client) fn message(&self, direction: &str) {
        if let Some(one) = &self.0 {
            let labels = &[one.service.as_str(), &one.method, direction];
            one.families.calls.messages.with_label_values(labels).inc();
        }
    }

    /// The breaker refused a call.
    pub(in crate::client) fn rejected(&self) {
        if let Some(one) = &self.0 {
            one.rejections.inc();
        }
    }
}

/// A name that gRPC would take. Its slash keeps it apart from the label before it, which the
/// metrics crate does not.
fn is_label(method: &str) -> bool {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    method.starts_with('/') && method.len() <= METHOD_BYTES && method.chars().all(is_good)
}
