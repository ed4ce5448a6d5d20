//! How a permit comes by a backend: one that is idle, or one that is opened. All of it
//! blocks, so it runs on workers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::upkeep::Upkeep;
use super::{Tenant, REPLACED};
use crate::clock;
use crate::core::gate::GateState;
use crate::error::{ConnectError, RequestError};
use crate::pool::backends::{Backends, Taking};
use crate::pool::job::LEAST_PATIENCE;
use crate::pool::open_backends::RoomWaiter;
use crate::pool::servers::Wants;
use crate::pool::store::Taken;

/// An idle backend that works, or a new one, for a caller who waits so long; and those it
/// belongs to.
pub(super) fn checkout(
    tenant: &Arc<Tenant>,
    patience: Duration,
    wants: &mut Wants,
) -> (Arc<Backends>, Result<Taken, RequestError>) {
    let until = clock::now() + patience;
    loop {
        let backends = tenant.backends();
        let outcome = checkout_of(tenant, &backends, until, wants);
        if !backends.is_retired() || tenant.is_closed() {
            return (backends, outcome);
        }
        // Others have taken their place meanwhile, and what they say holds no more.
        if let Ok(taken) = outcome {
            backends.close(taken, REPLACED);
        }
    }
}

fn checkout_of(
    tenant: &Arc<Tenant>,
    backends: &Arc<Backends>,
    until: Instant,
    wants: &mut Wants,
) -> Result<Taken, RequestError> {
    let failed = |cause| RequestError::Connect { tenant: tenant.id().clone(), cause };
    let (mut mute, mut waiter) = (false, None);
    loop {
        let left = until.saturating_duration_since(clock::now()).max(LEAST_PATIENCE);
        match backends.take(left, &mut mute) {
            Taking::Ready(taken) => return Ok(taken),
            Taking::Retired => return Err(tenant.closed()),
            Taking::Late(cause) => return Err(failed(cause)),
            Taking::Broken(false) => {}
            Taking::Broken(true) => Upkeep::of(tenant, backends).check_doubtful(),
            Taking::Full => {
                let now = clock::now();
                if now >= until {
                    let target = "a connection that takes the place of another".to_owned();
                    let (step, limit) = ("close of the other", left);
                    return Err(failed(ConnectError::TimedOut { target, step, limit }));
                }
                match &mut waiter {
                    // It looks once more, so that it misses none that comes to rest meanwhile.
                    None => waiter = Some(tenant.account.open.waiter()),
                    Some(waiter) => RoomWaiter::wait(waiter, until),
                }
            }
            Taking::Open(count) => {
                let attempt = backends.attempt(tenant.gate().state() == GateState::Opening)?;
                let (opened, change) = backends.open(count, left, attempt, wants);
                Upkeep::of(tenant, backends).heed(change);
                return opened.map_err(failed);
            }
        }
    }
}
