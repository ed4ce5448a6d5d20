//! Backends that are made of nothing, do what a test says, and are counted.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::cancel::Canceller;
use crate::backend::connect::Connect;
use crate::backend::copy::{Sink, Source};
use crate::backend::door::Door;
use crate::backend::listen::Heard;
use crate::backend::notice::Notice;
use crate::backend::session::{Backend, Done, Rows, RunError, Sent};
use crate::backend::statement::Statement;
use crate::backend::stream::watch::Watch;
use crate::config::dsn::Dsn;
use crate::config::TenantPoolConfig;
use crate::core::channels::Change;
use crate::error::{ConnectError, PgFault};
use crate::lock::Leaf;

/// Where all of them are.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// What a backend is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Come up.
    Connect,
    /// Run a statement.
    Run,
    /// Report what it receives.
    Hear,
    /// Answer a round trip.
    Check,
    /// Become as new.
    Reset,
    /// Go; how it does that changes nothing.
    Close,
}

/// How it does that.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    /// Not, and says so; the connection goes on.
    Fails,
    /// Not, and the connection is lost.
    Breaks,
    Panics,
    /// To a connect: nobody is there.
    Refused,
    /// To a connect: we have no file descriptor for it.
    Starved,
    /// To a connect: the database has no slot left.
    Full,
    /// To a connect: it does not answer in time.
    Late,
}

/// What a test says. It may block, where the call may.
pub(super) type Script = Arc<dyn Fn(Call) -> Fate + Send + Sync>;

/// Every call is good.
pub(super) fn good() -> Script {
    Arc::new(|_| Fate::Good)
}

/// Every call is good but this one.
pub(super) fn only(call: Call, fate: Fate) -> Script {
    Arc::new(move |asked| if asked == call { fate } else { Fate::Good })
}

/// How many fakes live, and how many lived at once.
#[derive(Default)]
pub(super) struct Census {
    alive: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
    /// In which something has run since they came up or were reset, by pid.
    dirty: Leaf<BTreeSet<i32>>,
}

impl Census {
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// The most that ever lived at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// True if something has run in the backend since it came up or was reset.
    pub(super) fn is_dirty(&self, backend: &dyn Backend) -> bool {
        self.dirty.lock().contains(&backend.pid())
    }

    /// Counts one more, and returns its pid.
    fn one_more(&self) -> i32 {
        let alive = self.alive.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(alive, Ordering::SeqCst);
        self.opened.fetch_add(1, Ordering::SeqCst) as i32
    }
}

#[derive(Clone)]
pub(super) struct Fakes {
    pub(super) census: Arc<Census>,
    pub(super) script: Script,
}

impl Fakes {
    fn fate(&self, call: Call, watch: &Watch) -> Fate {
        let fate = (self.script)(call);
        assert!(fate != Fate::Panics, "injected");
        if fate == Fate::Breaks {
            watch.abort_now();
        }
        // Broken off meanwhile is broken all the same.
        if watch.is_aborted() {
            Fate::Breaks
        } else {
            fate
        }
    }
}

impl Connect for Fakes {
    fn connect(
        &self,
        watch: &Arc<Watch>,
        _: Duration,
        door: &dyn Door,
    ) -> Result<Box<dyn Backend>, ConnectError> {
        door.enter(SERVER)?;
        let outcome = self.come_up(watch);
        door.record(outcome.as_ref().err());
        outcome
    }

    fn dsn(&self) -> Option<&Dsn> {
        None
    }

    fn servers(&self) -> String {
        "fake:1".to_owned()
    }

    fn follow(&self, _: &TenantPoolConfig) {}
}

impl Fakes {
    fn come_up(&self, watch: &Arc<Watch>) -> Result<Box<dyn Backend>, ConnectError> {
        match self.fate(Call::Connect, watch) {
            Fate::Good => {}
            Fate::Refused => {
                let (target, why) = ("fake:1".to_owned(), "refused".to_owned());
                return Err(ConnectError::Unreachable { target, why });
            }
            Fate::Starved => return Err(ConnectError::Starved("no descriptor".to_owned())),
            Fate::Late => {
                let (target, step) = ("fake:1".to_owned(), "TCP");
                return Err(ConnectError::TimedOut { target, step, limit: Duration::ZERO });
            }
            Fate::Full => {
                let fault = PgFault { sqlstate: "53300".to_owned(), ..PgFault::default() };
                return Err(ConnectError::Busy(Box::new(fault)));
            }
            _ => return Err(ConnectError::Settings("no".to_owned())),
        }
        let pid = self.census.one_more();
        Ok(Box::new(Fake { fakes: self.clone(), watch: Arc::clone(watch), pid }))
    }
}

struct Fake {
    fakes: Fakes,
    watch: Arc<Watch>,
    pid: i32,
}

impl Fake {
    fn fate(&self, call: Call) -> Fate {
        self.fakes.fate(call, &self.watch)
    }

    fn done(&mut self) -> Result<Done, RunError> {
        self.fakes.census.dirty.lock().insert(self.pid);
        match self.fate(Call::Run) {
            Fate::Good => Ok(Done::default()),
            Fate::Fails => Err(RunError::Fault(Box::<PgFault>::default())),
            _ => Err(RunError::Lost { fault: None, sent: Sent::Whole, excess: None }),
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = (self.fakes.script)(Call::Close);
        self.fakes.census.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Fake {
    fn pid(&self) -> i32 {
        self.pid
    }
    fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }
    fn canceller(&self) -> Option<Canceller> {
        None
    }
    fn is_closed(&mut self) -> bool {
        self.watch.is_aborted()
    }
    fn is_silent(&mut self) -> bool {
        !self.watch.is_aborted()
    }
    fn run(&mut self, _: &Statement, _: &mut dyn Rows) -> Result<Done, RunError> {
        self.done()
    }
    fn copy_in(&mut self, _: &Statement, _: &mut dyn Source) -> Result<Done, RunError> {
        self.done()
    }
    fn copy_out(&mut self, _: &Statement, _: &mut dyn Sink) -> Result<Done, RunError> {
        self.done()
    }
    fn listen(&mut self, _: &Change) -> Result<(), RunError> {
        self.done().map(|_| ())
    }
    fn hear(&mut self, _: Duration) -> Result<Heard, RunError> {
        match self.fate(Call::Hear) {
            // Listeners that start or end are looked for at every turn.
            Fate::Good => Ok(Heard::Nudge),
            _ => Err(RunError::Lost { fault: None, sent: Sent::Nothing, excess: None }),
        }
    }
    fn check(&mut self) -> bool {
        self.fate(Call::Check) == Fate::Good
    }
    fn reset(&mut self) -> bool {
        let good = self.fate(Call::Reset) == Fate::Good;
        if good {
            self.fakes.census.dirty.lock().remove(&self.pid);
        }
        good
    }
    fn take_notices(&mut self) -> Vec<Notice> {
        Vec::new()
    }
}
