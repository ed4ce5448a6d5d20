//! PgBouncer, the peer: transaction mode, SCRAM, TLS on both sides.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use connection_pool_manager::dev_certs;
use connection_pool_manager::embedded::Embedded;

use crate::bench::{NAME, PASSWORD, POOL};
use crate::harness::now;
use crate::machine::{ends_with_us, find_program, pause};
use crate::Answer;

pub struct PgBouncer {
    child: Child,
    pub port: u16,
    pub version: String,
    _files: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts it; `None` if it is not installed.
    pub fn start(postgres: &Embedded) -> Answer<Option<PgBouncer>> {
        let Some(program) = find_program("pgbouncer") else { return Ok(None) };
        let said = Command::new(&program).arg("--version").output()?;
        let said = String::from_utf8_lossy(&said.stdout);
        let version = said.lines().next().unwrap_or_default().to_owned();
        let files = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let account = account();
        configure(&files, port, postgres, account)?;
        // Its user may not reach it where it lies.
        let copy = files.path().join("pgbouncer");
        fs::copy(&program, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        let mut command = ends_with_us(&copy, account);
        let ini = files.path().join("pgbouncer.ini");
        command.arg("-q").arg(ini).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let until = now() + Duration::from_secs(10);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if child.try_wait()?.is_some() || now() >= until {
                let _ = child.kill();
                let log = fs::read_to_string(files.path().join("log")).unwrap_or_default();
                return Err(format!("PgBouncer does not listen: {log}").into());
            }
            pause(Duration::from_millis(20));
        }
        Ok(Some(PgBouncer { child, port, version, _files: files }))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and group to run it as: it refuses to be root.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut nobody = fields.filter(|fields| fields.first() == Some(&"nobody"));
    let fields = nobody.next()?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

fn configure(
    files: &tempfile::TempDir,
    port: u16,
    postgres: &Embedded,
    account: Option<(u32, u32)>,
) -> Answer<()> {
    let directory = files.path();
    let certs = dev_certs::write(directory, &["localhost", "127.0.0.1"])?;
    // What PostgreSQL itself keeps: with the password in clear each login would be derived
    // anew, which costs milliseconds.
    let secret = postgres
        .sql("postgres", &format!("select rolpassword from pg_authid where rolname = '{NAME}'"))?;
    let users = directory.join("users.txt");
    fs::write(&users, format!("\"{NAME}\" \"{}\"\n", secret.trim()))?;
    let ini = directory.join("pgbouncer.ini");
    let text = format!(
        "[databases]\n\
         {NAME} = host=127.0.0.1 port={} user={NAME} password={PASSWORD}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = scram-sha-256\nauth_file = {}\n\
         client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n\
         server_tls_sslmode = require\n\
         pool_mode = transaction\ndefault_pool_size = {POOL}\nmax_client_conn = 500\n\
         ignore_startup_parameters = extra_float_digits\n\
         logfile = {}\nlog_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n",
        postgres.port(),
        users.display(),
        certs.cert.display(),
        certs.key.display(),
        directory.join("log").display(),
    );
    fs::write(&ini, text)?;
    for file in [&directory.to_path_buf(), &users, &ini, &certs.cert, &certs.key] {
        give(file, account)?;
    }
    Ok(())
}

fn give(file: &PathBuf, account: Option<(u32, u32)>) -> Answer<()> {
    let mode = if file.is_dir() { 0o700 } else { 0o600 };
    fs::set_permissions(file, fs::Permissions::from_mode(mode))?;
    if let Some((user, group)) = account {
        chown(file, Some(user), Some(group))?;
    }
    Ok(())
}
