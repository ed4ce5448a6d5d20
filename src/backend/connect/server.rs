//! Opens a backend at one address: dial, log in, check the server's role.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use r2d2::ManageConnection;
use r2d2_postgres::PostgresConnectionManager;

use super::{PgConnect, ServerAttempt};
use crate::backend::cancel::Canceller;
use crate::backend::classify::{dial_error, login_error, lost, refused};
use crate::backend::conversation::Conversation;
use crate::backend::decoy::Decoy;
use crate::backend::handshake::Connector;
use crate::backend::pg::question::ask;
use crate::backend::pg::{BackendParts, PgBackend};
use crate::backend::startup::settings;
use crate::backend::stream::socket::Socket;
use crate::clock;
use crate::config::dsn::{HostPort, TargetSession};
use crate::error::ConnectError;

impl PgConnect {
    pub(super) fn try_address(
        &self,
        host: &HostPort,
        address: SocketAddr,
        attempt: &ServerAttempt<'_>,
        limit: Duration,
        wanted: TargetSession,
    ) -> Result<PgBackend, ConnectError> {
        let until = clock::now() + limit;
        let left = || until.saturating_duration_since(clock::now());
        let login = || self.open(host, address, attempt, left(), wanted);
        let target = format!("{}:{}", name(host, address), address.port());
        attempt.door.enter(address)?;
        let outcome = self.tries.at(address, &target, || match login() {
            Err(ConnectError::Rejected(fault))
                if fault.message.contains("client_connection_check_interval")
                    && !self.old_server.swap(true, Ordering::Relaxed) =>
            {
                login()
            }
            other => other,
        });
        attempt.door.record(outcome.as_ref().err());
        outcome
    }

    fn open(
        &self,
        host: &HostPort,
        address: SocketAddr,
        attempt: &ServerAttempt<'_>,
        limit: Duration,
        wanted: TargetSession,
    ) -> Result<PgBackend, ConnectError> {
        let name = name(host, address);
        let target = format!("{name}:{}", address.port());
        let fresh = *self.fresh.lock();
        let socket = Socket::connect(address, (&self.dsn, fresh.tcp), limit)
            .map_err(|error| dial_error(&error, target.clone(), attempt.limit))?;
        let socket = Arc::new(socket);
        attempt.watch.attach(&socket);
        let mut conversation = self.log_in(&name, &target, &socket, attempt)?;
        let session_target = self.target.of_backend(wanted);
        let objection = match session_target.question(&conversation.facts) {
            Err(objection) => objection,
            Ok(question) => match ask(&mut conversation, question) {
                Ok(is_so) => session_target.judge(is_so),
                Err(Some(fault)) => return Err(refused(*fault)),
                Err(None) => return Err(lost(attempt.watch, target, attempt.limit)),
            },
        };
        if let Some(why) = objection {
            return Err(ConnectError::WrongRole { target, why, wanted: wanted.as_str() });
        }
        let Some(key) = conversation.facts.key.clone() else {
            let why = "the server sent no cancel key".to_owned();
            return Err(ConnectError::Unreachable { target, why });
        };
        socket.is_started();
        let tls = conversation.stream().is_encrypted().then(|| attempt.tls.clone());
        let pid = key.pid;
        let parts = BackendParts {
            tenant: self.hosts.tenant().clone(),
            canceller: Canceller::new(address, name, key, tls),
            target: session_target,
            statement_cache: fresh.statement_cache,
            types: Arc::clone(&self.types),
        };
        Ok(PgBackend::new(conversation, pid, parts))
    }

    /// Lets the driver log in over this socket, and takes the conversation back.
    fn log_in(
        &self,
        name: &str,
        target: &str,
        socket: &Arc<Socket>,
        attempt: &ServerAttempt<'_>,
    ) -> Result<Conversation, ConnectError> {
        let ServerAttempt { watch, tls, limit, .. } = attempt;
        let old_server = self.old_server.load(Ordering::Relaxed);
        let mut config = settings(&self.dsn, &self.application_name, old_server);
        let dial_error = |error| dial_error(&error, target.to_owned(), *limit);
        let decoy = Decoy::new().map_err(dial_error)?;
        decoy.attract(&mut config, name).map_err(dial_error)?;
        let connector =
            Connector::new(&self.dsn, tls.clone(), Arc::clone(socket), Arc::clone(watch));
        let loan = connector.loan();
        let login = PostgresConnectionManager::new(config, connector).connect();
        let conversation = loan.take();
        // Drops the driver with its runtime. The loan is over, so its Terminate message is
        // discarded.
        match (login.map(drop), conversation) {
            (Ok(()), Some(conversation)) => Ok(conversation),
            (Ok(()), None) => Err(lost(watch, target.to_owned(), *limit)),
            (Err(error), conversation) => {
                let fault = conversation.and_then(|talk| talk.facts.failed.clone());
                Err(login_error(&error, fault, watch, target.to_owned(), *limit))
            }
        }
    }
}

/// The name of a server, which is also what a certificate must be made out to.
fn name(host: &HostPort, address: SocketAddr) -> String {
    host.host.clone().unwrap_or_else(|| address.ip().to_string())
}
