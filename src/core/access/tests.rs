use super::*;

const NOW: i64 = 1_800_000_000;

fn digest(n: u8) -> TokenDigest {
    TokenDigest([n; 32])
}

fn token(n: u8, expires: Option<i64>) -> AccessToken {
    AccessToken { sha256: digest(n), expires }
}

fn identity(name: &str, role: Option<Role>) -> CallerIdentity {
    CallerIdentity::new(name, role).unwrap()
}

/// `shop` has two tokens and two certificates, `ops` is an admin, `eyes` an observer.
fn access() -> Access {
    let mut access = Access::default();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let tokens = vec![token(1, None), token(2, Some(NOW))];
    access.add(identity("shop", None), tokens, names(&["spiffe://x/shop", "shop"])).unwrap();
    let ops = identity("ops", Some(Role::Admin));
    access.add(ops, vec![token(3, Some(NOW + 1))], names(&["ops.example.com"])).unwrap();
    access.add(identity("eyes", Some(Role::Observer)), vec![token(4, None)], Vec::new()).unwrap();
    access
}

fn by_token(token: Result<TokenDigest, AuthFailure>) -> Result<Option<String>, AuthFailure> {
    told(&ShownCredentials { token: Some(token), certificate: None })
}

fn by_names(names: &[&str]) -> Result<Option<String>, AuthFailure> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    told(&ShownCredentials { token: None, certificate: Some(names) })
}

fn told(shown: &ShownCredentials) -> Result<Option<String>, AuthFailure> {
    let found = access().authenticate(shown, NOW)?;
    Ok(found.identity().map(|identity| identity.name().to_owned()))
}

fn known(name: &str) -> Result<Option<String>, AuthFailure> {
    Ok(Some(name.to_owned()))
}

#[test]
fn a_token_tells_who_calls_until_it_expires() {
    assert_eq!(by_token(Ok(digest(1))), known("shop"));
    assert_eq!(by_token(Ok(digest(2))), Err(AuthFailure::ExpiredToken));
    assert_eq!(by_token(Ok(digest(3))), known("ops"));
    assert_eq!(by_token(Ok(digest(9))), Err(AuthFailure::UnknownToken));
    let malformed = Err(AuthFailure::MalformedToken);
    assert_eq!(by_token(malformed), Err(AuthFailure::MalformedToken));
    assert_eq!(access().expired(NOW).collect::<Vec<_>>(), [("shop", NOW)]);
}

#[test]
fn a_certificate_tells_who_calls_by_any_of_its_names_and_only_whole_ones() {
    assert_eq!(by_names(&["spiffe://x/shop"]), known("shop"));
    assert_eq!(by_names(&["other", "shop"]), known("shop"));
    assert_eq!(by_names(&["shop", "spiffe://x/shop"]), known("shop"));
    for stranger in ["ops", "SHOP", "shop ", "shop\0", "*", "", "spiffe://x/shop/", "eyes"] {
        assert_eq!(by_names(&[stranger]), Ok(None), "{stranger:?}");
    }
    assert_eq!(by_names(&[]), Ok(None));
    let both = by_names(&["shop", "ops.example.com"]);
    assert_eq!(both, Err(AuthFailure::AmbiguousCertificate));
}

#[test]
fn a_token_decides_where_there_is_a_certificate_too() {
    let certificate = Some(vec!["shop".to_owned()]);
    let both = |token| ShownCredentials { token: Some(token), certificate: certificate.clone() };
    assert_eq!(told(&both(Ok(digest(3)))), known("ops"));
    assert_eq!(told(&both(Ok(digest(9)))), Err(AuthFailure::UnknownToken));
    assert_eq!(told(&ShownCredentials::default()), Ok(None));
}

#[test]
fn a_role_includes_the_lesser_one_and_nobody_has_one_without_an_identity() {
    let access = access();
    let of = |name: &str| Authentication::Known(Arc::clone(access.identity(name).unwrap()));
    let may = |who: &Authentication, role| who.expect_role(role).is_ok();
    for (name, admin, observer) in
        [("ops", true, true), ("eyes", false, true), ("shop", false, false)]
    {
        let who = of(name);
        assert_eq!((may(&who, Role::Admin), may(&who, Role::Observer)), (admin, observer));
    }
    let denied = of("eyes").expect_role(Role::Admin).unwrap_err();
    assert_eq!(denied.as_str(), "role_denied");
    assert_eq!(denied.to_string(), "identity eyes has not the role admin");
    for (who, failure) in [
        (Authentication::Anonymous, "no_credentials"),
        (Authentication::UnlistedCertificate, "unlisted_certificate"),
    ] {
        assert_eq!(who.expect_role(Role::Observer).unwrap_err().as_str(), failure);
    }
}

