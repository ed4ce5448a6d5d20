//! `demo`: an ephemeral PostgreSQL with two tenants, the service in front of it,
//! and a walk through a lease before the user's eyes.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use grpcio::EnvBuilder;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::cli::flags::Flags;
use crate::cli::process::guard_memory;
use crate::cli::serve::announce;
use crate::cli::signals::signals;
use crate::cli::{Ran, DEV_NAMES};
use crate::client::service::{text_at, Client, Security};
use crate::config::GrpcTls;
use crate::embedded::{Embedded, Options};
use crate::server::Server;

/// What `demo` takes.
#[derive(Args)]
pub(super) struct DemoFlags {
    /// End after the walk.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    pub(super) serve: Flags,
}

/// The demo's tenants; each has a role and a database of its name.
const TENANTS: [(&str, &str); 2] =
    [("acme", "acme-demo-password"), ("globex", "globex-demo-password")];

/// A certificate's file and what it holds.
type Trust = (PathBuf, Vec<u8>);

/// Starts everything, shows the walk, and serves until a signal.
pub(super) fn run(flags: &DemoFlags) -> Ran {
    let mut config = flags.serve.begin()?.config;
    guard_memory(config.core_dumps);
    // SIGHUP too, so that closing the terminal leaves no PostgreSQL behind.
    let signals = signals(&[SIGHUP, SIGINT, SIGTERM])?;
    println!("Starting an ephemeral PostgreSQL …");
    let postgres = Embedded::start(Options::default())?;
    for (name, password) in TENANTS {
        postgres.create_tenant(name, password)?;
    }
    println!("  port {}, two tenants with a database and a role each", postgres.port());

    // Its walk registers its tenants, whatever a file says of others.
    config.allow_client_dsn = true;
    // The demo's passwords are public.
    config.listen = "127.0.0.1".to_owned();
    config.http.set_ip(Ipv4Addr::LOCALHOST.into());
    if let Some(admin) = &mut config.http_admin {
        admin.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let trust = certificate(&mut config.tls)?;
    let server = Server::start(config)?;
    announce(&server, "127.0.0.1", trust.is_some());

    let environment = Arc::new(EnvBuilder::new().cq_count(1).name_prefix("demo-client").build());
    let address = format!("localhost:{}", server.grpc_port());
    let security = match &trust {
        Some((_, pem)) => Security::Trust(pem),
        None => Security::Insecure,
    };
    let client = Client::new(&environment, &address, &security);
    walk(&client, &postgres)?;

    if !flags.once {
        hints(&server, trust.map(|(path, _)| path), &postgres);
        // The channel closes only if the signal thread is lost, which stops the demo too.
        let _ = signals.recv();
        println!("\nStopping …");
    }
    drop(client);
    server.stop();
    println!("Stopped. The ephemeral PostgreSQL is being removed.");
    Ok(())
}

/// The certificate to trust; made if the default one is not there.
fn certificate(tls: &mut GrpcTls) -> Result<Option<Trust>, Box<dyn Error>> {
    let GrpcTls::Files { cert, key } = tls else {
        return Ok(None);
    };
    if !cert.exists() && !key.exists() {
        let dir = cert.parent().map(PathBuf::from).unwrap_or_default();
        std::fs::create_dir_all(&dir)?;
        let made = crate::dev_certs::ensure(&dir, DEV_NAMES)?;
        (*cert, *key) = (made.cert, made.key);
        println!("  made a development certificate: {}", cert.display());
    }
    let pem = std::fs::read(&*cert).map_err(|e| format!("{}: {e}", cert.display()))?;
    Ok(Some((cert.clone(), pem)))
}

fn walk(client: &Client, postgres: &Embedded) -> Ran {
    let [(acme, acme_password), (globex, globex_password)] = TENANTS;
    lease(client, acme, &postgres.tenant_dsn(acme, acme_password))?;
    second_tenant(client, globex, &postgres.tenant_dsn(globex, globex_password))?;
    statistics(client)
}

fn lease(client: &Client, tenant: &str, dsn: &str) -> Ran {
    println!("\nGetConnection(tenant_id={tenant:?}, dsn=…)");
    let granted = client.acquire(tenant, dsn)?;
    let lease = granted.lease.get_or_default();
    println!(
        "  {}: backend pid {}, fencing token {}",
        lease.lease_name, lease.backend_pid, lease.fencing_token
    );
    let id = &granted.connection_id;
    for _ in 0..2 {
        let answer = client.run(id, &["select pg_backend_pid()"])?;
        println!("Execute(select pg_backend_pid())  ->  {}", text_at(&answer, 0, 0, 0));
    }
    for sql in [
        "create table if not exists account (name text primary key, balance numeric)",
        "begin",
        "insert into account values ('alice', 100.50), ('bob', 7)",
        "select sum(balance) from account",
        "commit",
    ] {
        let answer = client.run(id, &[sql])?;
        let result = answer.results.first().cloned().unwrap_or_default();
        let shown = match result.rows.is_empty() {
            true => String::new(),
            false => format!("  value {}", text_at(&answer, 0, 0, 0)),
        };
        println!(
            "Execute({sql})\n    ->  {}{shown}  transaction {:?}",
            result.command_tag,
            answer.session.transaction_state.enum_value_or_default()
        );
    }
    let released = client.release(id)?;
    println!("ReleaseConnection  ->  {:?}", released.outcome.enum_value_or_default());
    let again = client.run(id, &["select 1"]);
    println!(
        "Execute on the ended lease  ->  {}",
        again.err().map_or("(no error?)".into(), |e| e.to_string())
    );
    Ok(())
}

fn second_tenant(client: &Client, tenant: &str, dsn: &str) -> Ran {
    println!("\nThe second tenant has its own pool and database:");
    let granted = client.acquire(tenant, dsn)?;
    let id = &granted.connection_id;
    let answer = client.run(id, &["select current_database(), current_user"])?;
    println!("  {} as {}", text_at(&answer, 0, 0, 0), text_at(&answer, 0, 0, 1));
    client.release(id)?;
    Ok(())
}

fn statistics(client: &Client) -> Ran {
    println!("\nGetPoolStats:");
    for (name, _) in TENANTS {
        let stats = client.stats(name)?;
        println!(
            "  {name}: {} connections ({} idle, {} opening, {} in use or being reset) of {}, {} leases, {} acquired so far",
            stats.total_connections,
            stats.idle_connections,
            stats.opening,
            stats.total_connections - stats.idle_connections - stats.opening,
            stats.max_connections,
            stats.leases,
            stats.acquire_count
        );
    }
    Ok(())
}

fn hints(server: &Server, cert: Option<PathBuf>, postgres: &Embedded) {
    let (name, password) = TENANTS[0];
    let cert = cert.map_or("--insecure".to_owned(), |path| format!("--cert {}", path.display()));
    println!(
        "\nServing until Ctrl-C. Try:\n  \
         curl http://localhost:{http}/health\n  \
         curl http://localhost:{http}/metrics\n  \
         python3 examples/lease.py --port {grpc} {cert} \\\n      \
         --tenant {name} --dsn '{dsn}'",
        http = server.http_address().port(),
        grpc = server.grpc_port(),
        dsn = postgres.tenant_dsn(name, password),
    );
}
