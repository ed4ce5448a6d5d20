//! The string as a whole: what it must have, and what it comes to.

mod canonical;
mod fuzz;
mod parameters;
mod secrecy;
mod servers;
mod settings;
mod syntax;
mod tls;

use super::*;

fn dsn(text: &str) -> Dsn {
    Dsn::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match Dsn::parse(text) {
        Ok(dsn) => panic!("{text} is accepted as {dsn}"),
        Err(error) => error.to_string(),
    }
}

fn password(text: &str) -> String {
    let password = dsn(text).password.map(|password| password.reveal().to_owned());
    password.unwrap_or_default()
}

/// Host, address and port of every server, absent parts empty.
fn servers(text: &str) -> String {
    let server = |at: &HostPort| {
        let address = at.hostaddr.map_or_else(String::new, |addr| addr.to_string());
        format!("{}/{address}/{}", at.host.as_deref().unwrap_or(""), at.port)
    };
    dsn(text).hosts.iter().map(server).collect::<Vec<_>>().join(" ")
}

#[test]
fn host_and_user_suffice_and_the_rest_has_defaults() {
    let dsn = dsn("host=db user=u");
    assert_eq!(
        dsn,
        Dsn {
            hosts: vec![HostPort { host: Some("db".into()), hostaddr: None, port: 5432 }],
            dbname: "u".into(),
            user: "u".into(),
            password: None,
            tls: TlsKeys {
                mode: SslMode::Prefer,
                negotiation: SslNegotiation::Postgres,
                root: None,
                client: None,
                channel_binding: ChannelBinding::Prefer,
            },
            require_auth: None,
            target_session: TargetSession::Any,
            connect_timeout: None,
            application_name: None,
            options: None,
            parameters: BTreeMap::new(),
            keepalives: true,
            keepalives_idle: None,
            keepalives_interval: None,
            keepalives_retries: None,
            tcp_user_timeout: None,
            pool: PoolKeys::default(),
        }
    );
}

#[test]
fn every_key_reaches_its_field() {
    let dsn = dsn("host=db hostaddr=10.0.0.1 port=6432 dbname=d user=u password=p \
         sslmode=require channel_binding=disable sslnegotiation=direct sslrootcert=r.pem \
         sslcert=c.pem sslkey=k.pem require_auth=none,md5 target_session_attrs=primary gssencmode=disable \
         client_encoding=utf-8 search_path=s my.app=x connect_timeout=7 application_name=a options='-c x=1' \
         keepalives=0 keepalives_idle=1 keepalives_interval=2 keepalives_count=3 \
         tcp_user_timeout=1500 pool_max_conns=9 pool_min_conns=0 \
         pool_max_conn_lifetime=1h30m pool_max_conn_idle_time=5m \
         pool_max_conn_lifetime_jitter=300ms pool_health_check_period=9s");
    assert_eq!(dsn.hosts[0].hostaddr, Some([10, 0, 0, 1].into()));
    assert_eq!((dsn.hosts[0].port, dsn.dbname.as_str()), (6432, "d"));
    assert_eq!(dsn.password, Some(Secret("p".into())));
    assert_eq!(
        dsn.tls,
        TlsKeys {
            mode: SslMode::Require,
            negotiation: SslNegotiation::Direct,
            root: Some(RootCert::File("r.pem".into())),
            client: Some(ClientCert { cert: "c.pem".into(), key: "k.pem".into() }),
            channel_binding: ChannelBinding::Disable,
        }
    );
    let auth = dsn.require_auth.expect("it is given");
    assert!(auth.allows(AuthMethod::None) && auth.allows(AuthMethod::Md5));
    assert_eq!(dsn.target_session, TargetSession::Primary);
    let parameters = [("my.app".into(), "x".into()), ("search_path".into(), "s".into())];
    assert_eq!(dsn.parameters, BTreeMap::from(parameters));
    assert_eq!(dsn.connect_timeout, Some(Duration::from_secs(7)));
    assert_eq!(dsn.application_name.as_deref(), Some("a"));
    assert_eq!(dsn.options.as_deref(), Some("-c x=1"));
    assert!(!dsn.keepalives);
    assert_eq!(dsn.keepalives_idle, Some(Duration::from_secs(1)));
    assert_eq!(dsn.keepalives_interval, Some(Duration::from_secs(2)));
    assert_eq!(dsn.keepalives_retries, Some(3));
    assert_eq!(dsn.tcp_user_timeout, Some(Duration::from_millis(1500)));
    assert_eq!((dsn.pool.max_conns, dsn.pool.min_conns), (Some(9), Some(0)));
    assert_eq!(dsn.pool.max_conn_lifetime, Some(Duration::from_secs(5400)));
    assert_eq!(dsn.pool.max_conn_idle_time, Some(Duration::from_secs(300)));
    assert_eq!(dsn.pool.max_conn_lifetime_jitter, Some(Duration::from_millis(300)));
    assert_eq!(dsn.pool.health_check_period, Some(Duration::from_secs(9)));
}

#[test]
fn the_last_of_equal_keys_wins() {
    assert_eq!(servers("host=a port=x host=b user=u port=1"), "b//1");
    assert_eq!(password("postgres://u:one@h/?password=two"), "two");
}

#[test]
fn what_is_required_must_be_there() {
    assert_eq!(error(""), "dsn is required");
    assert_eq!(error(" \n"), "dsn is required");
    for text in ["user=u", "host='' user=u", "host=a,,b user=u", "postgres://u@/d"] {
        assert_eq!(error(text), "host is required");
    }
    assert_eq!(error("host=h"), "user is required");
    assert_eq!(error("host=h user="), "user is required");
}

#[test]
fn the_length_is_limited() {
    let padded = |length| format!("{:length$}", "host=h user=u");
    assert!(Dsn::parse(&padded(8192)).is_ok());
    assert_eq!(error(&padded(8193)), "dsn must not be longer than 8192 bytes");
}