#[test]
fn no_two_identities_share_a_name_a_token_or_a_certificate() {
    let mut access = access();
    let refused = |access: &mut Access, name: &str, tokens, certificates: &[&str]| {
        let certificates = certificates.iter().map(|name| (*name).to_owned()).collect();
        access.add(identity(name, None), tokens, certificates).unwrap_err()
    };
    assert_eq!(refused(&mut access, "ops", vec![token(7, None)], &[]), "ops");
    assert_eq!(refused(&mut access, "new", vec![token(7, None), token(2, None)], &[]), "shop");
    assert_eq!(refused(&mut access, "new", Vec::new(), &["new", "ops.example.com"]), "ops");
    assert_eq!(access.names().collect::<Vec<_>>(), ["eyes", "ops", "shop"]);
    let new = ShownCredentials { token: Some(Ok(digest(7))), certificate: None };
    assert_eq!(access.authenticate(&new, NOW).unwrap_err(), AuthFailure::UnknownToken);
}

#[test]
fn digests_are_read_as_sha256sum_prints_them_and_compared_whole() {
    let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let read = TokenDigest::from_hex(text).unwrap();
    assert_eq!((read.0[0], read.0[31]), (0xe3, 0x55));
    assert!(TokenDigest::from_hex(&text.to_uppercase()).unwrap().is(&read));
    for at in 0..32 {
        let mut other = read;
        other.0[at] ^= 1;
        assert!(!other.is(&read), "{at}");
    }
    for wrong in ["", &text[1..], &format!("{text}0"), &text.replace('e', "g"), &"é".repeat(32)] {
        assert!(TokenDigest::from_hex(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?} {:?}", access(), token(0xab, None));
    assert!(shown.contains("shop") && !shown.contains("171") && !shown.contains("abab"), "{shown}");
}

#[test]
fn names_can_stand_in_a_log_line() {
    for name in ["a", "spiffe://x/y", "shop@example.com", &"a".repeat(128)] {
        assert!(CallerIdentity::new(name, None).is_ok(), "{name}");
    }
    for name in ["", "a b", "a\n", "é", "a=b", "\"", "*", &"a".repeat(129)] {
        assert!(CallerIdentity::new(name, None).is_err(), "{name}");
    }
}

fn tenant_of(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

#[test]
fn a_tenant_is_used_by_those_it_lists_and_by_everybody_only_if_it_says_so() {
    let mut access = access();
    let users = |anonymous, names: &[&str]| TenantUsers {
        anonymous,
        identities: names.iter().map(|name| IdentityPattern::parse(name).unwrap()).collect(),
    };
    access.configure(tenant_of("sales"), users(false, &["shop"]));
    access.configure(tenant_of("open"), users(true, &[]));
    access.configure(tenant_of("all"), users(false, &["*"]));
    let of = |name: &str| Authentication::Known(Arc::clone(access.identity(name).unwrap()));
    let told = |tenant: &str, who: &Authentication| match access.may_use(&tenant_of(tenant), who) {
        Ok(()) => "may",
        Err(denied) => denied.as_str(),
    };
    let (shop, ops) = (of("shop"), of("ops"));
    let (nobody, unlisted) = (Authentication::Anonymous, Authentication::UnlistedCertificate);
    for (tenant, seen) in [
        ("sales", ["may", "tenant_denied", "no_credentials", "unlisted_certificate"]),
        ("open", ["may", "may", "may", "may"]),
        ("all", ["may", "may", "no_credentials", "unlisted_certificate"]),
        ("brought", ["may", "may", "no_credentials", "unlisted_certificate"]),
    ] {
        assert_eq!([&shop, &ops, &nobody, &unlisted].map(|who| told(tenant, who)), seen);
    }
    assert!(access.may_see(&tenant_of("sales"), &of("eyes")).is_ok());
    assert!(access.may_see(&tenant_of("sales"), &nobody).is_err());
    let mut strict = access.clone();
    strict.set_only_configured(true);
    let denied = |tenant: &str| strict.may_use(&tenant_of(tenant), &ops).unwrap_err().to_string();
    let like = |tenant: &str| denied(tenant).replace(tenant, "T");
    assert_eq!(like("sales"), like("unknown"), "whether there is one is not told");
}

#[test]
fn without_identities_everybody_may_use_every_tenant() {
    let mut access = Access::default();
    access.configure(tenant_of("sales"), TenantUsers::default());
    for tenant in ["sales", "brought"] {
        assert!(access.may_use(&tenant_of(tenant), &Authentication::Anonymous).is_ok());
    }
    let observer = Authentication::Anonymous.expect_role(Role::Observer);
    assert!(observer.is_err());
}
