//! `[identities.NAME]`: who may call, and what proves it.

use crate::config::elsewhere::elsewhere;
use crate::core::access::{Access, AccessToken, CallerIdentity, Role, TokenDigest};
use crate::settings::{Origin, SettingFault, SettingFaults, Table};

/// More would slow every call down: each token is compared with all.
const IDENTITIES_MAX: usize = 1000;
/// Two are enough to replace one by another.
const TOKENS_MAX: usize = 10;
const CERTIFICATES_MAX: usize = 100;
/// The most characters of a name in a certificate.
const CERTIFICATE_NAME_MAX: usize = 2048;

/// Reads the tables of all identities. What is wrong is added to `faults`. Returns them, and where
/// each is written.
pub(super) fn read(tables: Table, faults: &mut SettingFaults) -> (Access, Vec<(String, Origin)>) {
    let (mut access, mut places) = (Access::default(), Vec::new());
    let whole = tables.fault(format!("must have {IDENTITIES_MAX} identities at most"));
    let named = tables.into_named();
    if named.len() > IDENTITIES_MAX {
        faults.add(whole);
        return (access, places);
    }
    for (name, table) in named {
        let Some(mut table) = faults.keep(table) else { continue };
        places.push((name.clone(), table.origin.clone()));
        let before = faults.0.len();
        let tokens = faults.keep(table.take_tables("tokens")).unwrap_or_default();
        if tokens.len() > TOKENS_MAX {
            faults.add(table.fault(format!("must have {TOKENS_MAX} tokens at most")));
        }
        let tokens: Vec<AccessToken> =
            tokens.into_iter().filter_map(|one| token(one, faults)).collect();
        let certificates = faults.keep(certificates(&mut table)).unwrap_or_default();
        let role = faults.keep(role(&mut table)).flatten();
        let at = table.fault("");
        let has_proof = !tokens.is_empty() || !certificates.is_empty();
        table.finish_with(faults, elsewhere);
        let fault = |rule: String| SettingFault { rule, ..at.clone() };
        if !has_proof && faults.0.len() == before {
            faults.add(fault("must have tokens or certificates: nobody could prove it".to_owned()));
        }
        match CallerIdentity::new(&name, role) {
            Ok(identity) => {
                if let Err(owner) = access.add(identity, tokens, certificates) {
                    faults.add(fault(format!(
                        "must not have a token or certificate that identity {owner} has"
                    )));
                }
            }
            Err(rule) => faults.add(fault(rule)),
        }
    }
    (access, places)
}

fn token(mut table: Table, faults: &mut SettingFaults) -> Option<AccessToken> {
    let missing = table.fault("must have sha256, the digest of the token in hexadecimal digits");
    let digest = faults.keep(table.take("sha256"))?;
    let digest = faults.keep(digest.ok_or(missing));
    let expires = faults.keep(table.take("expires")).flatten();
    let expires = expires.and_then(|value| faults.keep(value.moment()));
    table.finish(faults);
    let digest = digest?;
    let text = faults.keep(digest.text())?;
    // The value is not shown: it may be the token itself.
    let rule = "must be 64 hexadecimal digits, as `printf %s TOKEN | sha256sum` prints them";
    let sha256 = faults.keep(TokenDigest::from_hex(text).ok_or_else(|| digest.fault(rule)))?;
    Some(AccessToken { sha256, expires })
}

fn certificates(table: &mut Table) -> Result<Vec<String>, SettingFault> {
    let Some(value) = table.take("certificates")? else { return Ok(Vec::new()) };
    let names = value.texts()?;
    if names.len() > CERTIFICATES_MAX {
        return Err(value.fault(format!("must have {CERTIFICATES_MAX} names at most")));
    }
    if names.iter().any(|name| !(1..=CERTIFICATE_NAME_MAX).contains(&name.len())) {
        let rule = format!("must be names of 1 to {CERTIFICATE_NAME_MAX} characters");
        return Err(value.fault(rule));
    }
    Ok(names)
}

