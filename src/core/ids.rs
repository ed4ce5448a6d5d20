//! Names that come from outside, parsed once and trusted from then on.

use std::fmt;
use std::sync::Arc;

use super::callers::CallerId;

/// The name of a tenant: 1 to 128 ASCII letters, digits and `. _ - @ : /`.
///
/// The grammar keeps a tenant safe to print in a log line, a metric label and an
/// `application_name`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// Names one lease. It cannot be guessed, so holding it is the right to use the lease.
///
/// The form is `conn-<tenant>-<32 lower-case hex digits>`. Invariant: it has no `Display`, and its
/// `Debug` shows nothing, so that it reaches a log only where someone wrote
/// [`reveal`](ConnectionId::reveal). Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    text: Arc<str>,
    /// The identity that the lease is bound to: for all others there is no such lease.
    owner: Option<CallerId>,
}

/// Why a text is not a valid id.
///
/// It carries lengths and positions, never the text itself, which may be a secret or very long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    /// The tenant is empty.
    TenantMissing,
    /// The tenant has more than 128 characters.
    TenantTooLong {
        /// How many it has.
        length: usize,
    },
    /// The tenant has a character outside the grammar.
    TenantCharacter {
        /// Which character, the first being 1.
        position: usize,
    },
    /// The connection id is empty.
    ConnectionIdMissing,
    /// The connection id does not have the required form.
    ConnectionIdForm,
}

impl TenantId {
    /// Checks the grammar. The text is taken as it is: no trimming, no change of case.
    pub fn parse(text: &str) -> Result<TenantId, IdError> {
        check_tenant(text)?;
        Ok(TenantId(Arc::from(text)))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TenantId").field(&self.as_str()).finish()
    }
}

impl ConnectionId {
    /// Makes the id of a new lease.
    ///
    /// The caller draws `random` from the operating system: all the secrecy of the id is in it.
    pub fn new(tenant: &TenantId, random: [u8; 16]) -> ConnectionId {
        let number = u128::from_be_bytes(random);
        let text = Arc::from(format!("{PREFIX}{tenant}-{number:032x}"));
        ConnectionId { text, owner: None }
    }

    /// The same id as this identity knows it. It is equal to none of another identity's.
    #[must_use]
    pub fn of(self, owner: Option<&CallerId>) -> ConnectionId {
        ConnectionId { owner: owner.cloned(), ..self }
    }

    /// Checks the whole form, the tenant inside it included.
    ///
    /// Upper-case digits are refused, so that each id has only one spelling.
    pub fn parse(text: &str) -> Result<ConnectionId, IdError> {
        if text.is_empty() {
            return Err(IdError::ConnectionIdMissing);
        }
        // A tenant may contain '-' and hex digits do not, so the last '-' is the separator.
        let (tenant, digits) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.rsplit_once('-'))
            .ok_or(IdError::ConnectionIdForm)?;
        let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if digits.len() != HEX_DIGITS || !digits.bytes().all(is_lower_hex) {
            return Err(IdError::ConnectionIdForm);
        }
        check_tenant(tenant).map_err(|_| IdError::ConnectionIdForm)?;
        Ok(ConnectionId { text: Arc::from(text), owner: None })
    }

    /// The secret itself, only for the reply to its owner.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionId(..)")
    }
}

impl IdError {
    /// The request field the error is about.
    pub fn field(&self) -> &'static str {
        match self {
            IdError::TenantMissing
            | IdError::TenantTooLong { .. }
            | IdError::TenantCharacter { .. } => "tenant_id",
            IdError::ConnectionIdMissing | IdError::ConnectionIdForm => "connection_id",
        }
    }
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdError::TenantMissing => f.write_str("tenant_id is required"),
            IdError::TenantTooLong { length } => write!(
                f,
                "tenant_id must be 1 to {MAX_TENANT_CHARACTERS} characters long, it has {length}"
            ),
            IdError::TenantCharacter { position } => write!(
                f,
                "tenant_id may contain only ASCII letters, digits and . _ - @ : / \
                 (character {position} is not one of them)"
            ),
            IdError::ConnectionIdMissing => {
                f.write_str("invalid connection ID: connection_id is required")
            }
            IdError::ConnectionIdForm => write!(
                f,
                "invalid connection ID: it must have the form \
                 {PREFIX}<tenant>-<{HEX_DIGITS} hex digits>"
            ),
        }
    }
}

impl std::error::Error for IdError {}

/// The grammar of a tenant. Length comes first, so that the search for a bad character is bounded.
fn check_tenant(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::TenantMissing);
    }
    let length = text.chars().count();
    if length > MAX_TENANT_CHARACTERS {
        return Err(IdError::TenantTooLong { length });
    }
    let is_allowed =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':' | '/');
    match text.chars().position(|c| !is_allowed(c)) {
        Some(index) => Err(IdError::TenantCharacter { position: index + 1 }),
        None => Ok(()),
    }
}

