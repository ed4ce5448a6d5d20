//! A client with tonic and rustls: a one-shot, a lease with a transaction, a session, and
//! what a failed call says.
//!
//! Usage: tonic-client ADDRESS TRUSTED-PEM TENANT DSN

mod failure;

/// What is generated from the service's proto files.
mod proto {
    #![allow(dead_code, clippy::all)]

    /// The service's own.
    pub mod connectionpool {
        tonic::include_proto!("connectionpool");
    }
    /// Google's, which errors are made of.
    pub mod google {
        /// As in `google/rpc/*.proto`.
        pub mod rpc {
            tonic::include_proto!("google.rpc");
        }
    }
}

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic::{Request, Status};

use proto::connectionpool::connection_pool_service_client::ConnectionPoolServiceClient as Pool;
use proto::connectionpool::sql_service_client::SqlServiceClient as Sql;
use proto::connectionpool::{
    session_executed, session_request, session_response, value, ConnectionRelease,
    ConnectionRequest, ExecuteRequest, ExecuteResponse, SessionClose, SessionExecute,
    SessionRequest, Statement, Value,
};

/// How long a call may take that never has to wait for long.
const CALL: Duration = Duration::from_secs(15);
/// The service lets a caller wait its turn for 30 s.
const ACQUIRE: Duration = Duration::from_secs(40);

/// Where to connect to, and as whom.
struct Target {
    tenant: String,
    dsn: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
    let (address, trusted) = (next("ADDRESS")?, std::fs::read(next("TRUSTED-PEM")?)?);
    let target = Target { tenant: next("TENANT")?, dsn: next("DSN")? };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Only `source()` says what is wrong with a certificate.
        let channel = connect(&address, &trusted).await.map_err(|error| failure::whole(&*error))?;
        let walked = walk(&channel, &target).await;
        walked.map_err(|status| format!("failed: {}", failure::told(&status)).into())
    })
}

async fn connect(address: &str, trusted: &[u8]) -> Result<Channel, Box<dyn Error>> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted));
    let endpoint = Channel::from_shared(format!("https://{address}"))?.tls_config(tls)?;
    Ok(endpoint.connect_timeout(CALL).connect().await?)
}

async fn walk(channel: &Channel, target: &Target) -> Result<(), Status> {
    one_shot(channel, target).await?;
    lease(channel, target).await?;
    session(channel, target).await
}

/// One call, nothing to give back.
async fn one_shot(channel: &Channel, target: &Target) -> Result<(), Status> {
    let answer = Sql::new(channel.clone())
        .execute(within(
            ACQUIRE,
            ExecuteRequest {
                tenant_id: target.tenant.clone(),
                dsn: target.dsn.clone(),
                statements: vec![Statement {
                    sql: "select $1::int + 1, $2::text".to_owned(),
                    parameters: vec![int(41), text("a one-shot")],
                }],
                ..ExecuteRequest::default()
            },
        ))
        .await?;
    println!("one-shot: {}", rows(answer.get_ref()));
    Ok(())
}

/// A lease, with a transaction of the client's own. It is released whatever happens.
async fn lease(channel: &Channel, target: &Target) -> Result<(), Status> {
    let mut pool = Pool::new(channel.clone());
    let request = ConnectionRequest {
        tenant_id: target.tenant.clone(),
        dsn: target.dsn.clone(),
        holder: "tonic".to_owned(),
        ..ConnectionRequest::default()
    };
    let granted = pool.get_connection(within(ACQUIRE, request)).await?.into_inner();
    let used = transaction(channel, &granted.connection_id).await;
    let release = ConnectionRelease { connection_id: granted.connection_id, force: false };
    let released = pool.release_connection(within(CALL, release)).await?;
    println!("released: {}", released.get_ref().outcome().as_str_name());
    used
}

async fn transaction(channel: &Channel, connection_id: &str) -> Result<(), Status> {
    let mut sql = Sql::new(channel.clone());
    let mut run = async |sql_text: &str, parameters: Vec<Value>| {
        let request = ExecuteRequest {
            connection_id: connection_id.to_owned(),
            statements: vec![Statement { sql: sql_text.to_owned(), parameters }],
            ..ExecuteRequest::default()
        };
        sql.execute(within(CALL, request)).await.map(tonic::Response::into_inner)
    };
    run("create temporary table account (name text primary key, balance numeric)", vec![]).await?;
    run("begin", vec![]).await?;
    let insert = "insert into account values ($1, $2)";
    // Text fits a parameter of every type.
    run(insert, vec![text("alice"), text("90.50")]).await?;
    let inside = run("select name, balance from account", vec![]).await?;
    println!("in a transaction: {} {}", rows(&inside), state(&inside));
    let after = run("commit", vec![]).await?;
    println!("after commit: {}", state(&after));
    match run(insert, vec![text("alice"), text("1")]).await {
        Ok(_) => println!("the same name twice"),
        Err(status) => println!("failed: {}", failure::told(&status)),
    }
    Ok(())
}

/// A stream that is a lease: it ends with the stream. Requests need not wait for answers.
async fn session(channel: &Channel, target: &Target) -> Result<(), Status> {
    use session_request::Kind;
    let open = ConnectionRequest {
        tenant_id: target.tenant.clone(),
        dsn: target.dsn.clone(),
        holder: "tonic".to_owned(),
        ..ConnectionRequest::default()
    };
    let execute = |id, sql: &str| {
        let statements = vec![Statement { sql: sql.to_owned(), parameters: vec![] }];
        Kind::Execute(SessionExecute { id, statements, ..SessionExecute::default() })
    };
    let requests = [
        Kind::Open(open),
        execute(1, "select 'one'"),
        execute(2, "select 1/0"),
        execute(3, "select 'three'"),
        Kind::Close(SessionClose {}),
    ];
    let requests = requests.map(|kind| SessionRequest { kind: Some(kind) });
    let requests = within(ACQUIRE, tokio_stream::iter(requests));
    let mut answers = Sql::new(channel.clone()).session(requests).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        match answer.kind {
            Some(session_response::Kind::Opened(_)) => println!("session: opened"),
            Some(session_response::Kind::Executed(executed)) => {
                let outcome = match executed.outcome {
                    Some(session_executed::Outcome::Response(response)) => rows(&response),
                    Some(session_executed::Outcome::Error(error)) => failure::details(&error),
                    None => "an outcome of a later version".to_owned(),
                };
                println!("session: {} {outcome}", executed.id);
            }
            Some(session_response::Kind::Closed(closed)) => {
                println!("session: closed {}", closed.outcome().as_str_name());
            }
            None => println!("session: an answer of a later version"),
        }
    }
    Ok(())
}

/// A request with a deadline.
fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

fn int(int: i64) -> Value {
    Value { kind: Some(value::Kind::Int(int)) }
}

fn text(text: &str) -> Value {
    Value { kind: Some(value::Kind::Text(text.to_owned())) }
}

fn state(answer: &ExecuteResponse) -> &'static str {
    answer.session.as_ref().map_or("", |session| session.transaction_state().as_str_name())
}

/// The rows of the last statement's result.
fn rows(answer: &ExecuteResponse) -> String {
    let plain = |value: &Value| match &value.kind {
        Some(value::Kind::Text(text)) => text.clone(),
        Some(value::Kind::Int(int)) => int.to_string(),
        other => format!("{other:?}"),
    };
    let rows = answer.results.last().map_or(&[][..], |result| &result.rows);
    let row = |row: &proto::connectionpool::Row| {
        row.values.iter().map(plain).collect::<Vec<_>>().join(", ")
    };
    format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join("], ["))
}
