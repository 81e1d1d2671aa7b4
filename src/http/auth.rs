//! Who a caller is: a client with an API key, and so whose tasks it sees, or one of Callboard's own processes with the
//! internal token. Nothing here can show a key or a token.

use super::Site;
use super::error::ApiError;
use crate::task::{InvalidId, Tenant};
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, dev, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::future::{Ready, ready};
use std::str::FromStr;
use std::sync::Arc;

/// The keys that open the public API, each with its tenant.
#[derive(Clone)]
pub struct ApiKeys {
    entries: Vec<(Fingerprint, Tenant)>,
}

type Fingerprint = [u8; 32];

/// Why a list of keys cannot be used. It says where, never what: the text holds secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// No entry at all.
    #[error("no API key is given: write key=tenant, several separated by commas")]
    Empty,
    /// An entry without a tenant or without a key.
    #[error("entry {0} of the API keys is not of the form key=tenant")]
    Form(usize),
    /// The tenant's name cannot be one.
    #[error("entry {0} of the API keys: {1}")]
    Tenant(usize, InvalidId),
    /// One key for two tenants.
    #[error("entry {0} of the API keys repeats an earlier key: each key belongs to one tenant")]
    Twice(usize),
}

/// What Callboard's own processes show each other. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct InternalToken(Arc<str>);

/// What a call between Callboard's own processes must show at a listener.
#[derive(Debug, Clone, Default)]
pub enum TokenRule {
    /// Nothing: only this machine reaches the listener, or everybody is let in.
    #[default]
    Free,
    /// This token.
    Required(InternalToken),
    /// No token is configured, and other machines reach the listener: no call can be right.
    Closed,
}

/// One of Callboard's own processes, or a worker in any language. As a handler's argument it demands the internal token,
/// where that is required.
#[derive(Debug, Clone, Copy)]
pub(super) struct Colleague;

/// Whoever sent a request. As a handler's argument it demands a key, where keys are configured.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Whose tasks it may see.
    pub(super) tenant: Tenant,
}

// === impl ApiKeys ===

impl ApiKeys {
    /// The tenant of a key. It takes the same time whichever key it is, and whether it is one.
    fn tenant_of(&self, key: &[u8]) -> Option<&Tenant> {
        let sought = fingerprint(key);
        let mut found = None;
        for (known, tenant) in &self.entries {
            if is_equal(known, &sought) {
                found = Some(tenant);
            }
        }
        found
    }

    /// Whether two callers may be strangers to each other.
    pub(super) fn has_several_tenants(&self) -> bool {
        let tenants: BTreeSet<_> = self.entries.iter().map(|(_, tenant)| tenant).collect();
        tenants.len() > 1
    }
}

impl FromStr for ApiKeys {
    type Err = InvalidKeys;

    /// Reads `key=tenant,key=tenant`. A key may hold `=`, a tenant may not.
    fn from_str(text: &str) -> Result<Self, InvalidKeys> {
        let mut entries: Vec<(Fingerprint, Tenant)> = Vec::new();
        for (position, entry) in text.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty()) {
            let number = position + 1;
            let (key, tenant) = entry.rsplit_once('=').ok_or(InvalidKeys::Form(number))?;
            if key.trim().is_empty() || tenant.trim().is_empty() {
                return Err(InvalidKeys::Form(number));
            }
            let tenant = Tenant::parse(tenant).map_err(|invalid| InvalidKeys::Tenant(number, invalid))?;
            let key = fingerprint(key.trim().as_bytes());
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(InvalidKeys::Twice(number));
            }
            entries.push((key, tenant));
        }
        if entries.is_empty() { Err(InvalidKeys::Empty) } else { Ok(Self { entries }) }
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} keys)", self.entries.len())
    }
}

fn fingerprint(key: &[u8]) -> Fingerprint {
    Sha256::digest(key).into()
}

/// Compares every byte, also after a difference.
fn is_equal(one: &Fingerprint, other: &Fingerprint) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0
}

// === impl Caller ===

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let site = request.app_data::<web::Data<Site>>();
        let keys = site.map(|site| site.options.keys.as_ref());
        ready(match keys {
            None => Err(ApiError::internal("the site is not part of this app")),
            Some(None) => Ok(Self { tenant: Tenant::default() }),
            Some(Some(keys)) => presented(request.headers())
                .and_then(|key| keys.tenant_of(&key).cloned())
                .map(|tenant| Self { tenant })
                .ok_or_else(ApiError::unauthorized),
        })
    }
}

// === impl InternalToken ===

