//! What a program adds to every call of a service.

mod ready_made;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call_error::{Code, Delivery, Error, RpcError};
use super::headers::Headers;

pub use ready_made::{bearer, metadata, traceparent};

/// Is told of each call and each attempt, may add metadata, and may refuse them.
///
/// Those of a service are asked in the order in which they were pushed, and told of the end in
/// the opposite one; who was not asked is not told. They run on the thread of the caller.
pub trait Interceptor: Send + Sync {
    /// A call begins; what is added goes with every attempt.
    ///
    /// # Errors
    /// The call ends with this error: [`Outgoing::refusal`] makes one.
    fn before_call(&self, call: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        let _ = call;
        Ok(())
    }

    /// An attempt begins, on a connection; what is added goes with this attempt.
    ///
    /// # Errors
    /// The call ends with this error.
    fn before_attempt(&self, attempt: &mut Outgoing<'_>) -> Result<(), Box<RpcError>> {
        let _ = attempt;
        Ok(())
    }

    /// An attempt has ended.
    fn after_attempt(&self, attempt: &Finished<'_>) -> After {
        let _ = attempt;
        After::AsUsual
    }

    /// A call has ended.
    fn after_call(&self, call: &Finished<'_>) {
        let _ = call;
    }
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// What the settings say.
    AsUsual,
    /// One more attempt, at once, if it has failed: something that it lacked is there now. Heeded
    /// once for a call.
    Again,
}

/// A call or an attempt that is to be made.
pub struct Outgoing<'a> {
    pub(super) service: &'a str,
    pub(super) method: &'a str,
    pub(super) attempt: u32,
    pub(super) address: Option<&'a str>,
    pub(super) deadline: Option<Instant>,
    pub(super) headers: &'a mut Headers,
}

impl Outgoing<'_> {
    /// The service, as it was added.
    pub fn service(&self) -> &str {
        self.service
    }

    /// The method, `/package.Service/Method`.
    pub fn method(&self) -> &str {
        self.method
    }

    /// Which attempt it is, counted from 1; 0 before the first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The address of the connection of an attempt.
    pub fn address(&self) -> Option<&str> {
        self.address
    }

    /// When it is over at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Adds a text.
    ///
    /// # Errors
    /// If gRPC does not take the key or the value; keys that begin with `grpc-` are its own.
    pub fn add(&mut self, key: &str, value: &str) -> Result<(), Box<RpcError>> {
        let added = self.headers.add(key, value);
        added.map_err(|error| self.refusal(Code::Internal, &error.to_string()))
    }

    /// Adds bytes; the key ends with `-bin`.
    ///
    /// # Errors
    /// As for [`add`](Self::add).
    pub fn add_bytes(&mut self, key: &str, value: &[u8]) -> Result<(), Box<RpcError>> {
        let added = self.headers.add_bytes(key, value);
        added.map_err(|error| self.refusal(Code::Internal, &error.to_string()))
    }

    /// An error that refuses it.
    pub fn refusal(&self, code: Code, message: &str) -> Box<RpcError> {
        Box::new(RpcError {
            code,
            message: message.to_owned(),
            delivery: Delivery::NotSent,
            service: self.service.to_owned(),
            method: self.method.to_owned(),
            address: self.address.map(str::to_owned),
            attempts: self.attempt,
            elapsed: Duration::ZERO,
            details: Vec::new(),
            cause: None,
        })
    }
}

/// A call or an attempt that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Finished<'a> {
    /// The service, as it was added.
    pub service: &'a str,
    /// The method.
    pub method: &'a str,
    /// Which attempt it was; of a call, how many there were.
    pub attempt: u32,
    /// How long it took.
    pub elapsed: Duration,
    /// Why it has failed, if it has.
    pub error: Option<&'a Error>,
    /// What it was sent with.
    pub(super) headers: &'a Headers,
}

impl Finished<'_> {
    /// The code it ended with, as [`Error::code`] has it.
    pub fn code(&self) -> Code {
        self.error.map_or(Code::Ok, Error::code)
    }
}

/// The interceptors of a service, in their order.
#[derive(Clone, Default)]
pub struct Interceptors(Vec<Arc<dyn Interceptor>>);

impl Interceptors {
    /// Adds one behind the others.
    pub fn push(&mut self, interceptor: impl Interceptor + 'static) {
        self.0.push(Arc::new(interceptor));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks them in their order. Returns how many said yes, and the error of the one that did
    /// not.
    pub(super) fn ask(
        &self,
        mut ask: impl FnMut(&dyn Interceptor) -> Result<(), Box<RpcError>>,
    ) -> (usize, Result<(), Box<RpcError>>) {
        for (asked, one) in self.0.iter().enumerate() {
            if let Err(error) = ask(&**one) {
                return (asked, Err(error));
            }
        }
        (self.0.len(), Ok(()))
    }

    /// Those that were asked, the last one first.
    pub(super) fn back(&self, asked: usize) -> impl Iterator<Item = &dyn Interceptor> {
        self.0.iter().take(asked).rev().map(|one| &**one)
    }
}

impl fmt::Debug for Interceptors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Interceptors({})", self.0.len())
    }
}

/// The same ones.
impl PartialEq for Interceptors {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(one, other);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(is_same)
    }
}