const PREFIX: &str = "conn-";
const HEX_DIGITS: usize = 32;
const MAX_TENANT_CHARACTERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(text: &str) -> TenantId {
        TenantId::parse(text).unwrap()
    }

    #[test]
    fn a_tenant_keeps_every_character_of_the_grammar() {
        for text in ["a", "Z9", "shop.eu_1-x@host:5432/db", &"a".repeat(128)] {
            assert_eq!(tenant(text).as_str(), text);
            assert_eq!(tenant(text).to_string(), text);
        }
        assert_eq!(format!("{:>4}|{:?}", tenant("a"), tenant("a")), "   a|TenantId(\"a\")");
    }

    #[test]
    fn a_tenant_outside_the_grammar_is_refused_with_its_reason() {
        let message = |text: &str| TenantId::parse(text).unwrap_err().to_string();
        assert_eq!(message(""), "tenant_id is required");
        assert_eq!(
            message(&"é".repeat(129)),
            "tenant_id must be 1 to 128 characters long, it has 129"
        );
        assert_eq!(
            message("aé b"),
            "tenant_id may contain only ASCII letters, digits and . _ - @ : / \
             (character 2 is not one of them)"
        );
        for text in [" a", "a\n", "a\0", "a b", "a\\", "a+b", "é"] {
            assert!(matches!(TenantId::parse(text), Err(IdError::TenantCharacter { .. })));
        }
    }

    #[test]
    fn a_connection_id_is_parsed_back_from_what_it_reveals() {
        for name in ["a", "a-b-c", "conn-a", &"a".repeat(128)] {
            let id = ConnectionId::new(&tenant(name), [0xA5; 16]);
            assert_eq!(id.reveal(), format!("conn-{name}-{}", "a5".repeat(16)));
            assert_eq!(ConnectionId::parse(id.reveal()), Ok(id));
        }
        let small = ConnectionId::new(&tenant("a"), [0; 16]);
        assert_eq!(small.reveal(), "conn-a-00000000000000000000000000000000");
    }

    #[test]
    fn a_connection_id_of_any_other_form_is_refused() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert_eq!(ConnectionId::parse(""), Err(IdError::ConnectionIdMissing));
        for text in [
            "conn".to_string(),
            "conn-".to_string(),
            format!("conn-{digits}"),
            format!("conn--{digits}"),
            format!("Conn-a-{digits}"),
            format!("conn-a-{}", &digits[1..]),
            format!("conn-a-{digits}0"),
            format!("conn-a-{}", digits.to_uppercase()),
            format!("conn-a-{digits} "),
            format!("conn-a b-{digits}"),
            format!("conn-{}-{digits}", "a".repeat(129)),
            format!("conn-a-{}é", &digits[2..]),
        ] {
            assert_eq!(ConnectionId::parse(&text), Err(IdError::ConnectionIdForm), "{text}");
        }
    }

    #[test]
    fn a_connection_id_does_not_show_itself() {
        let id = ConnectionId::new(&tenant("a"), [7; 16]);
        assert_eq!(format!("{id:?} {id:#?}"), "ConnectionId(..) ConnectionId(..)");
    }

    #[test]
    fn an_error_names_its_field_and_reads_as_a_sentence() {
        assert_eq!(IdError::TenantTooLong { length: 200 }.field(), "tenant_id");
        assert_eq!(IdError::ConnectionIdForm.field(), "connection_id");
        assert_eq!(
            IdError::ConnectionIdMissing.to_string(),
            "invalid connection ID: connection_id is required"
        );
        assert_eq!(
            IdError::ConnectionIdForm.to_string(),
            "invalid connection ID: it must have the form conn-<tenant>-<32 hex digits>"
        );
    }

    #[test]
    fn an_id_of_one_identity_is_none_of_another_and_reads_the_same() {
        let [shop, ops] = ["shop", "ops"].map(CallerId::of_identity);
        let id = ConnectionId::new(&tenant("a"), [7; 16]);
        let all = [id.clone(), id.clone().of(Some(&shop)), id.clone().of(Some(&ops))];
        for (i, one) in all.iter().enumerate() {
            assert_eq!(one.reveal(), id.reveal());
            assert_eq!(all.iter().position(|other| other == one), Some(i));
        }
        let parsed = ConnectionId::parse(id.reveal()).unwrap();
        assert_eq!(parsed.of(Some(&shop)), all[1]);
        assert_eq!(all[1].clone().of(None), id);
    }
}
