//! `connection-pool-manager`: parses the command line and does what it says.

use std::process::ExitCode;

fn main() -> ExitCode {
    connection_pool_manager::cli::main()
}
