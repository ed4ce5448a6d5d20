use super::*;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::X509StoreContext;

fn verifies(cert: &X509, set_name: impl Fn(&mut X509VerifyParam)) -> bool {
    let mut param = X509VerifyParam::new().unwrap();
    set_name(&mut param);
    let mut store = X509StoreBuilder::new().unwrap();
    store.add_cert(cert.clone()).unwrap();
    store.set_param(&param).unwrap();
    let chain = Stack::new().unwrap();
    let mut context = X509StoreContext::new().unwrap();
    context.init(&store.build(), cert, &chain, |context| context.verify_cert()).unwrap()
}

#[test]
fn a_certificate_is_its_own_trust_root_for_its_names_only() {
    let dir = tempfile::tempdir().unwrap();
    let certs = write(dir.path(), &[]).unwrap();
    let cert = X509::from_pem(&fs::read(&certs.cert).unwrap()).unwrap();
    assert!(verifies(&cert, |param| param.set_host("localhost").unwrap()));
    assert!(verifies(&cert, |param| param.set_ip("127.0.0.1".parse().unwrap()).unwrap()));
    assert!(verifies(&cert, |param| param.set_ip("::1".parse().unwrap()).unwrap()));
    assert!(!verifies(&cert, |param| param.set_host("example.com").unwrap()));
}

#[test]
fn the_key_fits_the_certificate_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let certs = write(dir.path(), &["db.internal"]).unwrap();
    let cert = X509::from_pem(&fs::read(&certs.cert).unwrap()).unwrap();
    let key = PKey::private_key_from_pem(&fs::read(&certs.key).unwrap()).unwrap();
    assert!(cert.public_key().unwrap().public_eq(&key));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&certs.key), mode(&certs.cert)), (0o600, 0o644));
}

#[test]
fn an_existing_pair_is_kept_and_half_a_pair_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let made = ensure(dir.path(), &[]).unwrap();
    let before = fs::read(&made.cert).unwrap();
    let again = ensure(dir.path(), &[]).unwrap();
    assert_eq!((again.came, &again.cert), (Came::Kept, &made.cert));
    assert!(matches!(write(dir.path(), &[]), Err(DevCertError::Exists(_))));
    assert_eq!(fs::read(&made.cert).unwrap(), before);

    fs::remove_file(&made.key).unwrap();
    let error = ensure(dir.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("cert.pem") && error.contains("key.pem"), "{error}");
    assert!(write(dir.path(), &[]).is_err());
    assert!(!made.key.exists(), "a failed write leaves no key behind");
}

#[test]
fn a_name_that_is_no_name_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "a,DNS:evil", "two words", "a..b"] {
        assert!(matches!(write(dir.path(), &[name]), Err(DevCertError::BadName(_))), "{name}");
    }
}

#[test]
fn a_server_certificate_is_a_leaf_that_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let certs = write(dir.path(), &[]).unwrap();
    let text = String::from_utf8(read_cert(&certs.cert).unwrap().to_text().unwrap()).unwrap();
    assert!(text.contains("CA:FALSE"), "{text}");
    assert!(!text.contains("Certificate Sign"), "{text}");
}

#[test]
fn an_expired_certificate_is_made_anew_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let names = [parse_name("localhost").unwrap()];
    let old = CertAndKey::issue_from(1_000_000_000, &CertPurpose::Server(&names), None).unwrap();
    let made = DevCerts::of_server(dir.path()).write(dir.path(), &old, false).unwrap();
    let renewed = ensure(dir.path(), &[]).unwrap();
    assert_eq!(renewed.came, Came::Renewed);
    let pair = read_pair(&made).unwrap();
    assert!(pair.cert.public_key().unwrap().public_eq(&pair.key));
    assert!(!pair.key.public_eq(&old.key));
    assert!(verifies(&pair.cert, |param| param.set_host("localhost").unwrap()));
    assert_eq!(ensure(dir.path(), &[]).unwrap().came, Came::Kept);
}

#[test]
fn an_authority_issues_servers_and_clients() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(client(dir.path(), "ada"), Err(DevCertError::Read { .. })));
    let [authority, server] = with_authority(dir.path(), &["db.internal"]).unwrap();
    let issuer = read_pair(&authority).unwrap();
    let ada = client(dir.path(), "ada").unwrap();
    for certs in [&server, &ada] {
        let cert = read_cert(&certs.cert).unwrap();
        assert!(cert.verify(&issuer.key).unwrap());
        assert_eq!(issuer.cert.issued(&cert), openssl::x509::X509VerifyResult::OK);
    }
    let again = with_authority(dir.path(), &[]).unwrap();
    assert!(again.iter().all(|certs| certs.came == Came::Kept));
    assert_eq!(client(dir.path(), "ada").unwrap().came, Came::Kept);
    for name in ["", "a/b", "..\u{e9}", "a b"] {
        assert!(matches!(client(dir.path(), name), Err(DevCertError::BadClient(_))), "{name}");
    }
}

#[test]
fn a_server_certificate_of_another_issuer_is_not_taken_for_the_authority_s() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[]).unwrap();
    assert!(matches!(with_authority(dir.path(), &[]), Err(DevCertError::Foreign { .. })));
}
