//! Many logins at once, over TLS: each has what it takes to itself, and leaves nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};

use crate::harness::{acquire_later, answer, eventually, request, tenant, Service, Tenant};

/// The ports of this machine at which the service listens.
fn listens_at(service: &Service) -> BTreeSet<u16> {
    let listening = |file: &str| {
        let table = std::fs::read_to_string(format!("/proc/{}/net/{file}", service.pid())).unwrap();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        // 0A is LISTEN; the tenth field is the inode.
        let rows = rows.filter(|fields| fields[3] == "0A");
        let port = |local: &str| u16::from_str_radix(local.rsplit(':').next().unwrap(), 16);
        rows.map(|fields| (fields[9].to_owned(), port(fields[1]).unwrap())).collect::<Vec<_>>()
    };
    let files = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    let own: BTreeSet<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let all = listening("tcp").into_iter().chain(listening("tcp6"));
    let is_own = |inode: &str| own.contains(&format!("socket:[{inode}]"));
    all.filter(|(inode, _)| is_own(inode)).map(|(_, port)| port).collect()
}

#[test]
fn a_hundred_logins_at_once_succeed_and_nothing_listens_afterwards() {
    let service = Service::start();
    let own = BTreeSet::from([service.port, service.http_port]);
    assert_eq!(listens_at(&service), own);
    let encrypted = |tenant: Tenant| Tenant { dsn: tenant.dsn + " sslmode=require", ..tenant };
    let tenants: Vec<Tenant> = (0..5).map(|_| encrypted(tenant().pool_of(20))).collect();
    for round in 0..2 {
        let client = service.client();
        let calls: Vec<_> = tenants
            .iter()
            .flat_map(|tenant| (0..20).map(|_| acquire_later(&client, &request(tenant))))
            .collect();
        let leases: Vec<_> = calls.into_iter().map(|call| answer(call).expect("a lease")).collect();
        let pids: BTreeSet<i32> = leases.iter().map(|lease| lease.lease.backend_pid).collect();
        assert_eq!(pids.len(), 100);
        let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) \
                         where ssl and datname = current_database() \
                         and application_name like 'connpool/%'";
        for tenant in &tenants {
            assert_eq!(tenant.sql(encrypted), "20");
        }
        for lease in &leases {
            client.run(&lease.connection_id, &["select 1"]).unwrap();
        }
        assert_eq!(listens_at(&service), own, "round {round}");
        for lease in &leases {
            client.release_with(&lease.connection_id, true).unwrap();
        }
        for tenant in &tenants {
            service.wait_quiet(&tenant.name);
            tenant.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity \
                 where datname = current_database() and application_name like 'connpool/%'",
            );
            eventually("all are gone", || tenant.backends() == 0);
        }
    }
}

#[test]
fn a_login_that_fails_leaves_nothing_that_listens() {
    let service = Service::start();
    let own = BTreeSet::from([service.port, service.http_port]);
    // Nobody there, nobody who answers, and a wrong password.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mute = mute.local_addr().unwrap().port();
    let right = tenant();
    let wrong = right.dsn.replace("secret-of", "secret");
    assert_ne!(wrong, right.dsn);
    let local = |port| format!("host=127.0.0.1 port={port} user=u password=p connect_timeout=2");
    for (name, dsn) in [("nobody", local(1)), ("mute", local(mute)), ("wrong", wrong)] {
        let (name, password) = (name.to_owned(), String::new());
        let tenant = Tenant { name, password, dsn };
        let client = service.client();
        let calls: Vec<_> = (0..20).map(|_| acquire_later(&client, &request(&tenant))).collect();
        for call in calls {
            assert!(answer(call).is_err(), "{}", tenant.name);
        }
    }
    eventually("nothing else listens", || listens_at(&service) == own);
}
