//! The command line: one file a subcommand.

mod demo;
mod logging;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Leases real PostgreSQL connections to many tenants over gRPC.
#[derive(Parser)]
#[command(name = "connection-pool-manager", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve(serve::Flags),
    /// Serve on an ephemeral PostgreSQL and walk through a lease.
    Demo(demo::Flags),
    /// Make a self-signed certificate for development.
    DevCerts {
        /// Directory for cert.pem and key.pem.
        #[arg(long, default_value = "certs")]
        dir: PathBuf,
        /// Further host names or addresses for it.
        #[arg(long = "name")]
        names: Vec<String>,
    },
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse_from(arguments(std::env::args_os()));
    logging::start();
    let outcome = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(flags)) => serve::run(&flags),
        Some(Command::Demo(flags)) => demo::run(&flags),
        Some(Command::DevCerts { dir, names }) => dev_certs(&dir, &names),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("connection-pool-manager: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Names that a development certificate is good for.
const DEV_NAMES: &[&str] = &["localhost", "127.0.0.1", "::1"];

fn dev_certs(dir: &std::path::Path, names: &[String]) -> Outcome {
    std::fs::create_dir_all(dir)?;
    let mut all: Vec<&str> = DEV_NAMES.to_vec();
    all.extend(names.iter().map(String::as_str));
    let made = crate::dev_certs::ensure(dir, &all)?;
    println!("{}\n{}", made.cert.display(), made.key.display());
    Ok(())
}

/// Clients of old call it with one dash: `-port 8080`.
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
        let given = ["x", "-port", "8080"].map(OsString::from).into_iter();
        let cli = Cli::parse_from(arguments(given));
        assert_eq!(cli.serve.port, 8080);
        let given = ["x", "-port=8081"].map(OsString::from).into_iter();
        assert_eq!(Cli::parse_from(arguments(given)).serve.port, 8081);
    }
}
