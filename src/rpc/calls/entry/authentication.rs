//! Who makes a call, from its metadata and the certificate of its connection.

use std::sync::Arc;

use grpcio::{AuthContext, Metadata, RpcContext};
use openssl::sha::sha256;

use crate::clock;
use crate::core::access::bearer::bearer;
use crate::core::access::{
    AccessDenied, AuthFailure, Authentication, CallerIdentity, ShownCredentials, TokenDigest,
};
use crate::core::quoted::Quoted;
use crate::error::RequestError;
use crate::logging;
use crate::pool::caller::{Caller, CallerProof};
use crate::pool::context::Context;

/// The names that count, the most specific kind first: only those of one kind do.
const NAMES: [&str; 3] = [URI, "peer_dns", "x509_common_name"];
const URI: &str = "peer_uri";

/// Who makes a call, and by what.
#[derive(Default)]
pub(super) struct Authenticated {
    pub(super) authentication: Authentication,
    /// It may use some tenant.
    pub(super) let_in: bool,
    pub(super) proof: Option<Arc<CallerProof>>,
}

/// Tells who makes a call.
///
/// # Errors
/// It has shown something that proves nothing, or makes too many requests.
pub(super) fn authenticate(
    context: &Context,
    ctx: &RpcContext<'_>,
) -> Result<Authenticated, RequestError> {
    let access = context.access.now();
    if access.is_open() {
        return Ok(Authenticated { let_in: true, ..Authenticated::default() });
    }
    let certificate = ctx.auth_context().as_ref().and_then(names);
    let shown = ShownCredentials { token: token(ctx.request_headers()), certificate };
    let seconds = i64::try_from(clock::unix_micros() / 1_000_000).unwrap_or(i64::MAX);
    let authentication = access
        .authenticate(&shown, seconds)
        .map_err(|failure| RequestError::AccessDenied(failure.into()))?;
    if let Some(identity) = authentication.identity() {
        admit(context, identity)?;
    }
    let let_in = access.lets_in(&authentication);
    let proof = Some(Arc::new(CallerProof { shown, under: access }));
    Ok(Authenticated { authentication, let_in, proof })
}

/// Counts a request of an identity.
///
/// # Errors
/// It makes more a second than it may.
fn admit(context: &Context, identity: &Arc<CallerIdentity>) -> Result<(), RequestError> {
    let Some(rate) = context.live().limits.request_rate() else { return Ok(()) };
    let admitted = context.rates.admit(identity, rate, clock::now());
    if admitted.is_err() && logging::admits("rate_limited", None) {
        log::warn!(
            "event=rate_limited identity={} requests_per_second={} burst={}",
            identity.name(),
            rate.per_second,
            rate.burst
        );
    }
    admitted
}

/// Counts and logs a caller who was refused.
pub(super) fn note_denied(context: &Context, caller: &Caller, denied: &AccessDenied) {
    context.tools.metrics.access_denied(denied.as_str());
    if !logging::admits("access_denied", None) {
        return;
    }
    let identity = denied
        .identity()
        .map_or_else(String::new, |identity| format!(" identity={}", identity.name()));
    let tenant = denied.tenant().map_or_else(String::new, |tenant| format!(" tenant={tenant}"));
    log::warn!(
        "event=access_denied reason={}{tenant} peer={}{identity}",
        denied.as_str(),
        Quoted(caller.peer().address())
    );
}

/// The names of the client's certificate that count.
fn names(of: &AuthContext) -> Option<Vec<String>> {
    // True for a certificate with a name; without `client_ca` none is asked for.
    if !of.peer_is_authenticated() {
        return None;
    }
    let named = |kind: &'static str| -> (&str, Vec<String>) {
        let found = of.into_iter().filter(|property| property.name() == kind);
        (kind, found.filter_map(|one| one.value_str().ok().map(str::to_owned)).collect())
    };
    let found = NAMES.iter().map(|kind| named(kind)).find(|(_, names)| !names.is_empty());
    let (kind, mut names) = found.unwrap_or_default();
    // Who has a name signed that is none of a host must not be taken for a URI.
    names.retain(|name| kind == URI || !name.contains(':'));
    Some(names)
}

/// The digest of the bearer token.
fn token(metadata: &Metadata) -> Option<Result<TokenDigest, AuthFailure>> {
    let mut values = metadata.iter().filter(|(key, _)| *key == "authorization");
    let (_, value) = values.next()?;
    let digest = bearer(value).filter(|_| values.next().is_none());
    Some(digest.map(|token| TokenDigest(sha256(token))).ok_or(AuthFailure::MalformedToken))
}

#[cfg(test)]
mod tests {
    use grpcio::MetadataBuilder;

    use super::*;
    use crate::core::access::bearer::TOKEN_MAX;

    fn of(pairs: &[(&str, &str)]) -> Option<Result<TokenDigest, AuthFailure>> {
        let mut builder = MetadataBuilder::new();
        for (key, value) in pairs {
            builder.add_str(key, value).unwrap();
        }
        token(&builder.build())
    }

    #[test]
    fn a_token_is_there_once_behind_the_word_bearer() {
        let digest = TokenDigest(sha256(b"s3cret"));
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let found = of(&[("x", "y"), ("authorization", &format!("{scheme} s3cret"))]);
            assert!(found.unwrap().unwrap().is(&digest), "{scheme}");
        }
        let other = of(&[("authorization", "Bearer S3cret")]);
        assert!(!other.unwrap().unwrap().is(&digest), "the case of the token counts");
        let long = format!("Bearer {}", "a".repeat(TOKEN_MAX + 1));
        for wrong in [
            "",
            "s3cret",
            "Bearer",
            "Bearer ",
            "Bearer  s3cret",
            "Bearer a b",
            "Basic czNjcmV0",
            &long,
        ] {
            let found = of(&[("authorization", wrong)]);
            assert_eq!(found.unwrap().unwrap_err(), AuthFailure::MalformedToken, "{wrong}");
        }
        let twice = of(&[("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")]);
        assert_eq!(twice.unwrap().unwrap_err(), AuthFailure::MalformedToken);
        assert!(of(&[("x-authorization", "Bearer s3cret"), ("token", "s3cret")]).is_none());
    }
}
