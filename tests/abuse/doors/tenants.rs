//! Another tenant's door, with the right key of one's own.

use connection_pool_manager::client::service::Client;

use super::{assert_unknown, causes, file, identities, knock, one_shot, OPS, SHOP};
use crate::harness::pki::Authority;
use crate::harness::{code, refused, tenant, Service, Tenant};

/// A tenant as clients know it that the service knows by its name.
fn named(tenant: &Tenant) -> Tenant {
    Tenant { dsn: String::new(), ..tenant.clone() }
}

/// A file in which `shop` may use the first tenant, and everybody the second.
fn guarded(first: &Tenant, second: &Tenant) -> String {
    format!(
        "{}[tenants.{}]\ndsn = \"{}\"\nidentities = [\"shop\"]\n\
         [tenants.{}]\ndsn = \"{}\"\nanonymous = true\n",
        identities(),
        first.name,
        first.dsn,
        second.name,
        second.dsn
    )
}

#[track_caller]
fn assert_shut(client: &Client, tenant: &Tenant) {
    let errors = knock(client, tenant);
    let one = (code::PERMISSION_DENIED, "PERMISSION_DENIED".to_owned(), "tenant_denied".to_owned());
    assert_eq!(causes(&errors), vec![one; errors.len()]);
}

#[test]
fn a_known_caller_is_denied_at_a_tenant_of_others_as_at_one_that_does_not_exist() {
    let (sales, open) = (named(&tenant()), named(&tenant()));
    let whole = |one: &Tenant| {
        let dsn =
            crate::harness::postgres().tenant_dsn(&one.name, &format!("secret-of-{}", one.name));
        Tenant { dsn, ..one.clone() }
    };
    let (_dir, path) = file(&guarded(&whole(&sales), &whole(&open)));
    let service = Service::with(&["--config", path.to_str().unwrap()]).with_token(SHOP);
    let ops = service.nameless().with_token(OPS).unwrap();
    let nobody = service.nameless();
    assert_shut(&ops, &sales);
    assert_unknown(&knock(&nobody, &sales), "no_credentials");
    // Whether there is such a tenant is not told, and a right DSN opens nothing.
    let unknown = Tenant { name: "unknown".to_owned(), ..sales.clone() };
    assert_shut(&ops, &unknown);
    assert_unknown(&knock(&nobody, &unknown), "no_credentials");
    let words = |tenant: &Tenant| {
        refused(ops.execute(&one_shot(tenant))).message.replace(&tenant.name, "T")
    };
    assert_eq!(words(&sales), words(&unknown));
    // The operator is told which tenant it was.
    for tenant in [&sales, &unknown] {
        let name = &tenant.name;
        let line = service.log().wait_for(&format!("reason=tenant_denied tenant={name} "));
        assert!(line.contains(" identity=ops"), "{line}");
    }
    assert_shut(&ops, &whole(&sales));
    // Everybody is let in where everybody may be.
    ops.execute(&one_shot(&open)).expect("it is open to all");
    nobody.execute(&one_shot(&open)).expect("it is open to all");
    assert_eq!(service.lease(&sales).value("select 7"), "7");
    // Each is told of the tenants it may use.
    let seen = |client: &Client| {
        let rows = client.health("").unwrap().tenants;
        rows.into_iter().map(|row| row.tenant_id).collect::<Vec<_>>()
    };
    assert_eq!(seen(&nobody), [&*open.name]);
    assert_eq!(seen(&ops), [&*open.name]);
    assert_eq!(seen(&service.client()).len(), 2);
}

#[test]
fn the_right_certificate_for_another_tenant_opens_nothing_here() {
    let (sales, stock) = (tenant(), tenant());
    let authority = Authority::new("clients");
    let text = format!(
        "[identities.\"team/sales\"]\ncertificates = [\"spiffe://x/sales\"]\n\
         [identities.\"team/stock\"]\ncertificates = [\"spiffe://x/stock\"]\n\
         [tenants.{}]\ndsn = \"{}\"\nidentities = [\"team/sales\"]\n\
         [tenants.{}]\ndsn = \"{}\"\nidentities = [\"team/*\"]\n",
        sales.name, sales.dsn, stock.name, stock.dsn
    );
    let (dir, path) = file(&text);
    let ca = dir.path().join("clients.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let arguments = ["--config", path.to_str().unwrap(), "--client-ca", ca.to_str().unwrap()];
    let service = Service::with(&arguments);
    let of = |name: &str| {
        service.client_with(&authority.client_named("x", &[&format!("spiffe://x/{name}")], 1))
    };
    let (sales, stock) = (named(&sales), named(&stock));
    assert_shut(&of("stock"), &sales);
    assert_unknown(&knock(&of("nobody"), &sales), "unlisted_certificate");
    for (name, tenant) in [("sales", &sales), ("sales", &stock), ("stock", &stock)] {
        of(name).execute(&one_shot(tenant)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