impl InternalToken {
    /// A token from its text; none when there is none in it.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The header that shows it.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    fn is(&self, presented: &[u8]) -> bool {
        is_equal(&fingerprint(self.0.as_bytes()), &fingerprint(presented))
    }
}

impl fmt::Debug for InternalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalToken(***)")
    }
}

// === impl Colleague ===

impl FromRequest for Colleague {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut dev::Payload) -> Self::Future {
        let site = request.app_data::<web::Data<Site>>();
        let shown = || presented(request.headers());
        ready(match site.map(|site| &site.options.internal) {
            None => Err(ApiError::internal("the site is not part of this app")),
            Some(TokenRule::Free) => Ok(Self),
            Some(TokenRule::Required(token)) if shown().is_some_and(|shown| token.is(&shown)) => Ok(Self),
            Some(TokenRule::Required(_)) => Err(ApiError::not_a_colleague(
                "this call is for Callboard's own processes: send `Authorization: Bearer <token>` with the \
                 CALLBOARD_INTERNAL_TOKEN of this deployment, or that as the password of HTTP Basic",
            )),
            Some(TokenRule::Closed) => Err(ApiError::not_a_colleague(
                "this call is for Callboard's own processes, and this server has no CALLBOARD_INTERNAL_TOKEN that \
                 could be shown: set one on all of them",
            )),
        })
    }
}

/// The key of a request: a bearer's token, or the password of HTTP Basic.
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let user_and_password = STANDARD.decode(rest).ok()?;
    let colon = user_and_password.iter().position(|byte| *byte == b':')?;
    Some(user_and_password[colon + 1..].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn tenant(keys: &str, key: &str) -> Option<String> {
        keys.parse::<ApiKeys>().unwrap().tenant_of(key.as_bytes()).map(ToString::to_string)
    }

    #[test]
    fn a_key_decides_the_tenant() {
        let keys = "k1=acme, k2==globex ,k3=acme,";
        assert_eq!(tenant(keys, "k1").as_deref(), Some("acme"));
        assert_eq!(tenant(keys, "k2=").as_deref(), Some("globex"));
        assert_eq!(tenant(keys, "k3").as_deref(), Some("acme"));
        assert_eq!(tenant(keys, "k2"), None);
        assert_eq!(tenant(keys, ""), None);
        assert!(keys.parse::<ApiKeys>().unwrap().has_several_tenants());
        assert!(!"k1=acme,k2=acme".parse::<ApiKeys>().unwrap().has_several_tenants());
    }

    #[test]
    fn a_bad_list_is_refused_without_showing_it() {
        let refusal = |text: &str| text.parse::<ApiKeys>().unwrap_err();
        assert_eq!(refusal(" , "), InvalidKeys::Empty);
        assert_eq!(refusal("k1=a,secret"), InvalidKeys::Form(2));
        assert_eq!(refusal("secret="), InvalidKeys::Form(1));
        assert_eq!(refusal("=acme"), InvalidKeys::Form(1));
        assert_eq!(refusal("k1=a,k2=b,k1=c"), InvalidKeys::Twice(3));
        assert!(matches!(refusal("secret=a\u{7}b"), InvalidKeys::Tenant(1, _)));
        assert!(!refusal("k1=a,secret").to_string().contains("secret"));
    }

    #[test]
    fn a_token_is_compared_whole_and_never_shown() {
        let token = InternalToken::new(" s3cret ").unwrap();
        assert!(token.is(b"s3cret") && !token.is(b"s3cre") && !token.is(b""));
        assert_eq!(format!("{:?}", TokenRule::Required(token)), "Required(InternalToken(***))");
        assert_eq!(InternalToken::new("  "), None);
    }

    #[test]
    fn a_debug_print_shows_no_key() {
        let keys: ApiKeys = "secret=acme".parse().unwrap();
        assert_eq!(format!("{keys:?}"), "ApiKeys(1 keys)");
    }

    #[test]
    fn a_key_comes_as_a_bearer_or_as_a_basic_password() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            presented(&headers).map(|key| String::from_utf8(key).unwrap())
        };
        assert_eq!(of("Bearer k1").as_deref(), Some("k1"));
        assert_eq!(of("bearer  k1").as_deref(), Some("k1"));
        // agent:k1:x
        assert_eq!(of("Basic YWdlbnQ6azE6eA==").as_deref(), Some("k1:x"));
        assert_eq!(of("Basic ???"), None);
        assert_eq!(of("Digest k1"), None);
        assert_eq!(of("k1"), None);
    }
}