fn role(table: &mut Table) -> Result<Option<Role>, SettingFault> {
    let value = table.take("role")?;
    value.map(|value| value.choice(&Role::WORDS)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::file;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read_text(text: &str) -> (Access, SettingFaults) {
        let mut faults = SettingFaults::default();
        let mut root = file::parse("x.toml", &text.replace("DIGEST", DIGEST)).unwrap();
        let table = root.take_table("identities").unwrap().unwrap();
        let (access, _) = read(table, &mut faults);
        (access, faults)
    }

    #[test]
    fn an_identity_has_tokens_certificates_and_a_role() {
        let (access, faults) = read_text(
            "[identities.shop]\ncertificates = [\"spiffe://x/shop\"]\n\
             [identities.\"ops/one\"]\nrole = \"admin\"\n\
             tokens = [{ sha256 = \"DIGEST\", expires = \"2027-01-31T00:00:00Z\" }]\n",
        );
        assert_eq!(faults.to_string(), "");
        assert_eq!(access.names().collect::<Vec<_>>(), ["ops/one", "shop"]);
        assert_eq!(access.identity("ops/one").unwrap().role(), Some(Role::Admin));
        assert_eq!(access.expired(1_801_353_600).count(), 1);
        assert_eq!(access.expired(1_801_353_599).count(), 0);
    }

    #[test]
    fn a_time_of_toml_itself_is_understood_and_one_token_may_be_a_table_of_its_own() {
        let (access, faults) = read_text(
            "[identities.a]\n[[identities.a.tokens]]\nsha256 = \"DIGEST\"\n\
             expires = 2027-01-31T00:00:00Z\n",
        );
        assert_eq!(faults.to_string(), "");
        assert_eq!(access.expired(1_801_353_600).count(), 1);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_without_a_secret() {
        for (text, said) in [
            ("[identities.a]\n", "identities.a (x.toml:1) must have tokens or certificates"),
            (
                "[identities.a]\ntokens = []\n",
                "identities.a (x.toml:1) must have tokens or certificates",
            ),
            ("[identities]\na = 1\n", "identities.a (x.toml:2) must be a table"),
            (
                "[identities.\"a b\"]\ncertificates = [\"a\"]\n",
                "identities.a b (x.toml:1) must be named with",
            ),
            (
                "[identities.a]\ntokens = [\"secret\"]\n",
                "identities.a.tokens (x.toml:2) must be an array of tables",
            ),
            (
                "[identities.a]\ntokens = [{ sha256 = \"secret\" }]\n",
                "identities.a.tokens.sha256 (x.toml:2) must be 64 hexadecimal digits",
            ),
            ("[identities.a]\ntokens = [{}]\n", "identities.a.tokens (x.toml:2) must have sha256"),
            (
                "[identities.a]\ntokens = [{ sha256 = \"DIGEST\", expires = \"soon\" }]\n",
                "identities.a.tokens.expires (x.toml:2) must be a time with its zone",
            ),
            (
                "[identities.a]\ncertificates = [\"a\"]\nrole = \"root\"\n",
                "identities.a.role (x.toml:3) must be admin or observer, and is \"root\"",
            ),
            (
                "[identities.a]\ncertificates = [\"\"]\n",
                "identities.a.certificates (x.toml:2) must be names of 1 to 2048",
            ),
            (
                "[identities.a]\ncertificate = [\"a\"]\n",
                "identities.a.certificate (x.toml:2) is not known; did you mean certificates?",
            ),
            (
                "[identities.a]\ncertificates = [\"c\"]\n[identities.b]\ncertificates = [\"c\"]\n",
                "identities.b (x.toml:3) must not have a token or certificate that identity a has",
            ),
        ] {
            let (_, faults) = read_text(text);
            let told = faults.to_string();
            assert!(told.starts_with(said), "{text}: {told}");
            assert!(!told.contains("secret"), "{told}");
            assert_eq!(faults.0.len(), 1, "{told}");
        }
        let many: String = (0..=IDENTITIES_MAX)
            .map(|n| format!("[identities.i{n}]\ncertificates = [\"c{n}\"]\n"))
            .collect();
        assert!(read_text(&many).1.to_string().contains("must have 1000 identities at most"));
    }
}
