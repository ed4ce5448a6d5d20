//! psql, the peer: what reading a table takes without the service.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::bench::{Bench, NAME, PASSWORD};
use crate::Answer;

/// A psql that keeps running, so that no figure includes its start.
pub struct Psql {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Psql {
    pub fn start(bench: &Bench) -> Answer<Psql> {
        let dsn = format!("{} sslmode=require", bench.postgres.tenant_dsn(NAME, PASSWORD));
        let mut child = Command::new("psql")
            .args(["-XAtq", "-d", &dsn])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let said = BufReader::new(child.stderr.take().ok_or("psql has no standard error")?);
        Ok(Psql { child, said })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads pgbench's accounts.
    pub fn copy(&mut self) -> Answer<()> {
        let stdin = self.child.stdin.as_mut().ok_or("psql has no standard input")?;
        writeln!(stdin, "\\copy pgbench_accounts to /dev/null\n\\warn copied")?;
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        if line.trim() == "copied" {
            return Ok(());
        }
        Err(format!("psql: {line}").into())
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
