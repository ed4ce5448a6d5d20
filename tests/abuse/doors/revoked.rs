//! Who is struck out of the file.

use connection_pool_manager::proto::sql::listen_response::Kind;
use connection_pool_manager::proto::sql::ListenRequest;
use rustix::process::Signal;

use super::{assert_unknown, digest, file, identities, knock, OPS, SHOP};
use crate::harness::{code, refused, request, tenant, Service};

#[test]
fn who_is_struck_out_of_the_file_ends_with_its_next_step_and_others_go_on() {
    let tenant = tenant();
    let (_dir, path) = file(&identities());
    let service = Service::with(&["--config", path.to_str().unwrap()]).with_token(SHOP);
    let (shop, ops) = (service.client(), service.nameless().with_token(OPS).unwrap());
    let lease = service.lease(&tenant);
    let (mut session, _) = shop.open_session(request(&tenant)).unwrap();
    let (mut others, _) = ops.open_session(request(&tenant)).unwrap();
    let wanted = ListenRequest {
        tenant_id: tenant.name.clone(),
        dsn: tenant.dsn.clone(),
        channels: vec!["news".to_owned()],
        ..ListenRequest::default()
    };
    let mut listener = shop.listen(&wanted).unwrap();
    let started = listener.next().unwrap().and_then(|message| message.kind);
    assert!(matches!(started, Some(Kind::Started(_))));
    let left = format!("[identities.ops]\ntokens = [{{ sha256 = \"{}\" }}]\n", digest(OPS));
    std::fs::write(&path, left).unwrap();
    service.signal(Signal::HUP);
    service.log().wait_for("event=reloaded ");
    assert_unknown(&knock(&shop, &tenant), "unknown_token");
    assert_eq!(refused(shop.run(&lease.id, &["select 1"])).code, code::UNAUTHENTICATED);
    // What was open ends with its next step.
    // The end may come while the request is still being sent.
    let sent = session.execute(1, &["select 1"]);
    let ended = sent.err().unwrap_or_else(|| refused(session.next()));
    assert_eq!(ended.code, code::UNAUTHENTICATED);
    tenant.sql("notify news");
    assert_eq!(refused(listener.next()).code, code::UNAUTHENTICATED);
    others.execute(1, &["select 1"]).unwrap();
    others.next().unwrap().expect("others go on");
}
