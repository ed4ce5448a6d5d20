//! The texts by which two DSNs are distinguished.

use super::dsn;

#[test]
fn canonical_texts_agree_for_equal_dsns_only() {
    let base = dsn("host=h user=u password=p");
    let same = dsn("postgres://u:p@h:5432/u?sslmode=prefer&keepalives=1");
    assert_eq!(base.canonical(), same.canonical());
    let others = [
        "host=h user=u",
        "host=h user=u password=q",
        "host=g user=u password=p",
        "host=h hostaddr=::1 user=u password=p",
        "host=h user=u password=p port=1",
        "host=h user=u password=p dbname=d",
        "host=h user=v dbname=u password=p",
        "host=h user=u password=p sslmode=require",
        "host=h user=u password=p sslmode=require sslrootcert=a",
        "host=h user=u password=p sslmode=require sslrootcert=b",
        "host=h user=u password=p sslmode=verify-ca sslrootcert=a",
        "host=h user=u password=p sslrootcert=system",
        "host=h user=u password=p sslmode=verify-full sslrootcert=a",
        "host=h user=u password=p sslmode=require sslnegotiation=direct",
        "host=h user=u password=p sslcert=a sslkey=b",
        "host=h user=u password=p sslcert=a sslkey=a",
        "host=h user=u password=p target_session_attrs=primary",
        "host=h user=u password=p search_path=a",
        "host=h user=u password=p my.app=a",
        "host=h user=u password=p pool_health_check_period=1s",
        "host=h user=u password=p channel_binding=require",
        "host=h user=u password=p require_auth=md5",
        "host=h user=u password=p require_auth=!md5",
        "host=h user=u password=p require_auth=none,md5",
        "host=h user=u password=p connect_timeout=1",
        "host=h user=u password=p application_name=a",
        "host=h user=u password=p options=a",
        "host=h user=u password='p\\' options=\\'a'",
        "host=h user=u password=p options=\\'a\\'",
        "host=h user=u password=p keepalives=0",
        "host=h user=u password=p keepalives_idle=1",
        "host=h user=u password=p keepalives_interval=1",
        "host=h user=u password=p keepalives_count=1",
        "host=h user=u password=p tcp_user_timeout=1",
        "host=h user=u password=p pool_max_conns=1",
        "host=h user=u password=p pool_min_conns=1",
        "host=h user=u password=p pool_max_conn_lifetime=1s",
        "host=h user=u password=p pool_max_conn_idle_time=1s",
        "host=h user=u password=p pool_reset=close",
        "host=h user=u password=p pool_max_conn_lifetime_jitter=1s",
    ];
    let mut texts: Vec<_> = others.iter().map(|text| dsn(text).canonical()).collect();
    texts.push(base.canonical());
    let count = texts.len();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), count);
}

#[test]
fn the_target_is_hosts_ports_database_and_user() {
    let target = dsn("host=h user=u password=hunter2 options=x").target_canonical();
    assert_eq!(target, "host='h' port='5432' dbname='u' user='u'");
    assert_eq!(target, dsn("postgres://u:other@h?sslmode=disable").target_canonical());
    assert_ne!(target, dsn("postgres://u:other@h:1").target_canonical());
}

#[test]
fn keys_that_differ_are_named_and_no_word_is_said_of_the_password() {
    let base = dsn("host=h user=u password=p my.app=1");
    for (other, keys) in [
        ("postgres://u:p@h/u?my.app=1&port=5432", vec![]),
        ("host=h user=u password=q my.app=1", vec![]),
        ("host=h user=u my.app=1 application_name=a", vec![]),
        ("host=g port=1 user=u password=p my.app=1", vec!["host", "port"]),
        ("host=g port=1 user=u password=q my.app=1", vec!["host", "port"]),
        ("host=h hostaddr=::1 user=u password=p my.app=1", vec!["hostaddr"]),
        ("host=h user=v dbname=u password=p my.app=1", vec!["user"]),
        ("host=h user=u password=p my.app=2", vec!["my.app"]),
        ("host=h user=u my.other=2 sslmode=require", vec!["my.app", "my.other", "sslmode"]),
        ("host=h user=u my.app=1 pool_max_conns=3 options=x", vec!["options", "pool_max_conns"]),
    ] {
        let other = dsn(other);
        for mut said in [base.differing(&other), other.differing(&base)] {
            said.sort();
            assert_eq!(said, keys, "{other}");
        }
    }
}
