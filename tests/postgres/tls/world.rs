//! A PostgreSQL with certificates of its own, and the files for its clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use connection_pool_manager::embedded::{Embedded, Options};
use rustix::process::{kill_process, Pid, Signal};

use crate::harness::pki::{Authority, Pair};
use crate::harness::{eventually, tenant_on, Service, Tenant};

pub struct World {
    pub postgres: Embedded,
    /// What `--dsn-cert-dir` names.
    pub dir: tempfile::TempDir,
    pub tenant: Tenant,
    pub ours: Authority,
}

/// The first line that fits counts. Databases are named after what they ask for.
const HBA: &str = "\
hostssl wants_cert all 127.0.0.1/32 cert
hostssl wants_both all 127.0.0.1/32 scram-sha-256 clientcert=verify-full
host clear all 127.0.0.1/32 password
host hashed all 127.0.0.1/32 md5
host all all 127.0.0.1/32 scram-sha-256
";

impl World {
    /// Its server's certificate ends so many days from now.
    pub fn new(days: i64) -> World {
        let postgres = Embedded::start(Options::default()).expect("PostgreSQL starts");
        let tenant = tenant_on(&postgres);
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let world = World { postgres, dir: tempfile::tempdir().unwrap(), tenant, ours };
        let (ours, name) = (&world.ours, &world.tenant.name);
        world.file("ca.pem", &ours.pem(), 0o644);
        world.file("other-ca.pem", &theirs.pem(), 0o644);
        world.file("noise.pem", b"nothing of the kind\n", 0o644);
        world.client("client", &ours.client(name), 0o600);
        world.client("exposed", &ours.client(name), 0o644);
        world.client("stranger", &ours.client("somebody_else"), 0o600);
        world.client("foreign", &theirs.client(name), 0o600);
        let locked = ours.client(name);
        world.client("locked", &locked, 0o600);
        world.file("locked.key", &locked.locked_key_pem(), 0o600);
        for database in ["wants_cert", "wants_both", "clear", "hashed"] {
            let sql = format!("create database {database} owner {name}");
            world.postgres.sql("postgres", &sql).unwrap();
        }
        let md5 = "set password_encryption = 'md5'; create role hashed login password 'h'";
        world.postgres.sql("postgres", md5).unwrap();
        world.serve(days);
        world
    }

    /// Gives the server its certificate and its rules, and waits until it has them.
    fn serve(&self, days: i64) {
        let sql = |sql: &str| self.postgres.sql("postgres", sql).unwrap().trim().to_owned();
        let cert = self.postgres.ca_file();
        let clients = cert.with_file_name("clients.pem");
        fs::write(&clients, self.ours.pem()).unwrap();
        sql(&format!("alter system set ssl_ca_file = '{}'", clients.display()));
        let loaded = "select pg_conf_load_time()";
        let before = sql(loaded);
        let pair = self.ours.server("localhost", &["localhost", "*.db.example"], days);
        fs::write(self.postgres.data_dir().join("pg_hba.conf"), HBA).unwrap();
        fs::write(cert.with_file_name("key.pem"), pair.key_pem()).unwrap();
        fs::write(cert, &pair.cert).unwrap();
        let postmaster = Pid::from_raw(self.postgres.postmaster_pid().unwrap()).unwrap();
        kill_process(postmaster, Signal::HUP).unwrap();
        if days > 0 {
            eventually("the certificate is loaded", || {
                self.postgres.sql("postgres", loaded).is_ok_and(|now| now.trim() != before)
            });
        }
    }

    pub fn file(&self, name: &str, content: &[u8], mode: u32) {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn client(&self, name: &str, pair: &Pair, mode: u32) {
        self.file(&format!("{name}.pem"), &pair.cert, 0o644);
        self.file(&format!("{name}.key"), &pair.key_pem(), mode);
    }

    /// A DSN with these keys, which win over those before them.
    pub fn dsn(&self, keys: &str) -> String {
        format!("{} pool_max_conns=1 pool_min_conns=0 {keys}", self.tenant.dsn)
    }

    /// A service that may read the files.
    pub fn service(&self) -> Service {
        Service::with(&["--dsn-cert-dir", self.dir.path().to_str().unwrap()])
    }
}
