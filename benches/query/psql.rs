//! psql, the peer: what reading a table takes without the service.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::harness::Tenant;

/// A psql that keeps running, so that no figure includes its start.
pub struct Psql {
    child: Child,
    said: BufReader<ChildStderr>,
    pub backend: u32,
    pub cipher: String,
}

pub const OWN_CIPHER: &str = "from pg_stat_ssl where pid = pg_backend_pid()";

impl Psql {
    pub fn start(tenant: &Tenant) -> Psql {
        let mut child = Command::new("psql")
            .args(["-XAtq", "-d", &format!("{} sslmode=require", tenant.dsn)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql is in PATH");
        let said = BufReader::new(child.stderr.take().unwrap());
        let mut psql = Psql { child, said, backend: 0, cipher: String::new() };
        let own = format!("select pid, version, cipher {OWN_CIPHER} \\gset\n");
        let said = psql.ask(&format!("{own}\\warn :pid :version :cipher"));
        let (pid, cipher) = said.split_once(' ').unwrap();
        psql.backend = pid.parse().unwrap();
        psql.cipher = cipher.to_owned();
        psql
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs a command that ends with a line on its standard error.
    fn ask(&mut self, commands: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{commands}").unwrap();
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn copy(&mut self) {
        let said = self.ask("\\copy pgbench_accounts to /dev/null\n\\warn copied");
        assert_eq!(said, "copied");
    }
}

impl Drop for Psql {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
