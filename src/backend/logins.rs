//! The rate limit on password attempts, shared by all tenants.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::sqlstate;
use crate::clock;
use crate::core::callers::CallerId;
use crate::core::logins;
use crate::error::ConnectError;

/// The most accounts with recently refused logins: half a kilobyte each.
const ACCOUNTS_MAX: usize = 4096;
/// The most servers of one DSN whose acceptance of the password is remembered; at others
/// the password counts as unproven.
const PROVEN_MAX: usize = 64;

/// PostgreSQL truncates user names to this length.
const NAME_BYTES: usize = 63;

/// One user of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LoginAccount {
    server: SocketAddr,
    user: Box<[u8]>,
}

impl LoginAccount {
    /// The account of `user` behind `address`. All addresses of this machine count as one,
    /// and so do all names that PostgreSQL treats as equal.
    fn new(address: SocketAddr, user: &str) -> LoginAccount {
        let ip = match address.ip().to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let user = user.as_bytes();
        let user = user.get(..NAME_BYTES).unwrap_or(user).into();
        LoginAccount { server: SocketAddr::new(ip, address.port()), user }
    }
}

/// Refused logins, of all servers.
#[derive(Clone)]
pub struct Logins(Arc<Mutex<logins::LoginHistory<LoginAccount>>>);

impl Default for Logins {
    fn default() -> Logins {
        Logins(Arc::new(Mutex::new(logins::LoginHistory::new(ACCOUNTS_MAX))))
    }
}

impl Logins {
    fn lock(&self) -> MutexGuard<'_, logins::LoginHistory<LoginAccount>> {
        // A leaf lock; its value is consistent between calls, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The logins with one DSN on behalf of one client.
pub struct Tries {
    all: Logins,
    user: String,
    who: CallerId,
    /// The servers that have accepted the password and not refused it since. A leaf lock.
    proven: Mutex<Vec<SocketAddr>>,
}

impl Tries {
    /// The logins of this user for `who`.
    pub fn new(all: &Logins, user: &str, who: &CallerId) -> Tries {
        let (all, user, who) = (all.clone(), user.to_owned(), who.clone());
        Tries { all, user, who, proven: Mutex::default() }
    }

    fn proven(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs in if the server accepted the password last time or an attempt is allowed now.
    /// A working pool is therefore not slowed down while others guess passwords.
    ///
    /// # Errors
    /// Those of `login`, or `Deferred`.
    pub(super) fn at<T>(
        &self,
        address: SocketAddr,
        target: &str,
        login: impl FnOnce() -> Result<T, ConnectError>,
    ) -> Result<T, ConnectError> {
        let account = LoginAccount::new(address, &self.user);
        let known = self.proven().contains(&address);
        if !known {
            let entered = self.all.lock().enter(&account, &self.who, clock::now());
            entered.map_err(|deferred| ConnectError::Deferred {
                target: target.to_owned(),
                user: self.user.clone(),
                refusals: deferred.refusals,
                retry: deferred.retry,
            })?;
        }
        let outcome = login();
        match &outcome {
            Ok(_) if !known => {
                self.all.lock().let_in(&account, &self.who);
                let mut proven = self.proven();
                if proven.len() >= PROVEN_MAX {
                    proven.remove(0);
                }
                proven.push(address);
            }
            Err(ConnectError::Rejected(fault)) if sqlstate::is_refused_login(&fault.sqlstate) => {
                self.all.lock().refused(&account, &self.who, clock::now());
                self.proven().retain(|other| *other != address);
            }
            Ok(_) | Err(_) => {}
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::logins::FREE;
    use crate::error::PgFault;

    fn at(n: u8) -> SocketAddr {
        ([192, 0, 2, n], 5432).into()
    }

    fn refuse(tries: &Tries, n: u8, sqlstate: &str) -> ConnectError {
        let fault = PgFault { sqlstate: sqlstate.to_owned(), ..PgFault::default() };
        let login = || Err::<(), _>(ConnectError::Rejected(Box::new(fault)));
        tries.at(at(n), "host:1", login).unwrap_err()
    }

    fn let_in(tries: &Tries, n: u8) -> Result<(), ConnectError> {
        tries.at(at(n), "host:1", || Ok(()))
    }

    fn guess(all: &Logins, n: u8) {
        let guesser = Tries::new(all, "u", &CallerId::new("guesser"));
        for _ in 0..FREE {
            assert!(matches!(refuse(&guesser, n, "28P01"), ConnectError::Rejected(_)));
        }
        assert!(matches!(refuse(&guesser, n, "28P01"), ConnectError::Deferred { .. }));
    }

    #[test]
    fn a_password_that_was_right_is_not_slowed_down_where_it_was() {
        let all = Logins::default();
        let pool = Tries::new(&all, "u", &CallerId::new("pool"));
        assert!(let_in(&pool, 1).is_ok());
        guess(&all, 1);
        guess(&all, 2);
        assert!(let_in(&pool, 1).is_ok());
        // A server that lets everybody in must not open the way to another.
        assert!(matches!(let_in(&pool, 2), Err(ConnectError::Deferred { .. })));
        // Nor does a password that was right once make up for one that is not.
        assert!(matches!(refuse(&pool, 1, "28P01"), ConnectError::Rejected(_)));
        assert!(matches!(let_in(&pool, 1), Err(ConnectError::Deferred { .. })));
    }

    #[test]
    fn one_account_has_one_name() {
        let account = |text: &str, user: &str| LoginAccount::new(text.parse().unwrap(), user);
        let long = "x".repeat(63);
        assert_eq!(account("127.0.0.1:1", "u"), account("127.9.9.9:1", "u"));
        assert_eq!(account("127.0.0.1:1", "u"), account("[::1]:1", "u"));
        assert_eq!(account("127.0.0.1:1", "u"), account("0.0.0.0:1", "u"));
        assert_eq!(account("192.0.2.1:1", "u"), account("[::ffff:192.0.2.1]:1", "u"));
        assert_eq!(account("192.0.2.1:1", &long), account("192.0.2.1:1", &format!("{long}y")));
        assert_ne!(account("192.0.2.1:1", "u"), account("192.0.2.1:1", "U"));
        assert_ne!(account("192.0.2.1:1", "u"), account("192.0.2.2:1", "u"));
        assert_ne!(account("192.0.2.1:1", "u"), account("192.0.2.1:2", "u"));
    }

    #[test]
    fn what_is_refused_for_another_reason_is_no_guess() {
        let all = Logins::default();
        let tries = Tries::new(&all, "u", &CallerId::new("c"));
        for _ in 0..2 * FREE {
            assert!(matches!(refuse(&tries, 1, "3D000"), ConnectError::Rejected(_)));
        }
        for sqlstate in ["28000", "28P01"].iter().cycle().take(FREE as usize) {
            assert!(matches!(refuse(&tries, 1, sqlstate), ConnectError::Rejected(_)));
        }
        let error = refuse(&tries, 1, "28P01");
        assert!(matches!(error, ConnectError::Deferred { refusals: FREE, .. }), "{error}");
        let other = Tries::new(&all, "v", &CallerId::new("c"));
        assert!(let_in(&other, 1).is_ok());
    }
}
