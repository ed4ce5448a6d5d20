//! The shell that runs the server and outlives its owner by a moment.
//!
//! Its standard input is a pipe whose only write end is ours. Rust opens pipes
//! close-on-exec, so no other child inherits it, and the kernel closes it
//! however this process ends, SIGKILL included. The shell then stops the
//! server and removes the directory. It sits in a process group of its own
//! and ignores SIGINT, SIGTERM and SIGHUP, so a Ctrl-C at the terminal
//! reaches us first and the server ends because we do.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use super::account::{give, ServerAccount};
use super::cluster::LOG;
use super::error::{io_failed, EmbeddedError};
use super::poll::Poll;
use super::programs::{clear_pg_variables, Programs};

/// A running wrapper; dropping it ends the server and removes the directory.
pub(super) struct Wrapper {
    shell: Child,
    /// `None` only in `drop`.
    commands: Option<ChildStdin>,
    exited: PathBuf,
}

impl Wrapper {
    pub(super) fn spawn(
        dir: &Path,
        programs: &Programs,
        account: Option<ServerAccount>,
    ) -> Result<Wrapper, EmbeddedError> {
        let log_path = dir.join(LOG);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(io_failed("open", &log_path))?;
        give(&log_path, account)?;
        let errors = log.try_clone().map_err(io_failed("open", &log_path))?;

        // A file rather than `sh -c`, which would fill the list of processes.
        let script = dir.join("wrapper.sh");
        fs::write(&script, SCRIPT).map_err(io_failed("write", &script))?;
        give(&script, account)?;

        let mut command = Command::new("/bin/sh");
        clear_pg_variables(&mut command);
        command
            .args([script.as_path(), dir, &programs.bin_dir])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        if let Some(account) = account {
            // Rust drops root's supplementary groups along with these.
            command.uid(account.uid).gid(account.gid);
        }
        let mut shell = command.spawn().map_err(io_failed("start", Path::new("/bin/sh")))?;
        let commands = shell.stdin.take();
        Ok(Wrapper { shell, commands, exited: dir.join("exited") })
    }

    /// Begins `initdb`; its end shows in [`exit_status`](Self::exit_status).
    pub(super) fn initdb(&mut self) -> Result<(), EmbeddedError> {
        self.command("initdb")
    }

    /// Begins to run the server, which must not be running.
    pub(super) fn start(&mut self, port: u16) -> Result<(), EmbeddedError> {
        self.command(&format!("start {port}"))
    }

    /// Whether the program begun last has ended.
    pub(super) fn has_exited(&self) -> bool {
        self.exited.exists()
    }

    /// The exit status of the program begun last, once it has ended.
    pub(super) fn exit_status(&self) -> Option<String> {
        fs::read_to_string(&self.exited).ok().map(|status| status.trim().to_owned())
    }

    fn command(&mut self, line: &str) -> Result<(), EmbeddedError> {
        match fs::remove_file(&self.exited) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_failed("remove", &self.exited)(error));
            }
            _ => {}
        }
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let commands = self.commands.as_mut().ok_or_else(gone);
        commands
            // One write of far less than PIPE_BUF bytes: the line arrives whole.
            .and_then(|commands| commands.write_all(format!("{line}\n").as_bytes()))
            .map_err(EmbeddedError::WrapperGone)
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        self.commands = None;
        let ended = Poll::new(DROP_LIMIT).until(|| match self.shell.try_wait() {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(()),
        });
        if ended.is_none() {
            log::warn!("the embedded PostgreSQL has not ended after {DROP_LIMIT:?}");
        }
    }
}

/// Longer than the script's own patience, of about 18 seconds.
const DROP_LIMIT: Duration = Duration::from_secs(25);

/// Arguments: the directory, the directory of PostgreSQL's programs.
///
/// The file `exited` holds the exit status of the last program once it has
/// ended, and is the only thing that says so. Frozen processes are thawed at
/// the end, since they would keep the postmaster waiting; the server's
/// processes are those whose working directory is the data directory.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
dir=$1 bin=$2 data=$1/data begun=

run() {
    begun=yes
    (
        "$@" </dev/null
        echo "$?" >"$dir/exited.new"
        mv "$dir/exited.new" "$dir/exited"
    ) &
}

# A single-user server (of initdb) writes a negative number, which is skipped:
# to kill it would mean a process group.
signal_postmaster() {
    pid=
    { read -r pid <"$data/postmaster.pid"; } 2>/dev/null
    case $pid in
    '' | *[!0-9]*) ;;
    *) kill "-$1" "$pid" 2>/dev/null ;;
    esac
}

signal_all() {
    for process in /proc/[0-9]*; do
        if [ "$process/cwd" -ef "$data" ]; then
            kill "-$1" "${process#/proc/}" 2>/dev/null
        fi
    done
}

# Tries for so many twentieths of a second.
finish() {
    left=$2
    signal_all CONT
    while [ ! -e "$dir/exited" ] && [ "$left" -gt 0 ]; do
        signal_postmaster "$1"
        sleep 0.05 2>/dev/null || sleep 1
        left=$((left - 1))
    done
}

while read -r command port; do
    case $command in
    initdb)
        run "$bin/initdb" --no-sync -A scram-sha-256 --pwfile "$dir/password" \
            -U postgres -E UTF8 --locale=C -D "$data"
        ;;
    start) run "$bin/postgres" -D "$data" -c port="$port" ;;
    esac
done

if [ -n "$begun" ]; then
    finish INT 200
    finish QUIT 140
    [ -e "$dir/exited" ] || signal_postmaster KILL
    signal_all KILL
fi
rm -rf "$dir" 2>/dev/null || { sleep 1; rm -rf "$dir"; }
"#;
