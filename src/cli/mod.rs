//! The command line: one file for each subcommand.

mod check_config;
mod demo;
mod dev_certs;
mod environment;
mod flags;
mod health;
mod logging;
mod next_start;
mod process;
mod serve;
mod signals;
mod time;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::core::quoted::Quoted;
use crate::logging::LogFormat;
use crate::server::StartError;
use crate::settings::SettingFaults;

/// Leases real PostgreSQL connections to many tenants over gRPC.
#[derive(Parser)]
#[command(name = "connection-pool-manager", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "A TIME is in seconds, or has units: 30, 30s, 1m30s, 250ms.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: flags::Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve(flags::Flags),
    /// Print the settings that would be in force, and where each came from.
    CheckConfig(flags::Flags),
    /// Serve on an ephemeral PostgreSQL and walk through a lease.
    Demo(demo::DemoFlags),
    /// Tell how a gRPC service is, this one or another.
    Health(health::HealthFlags),
    /// Make certificates for development.
    DevCerts {
        /// Directory for cert.pem and key.pem.
        #[arg(long, default_value = "certs")]
        dir: PathBuf,
        /// Further host names or addresses for it.
        #[arg(long = "name")]
        names: Vec<String>,
        /// Create a CA and let it issue the certificate (ca.pem, ca-key.pem).
        #[arg(long)]
        ca: bool,
        /// Also issue a client certificate for this name (client-NAME.pem); needs the CA.
        #[arg(long = "client", value_name = "NAME", requires = "ca")]
        clients: Vec<String>,
    },
}

/// Parses the command line and runs the subcommand.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    let command = cli.command.unwrap_or(Command::Serve(cli.serve));
    match command {
        Command::DevCerts { .. } | Command::Health(_) | Command::CheckConfig(_) => {}
        _ => process::settle_allocator(),
    }
    logging::start();
    let outcome = match command {
        Command::Serve(flags) | Command::CheckConfig(flags) if flags.prints_defaults => {
            check_config::print_defaults()
        }
        Command::Demo(flags) if flags.serve.prints_defaults => check_config::print_defaults(),
        Command::Serve(flags) => serve::run(&flags),
        Command::CheckConfig(flags) => check_config::run(&flags),
        Command::Demo(flags) => demo::run(&flags),
        Command::Health(flags) => health::run(&flags),
        Command::DevCerts { dir, names, ca, clients } => dev_certs::run(&dir, &names, ca, &clients),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&with_causes(&*error));
            exit_code(&*error)
        }
    };
    crate::logging::finish();
    code
}

/// Tells why the process ends: to people, or to who reads its log as JSON.
fn tell(why: &str) {
    match crate::logging::format() {
        LogFormat::Text => crate::logging::say(&format!("connection-pool-manager: {why}\n")),
        LogFormat::Json => log::error!("event=failed error={}", Quoted(why)),
    }
}

/// As clap does: 2 if the settings break a rule, 1 for any other failure.
fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let start = error.downcast_ref::<serve::NotStarted>().map(|not| &not.error);
    let start = start.or_else(|| error.downcast_ref());
    let of_start = matches!(start, Some(StartError::Config(_) | StartError::State(_)));
    match of_start || error.is::<SettingFaults>() {
        true => ExitCode::from(2),
        false => ExitCode::FAILURE,
    }
}

/// An error with its chain of causes.
fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

type Ran = Result<(), Box<dyn std::error::Error>>;

/// Names that a development certificate is valid for.
const DEV_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// Older callers write the flag with one dash: `-port 8080`.
fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let double = |argument: OsString| match argument.to_str() {
        Some(text) if text == "-port" || text.starts_with("-port=") => format!("-{text}").into(),
        _ => argument,
    };
    given.map(double).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_port_may_be_given_with_one_dash() {
        for given in [&["x", "-port", "8080"][..], &["x", "-port=8080"]] {
            let given = given.iter().map(OsString::from);
            let port = Cli::parse_from(arguments(given)).serve.load().map(|it| it.config.port);
            assert_eq!(port.ok(), Some(8080));
        }
    }
}
