//! What strikes, and how it is mended.

use std::path::Path;

use connection_pool_manager::embedded::StopMode;

use super::scene::{Scene, Victims, SLOTS};
use crate::harness::eventually;

/// What happens to PostgreSQL or to the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGKILL of the backends; PostgreSQL then restarts all of its own.
    Killed,
    /// SIGSTOP of the backends.
    Frozen,
    /// `pg_terminate_backend`.
    Terminated,
    /// A fast stop, and a start.
    Stopped,
    /// An immediate stop, as in a crash, and a start.
    Crashed,
    /// Others have taken all of PostgreSQL's `max_connections`.
    Full,
    /// The role has another password.
    PasswordChanged,
    /// Every connection is reset on its way, and new ones too.
    Cut,
}

/// What is to be undone.
#[must_use]
pub struct Struck {
    others: Vec<::postgres::Client>,
}

impl Cause {
    /// True if nobody on this PostgreSQL is spared.
    pub fn takes_all_down(self) -> bool {
        matches!(self, Cause::Killed | Cause::Stopped | Cause::Crashed)
    }

    /// True if whoever has a backend already is spared.
    pub fn spares_the_connected(self) -> bool {
        matches!(self, Cause::Full | Cause::PasswordChanged)
    }

    /// Strikes, and returns when it has happened.
    pub fn strike(self, scene: &mut Scene, victims: &Victims) -> Struck {
        let mut struck = Struck { others: Vec::new() };
        let pids = victims.known();
        let with_opening = || pids.iter().copied().chain(victims.opening);
        match self {
            // With the first one PostgreSQL ends all others, maybe before we do.
            Cause::Killed => with_opening().for_each(|pid| drop(scene.postgres.kill(pid))),
            // Should this end badly, PostgreSQL's own end thaws them.
            Cause::Frozen => with_opening().for_each(|pid| scene.postgres.freeze(pid).unwrap()),
            Cause::Terminated => {
                let sql = format!(
                    "select bool_and(pg_terminate_backend(p)) from unnest(array{pids:?}) p"
                );
                assert_eq!(scene.sql(&sql), "t");
            }
            Cause::Stopped => scene.postgres.stop(StopMode::Fast).unwrap(),
            Cause::Crashed => scene.postgres.stop(StopMode::Immediate).unwrap(),
            Cause::Full => struck.others = fill(scene),
            Cause::PasswordChanged => change_password(scene, "another"),
            Cause::Cut => scene.way.cut(),
        }
        if !self.spares_the_connected() && self != Cause::Frozen {
            gone(&victims.leased);
        }
        struck
    }

    /// Undoes it, and returns when that has happened.
    pub fn mend(self, scene: &mut Scene, struck: Struck, victims: &Victims) {
        match self {
            Cause::Killed => eventually("PostgreSQL has recovered", || {
                scene.postgres.sql("postgres", "select 1").is_ok()
            }),
            Cause::Frozen => {
                victims.known().iter().for_each(|pid| scene.postgres.thaw(*pid).unwrap());
                gone(&victims.leased);
            }
            Cause::Terminated => {}
            Cause::Stopped | Cause::Crashed => scene.postgres.start_again().unwrap(),
            Cause::Full => {
                drop(struck);
                let left = "select count(*) from pg_stat_activity where application_name = 'other'";
                eventually("the others have left", || scene.sql(left) == "0");
            }
            Cause::PasswordChanged => change_password(scene, &scene.tenant.password),
            Cause::Cut => scene.way.forward(),
        }
    }
}

/// Waits until none of these processes is left.
pub fn gone(pids: &[i32]) {
    eventually("the backends are gone", || {
        !pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists())
    });
}

/// Connects past the service until PostgreSQL takes no more.
fn fill(scene: &Scene) -> Vec<::postgres::Client> {
    let dsn = scene.postgres.tenant_dsn(&scene.tenant.name, &scene.tenant.password);
    let dsn = format!("{dsn} application_name=other");
    let mut others = Vec::new();
    for _ in 0..SLOTS {
        match scene.outside(&dsn) {
            Ok(other) => others.push(other),
            Err(error) => {
                assert_eq!(error.code().map(|code| code.code()), Some("53300"), "{error}");
                return others;
            }
        }
    }
    panic!("PostgreSQL was never full");
}

fn change_password(scene: &Scene, password: &str) {
    scene.sql(&format!("alter role {} password '{password}'", scene.tenant.name));
}
