//! Looks names up, each on a thread of its own, because a look-up blocks for as long as the name
//! servers are silent.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use super::bell::KeeperBell;
use super::directory::Inquiry;
use crate::lock::Leaf;
use crate::threads;

/// Tells what the name of a host stands for.
pub trait Resolve: Send + Sync {
    /// The addresses of a host, the best first. Called on a thread of its own, where it may
    /// block; the first 256 are used, those of the other family only while none of the first
    /// one's answers.
    ///
    /// # Errors
    /// Why they are not known. Those of the last time stay in use.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<F> Resolve for F
where
    F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync,
{
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self(host, port)
    }
}

/// Who looks the names of a service up.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Resolve>);

impl Resolver {
    /// Asks this one instead of the system: what a registry of services knows, for instance.
    pub fn new(resolve: impl Resolve + 'static) -> Resolver {
        Resolver(Arc::new(resolve))
    }

    /// Asks the system.
    pub(super) fn system() -> Resolver {
        Resolver::new(|host: &str, port: u16| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn answer(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let answer = threads::survive(threads::RESOLVER, || self.0.resolve(host, port));
        let answer = answer.unwrap_or_else(|| Err(io::Error::other("the resolver panicked")));
        answer.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// The same if the same is asked.
impl PartialEq for Resolver {
    fn eq(&self, other: &Resolver) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Resolver {}

/// What is said of a name, by its number in the directory.
pub(super) type Finding = (usize, Result<Vec<SocketAddr>, String>);

/// Asks for one pool, and keeps the answers until the keeper takes them.
pub(super) struct Desk {
    resolver: Resolver,
    bell: KeeperBell,
    /// Held for a few instructions.
    said: Arc<Leaf<Vec<Finding>>>,
}

impl Desk {
    pub(super) fn new(resolver: Resolver, bell: KeeperBell) -> Desk {
        Desk { resolver, bell, said: Arc::default() }
    }

    /// Begins a look-up. Does not wait; the thread ends with its answer, whoever is still there.
    pub(super) fn ask(&self, inquiry: Inquiry) {
        let Inquiry { name, host, port } = inquiry;
        let (resolver, bell) = (self.resolver.clone(), self.bell.clone());
        let said = Arc::clone(&self.said);
        let begun = threads::spawn(threads::RESOLVER, move || {
            let answer = resolver.answer(&host, port);
            said.lock().push((name, answer));
            bell.ring();
        });
        if let Err(error) = begun {
            self.said.lock().push((name, Err(error.to_string())));
            self.bell.ring();
        }
    }

    /// What was said since the last time.
    pub(super) fn take(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.said.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::bell::bell;
    use crate::clock;

    fn answer(resolver: Resolver) -> Result<Vec<SocketAddr>, String> {
        let (bell, ear) = bell();
        let desk = Desk::new(resolver, bell);
        desk.ask(Inquiry { name: 3, host: "localhost".to_owned(), port: 7 });
        loop {
            if let Some((name, said)) = desk.take().pop() {
                assert_eq!(name, 3);
                return said;
            }
            ear.wait(Some(clock::now() + std::time::Duration::from_secs(1)));
        }
    }

    #[test]
    fn the_system_knows_this_machine() {
        let said = answer(Resolver::system()).unwrap();
        assert!(said.iter().all(|at| at.ip().is_loopback() && at.port() == 7), "{said:?}");
        assert!(!said.is_empty());
    }

    #[test]
    fn a_resolver_of_the_program_may_fail_and_panic() {
        let refuses = |_: &str, _: u16| Err(io::Error::other("not today"));
        assert_eq!(answer(Resolver::new(refuses)), Err("not today".to_owned()));
        let panics = |host: &str, _: u16| panic!("what is {host}");
        assert_eq!(answer(Resolver::new(panics)), Err("the resolver panicked".to_owned()));
        let knows = |_: &str, port| Ok(vec![SocketAddr::from(([10, 0, 0, 1], port))]);
        assert_eq!(answer(Resolver::new(knows)).unwrap().len(), 1);
    }
}
