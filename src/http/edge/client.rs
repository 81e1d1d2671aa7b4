//! The way out of this process to its colleagues: one pooled keep-alive client, what it shows them, and what each way of
//! getting no answer means. It follows no redirect and reads no proxy variable: a colleague is where it is said to be.

use super::networks::Networks;
use crate::http::InternalToken;
use crate::http::request::escaped;
use crate::messages::{CallContext, CallError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::FuturesUnordered;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an idle connection is kept: less than what the usual servers keep it (uvicorn: 5 s), so that they do not
/// close it just when it is used.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections per colleague.
const IDLE_CONNECTIONS: usize = 64;
/// How long an answer is waited for when nobody says.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long before its deadline at most a call gives up.
const MARGIN: Duration = Duration::from_millis(50);
/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// A client for calls between Callboard's processes. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    plain: reqwest::Client,
    /// Made when a colleague is first called by TLS: the machine's authorities are some megabytes.
    secure: Arc<OnceLock<Option<reqwest::Client>>>,
    networks: Option<Networks>,
    token: Option<InternalToken>,
}

/// Where a colleague is reached, or several that do the same: the next is tried when nobody listens at one.
#[derive(Debug)]
pub(super) struct Peers {
    places: Vec<Place>,
    /// Where the next call goes first: the one that answered last, or the one after one that did not.
    current: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Place {
    base: Url,
    /// What the user part of its URL says, in the form of a header.
    authorization: Option<HeaderValue>,
}

/// One call, wherever it goes.
pub(super) struct Call {
    pub method: Method,
    /// Below the colleague's base, already in the form of a URL.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Option<Vec<u8>>,
    pub until: Instant,
}

/// An answer, read whole.
pub(super) struct Answered {
    pub status: u16,
    /// In seconds.
    pub retry_after_s: Option<u32>,
    pub body: Vec<u8>,
}

// === impl HttpClient ===

impl HttpClient {
    /// A client that shows this token, and that goes to addresses of these networks only, where they are given.
    ///
    /// # Errors
    /// When no client can be had.
    pub fn new(token: Option<InternalToken>, networks: Option<Networks>) -> Result<Self, reqwest::Error> {
        let plain = builder(networks.as_ref()).tls_certs_only([]).build()?;
        Ok(Self { plain, secure: Arc::default(), networks, token })
    }

    /// The client for a colleague; none when the system's TLS cannot be had.
    fn client(&self, place: &Place) -> Option<&reqwest::Client> {
        if place.base.scheme() == "http" {
            return Some(&self.plain);
        }
        let made = self.secure.get_or_init(|| match builder(self.networks.as_ref()).build() {
            Ok(client) => Some(client),
            Err(error) => {
                tracing::error!(%error, "there is no TLS for calls to colleagues");
                None
            }
        });
        made.as_ref()
    }

    /// Sends a call to the first of the peers where somebody listens.
    pub(super) async fn send(&self, peers: &Peers, call: Call) -> Result<Answered, CallError> {
        self.send_noting(peers, call, &AtomicUsize::new(0)).await
    }

    /// The same, and notes meanwhile which of the peers has the call.
    pub(super) async fn send_noting(
        &self,
        peers: &Peers,
        call: Call,
        holder: &AtomicUsize,
    ) -> Result<Answered, CallError> {
        let first = peers.current.load(Ordering::Relaxed);
        let count = peers.places.len();
        for offset in 0..count {
            let at = (first + offset) % count;
            holder.store(at, Ordering::Relaxed);
            let answered = self.send_to(&peers.places[at], &call).await;
            if matches!(answered, Err(CallError::Unavailable)) && offset + 1 < count {
                continue;
            }
            // One that broke off or kept silent may have done what was asked, so only the next call goes elsewhere.
            let is_in_doubt = matches!(answered, Err(CallError::Crashed | CallError::Timeout));
            peers.current.store((at + usize::from(is_in_doubt)) % count, Ordering::Relaxed);
            return answered;
        }
        Err(CallError::Unavailable)
    }

    /// Sends a call to this one of the peers and to no other.
    pub(super) async fn send_at(&self, peers: &Peers, at: usize, call: &Call) -> Result<Answered, CallError> {
        let place = peers.places.get(at).ok_or(CallError::Rejected)?;
        self.send_to(place, call).await
    }

    /// Sends a call to all of the peers at once; the answers come as they come.
    pub(super) fn send_to_each<'a>(
        &'a self,
        peers: &'a Peers,
        call: &'a Call,
    ) -> FuturesUnordered<impl Future<Output = Result<Answered, CallError>>> {
        peers.places.iter().map(|place| self.send_to(place, call)).collect()
    }

    /// Connects to where the first of the peers is, and does no more.
    pub(super) async fn knock(&self, peers: &Peers) -> io::Result<()> {
        let place = peers.places.first().ok_or(io::ErrorKind::InvalidInput)?;
        let host = place.base.host_str().ok_or(io::ErrorKind::InvalidInput)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = place.base.port_or_known_default().ok_or(io::ErrorKind::InvalidInput)?;
        let is_allowed = |ip| self.networks.as_ref().is_none_or(|networks| networks.check(ip).is_ok());
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let allowed: Vec<_> = found.into_iter().filter(|address| is_allowed(address.ip())).collect();
        tokio::net::TcpStream::connect(&*allowed).await.map(drop)
    }

    async fn send_to(&self, place: &Place, call: &Call) -> Result<Answered, CallError> {
        let url = place.base.join(&call.path).map_err(|_| CallError::Rejected)?;
        let client = self.client(place).ok_or(CallError::Rejected)?;
        let mut request = client.request(call.method.clone(), url).headers(call.headers.clone());
        if let Some(authorization) = &place.authorization {
            request = request.header(AUTHORIZATION, authorization);
        } else if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.bearer());
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.clone());
        }
        let answered = tokio::time::timeout_at(call.until, read(request)).await;
        answered.unwrap_or(Err(CallError::Timeout))
    }
}

fn builder(networks: Option<&Networks>) -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .tcp_nodelay(true);
    match networks {
        Some(networks) => builder.dns_resolver(Arc::new(networks.clone())),
        None => builder,
    }
}

async fn read(request: RequestBuilder) -> Result<Answered, CallError> {
    let mut response = request.send().await.map_err(|error| no_answer(&error))?;
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(CallError::Rejected);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answered { status, retry_after_s: retry_after, body })
}

/// What it means that there is no answer. Without a connection nothing was sent; one that broke off had somebody at its
/// other end, who may have done what was asked.
fn no_answer(error: &reqwest::Error) -> CallError {
    let kind = io_kind(error);
    tracing::debug!(?kind, connecting = error.is_connect(), timeout = error.is_timeout(), "a call got no answer");
    if error.is_connect() {
        CallError::Unavailable
    } else if error.is_timeout() {
        CallError::Timeout
    } else if error.is_builder() {
        CallError::Rejected
    } else {
        CallError::Crashed
    }
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = inner.source();
    }
    None
}

/// Where a colleague is, or several that do the same, as the settings say: `http://host:port`, several separated by
/// commas. Its user part may hold a token, and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ColleagueUrl(Arc<str>);

impl ColleagueUrl {
    /// The URL with all that is in it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ColleagueUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        Peers::parse(text)?;
        Ok(Self(text.trim().into()))
    }
}

impl fmt::Debug for ColleagueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = Peers::parse(&self.0).map(|peers| peers.places).unwrap_or_default();
        f.debug_list().entries(places.iter().map(|place| place.base.as_str())).finish()
    }
}

// === impl Peers ===

/// Why a text is no address of a colleague. It does not repeat the text, which may hold a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no URL of a colleague: write http://host:port or https://host:port, several separated by commas")]
pub struct InvalidUrl;

impl Peers {
    /// Reads one or several URLs, separated by commas.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        let places: Vec<_> = texts.map(Place::parse).collect::<Result<_, _>>()?;
        if places.is_empty() { Err(InvalidUrl) } else { Ok(Self { places, current: AtomicUsize::new(0) }) }
    }

    /// Reads one URL that is called as it is.
    pub fn exact(text: &str) -> Result<Self, InvalidUrl> {
        let mut place = Place::parse(text)?;
        let as_given: Url = text.trim().parse().map_err(|_| InvalidUrl)?;
        place.base.set_path(as_given.path());
        place.base.set_query(as_given.query());
        Ok(Self { places: vec![place], current: AtomicUsize::new(0) })
    }

    /// The hosts that are written as addresses need no resolving, and so pass no resolver.
    pub fn literal_hosts(&self) -> impl Iterator<Item = std::net::IpAddr> {
        self.places.iter().filter_map(|place| super::networks::literal(&place.base))
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let mut base: Url = text.parse().map_err(|_| InvalidUrl)?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(InvalidUrl);
        }
        let user_and_password = format!("{}:{}", base.username(), base.password().unwrap_or_default());
        let authorization = (user_and_password != ":").then(|| {
            let decoded = percent_decoded(&user_and_password);
            HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(decoded))).map_err(|_| InvalidUrl)
        });
        let mut authorization = authorization.transpose()?;
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        base.set_username("").and_then(|()| base.set_password(None)).map_err(|()| InvalidUrl)?;
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base, authorization })
    }
}

/// A text of a URL's user part with its escapes undone.
pub(super) fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

// === impl Call and Answered ===

impl Call {
    /// A call that rides in a message's context.
    pub fn new(method: Method, path: impl Into<String>, context: &CallContext) -> Self {
        let now = Instant::now();
        let until = context.deadline.map_or_else(|| now + ANSWER_TIMEOUT, Instant::from_std);
        // A little before whoever asks gives up: what was learned about the way there is kept.
        let until = until.checked_sub((until.saturating_duration_since(now) / 10).min(MARGIN)).unwrap_or(until);
        let mut headers = HeaderMap::new();
        if let Some(trace) = context.trace.as_deref().and_then(|trace| HeaderValue::from_str(trace).ok()) {
            headers.insert("traceparent", trace);
        }
        Self { method, path: path.into(), headers, body: None, until }
    }

    /// The same with a JSON body.
    pub fn json<T: serde::Serialize>(mut self, body: &T) -> Result<Self, CallError> {
        self.body = Some(serde_json::to_vec(body).map_err(|_| CallError::Rejected)?);
        Ok(self)
    }

    /// The same with a header; a value that no header can hold is escaped as in a URL. Other bytes than ASCII's could be
    /// sent as they are, but are read by nobody.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        let plain = Some(value).filter(|value| value.is_ascii()).and_then(|value| HeaderValue::from_str(value).ok());
        if let Some(value) = plain.or_else(|| HeaderValue::from_str(&escaped(value)).ok()) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Answered {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a type; none when it has another form.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_part_becomes_a_header_and_leaves_the_url() {
        let place = Place::parse("http://worker:s3%20cret@host:5000/below").unwrap();
        assert_eq!(place.base.as_str(), "http://host:5000/below/");
        // worker:s3 cret
        assert_eq!(place.authorization.clone().unwrap().to_str().unwrap(), "Basic d29ya2VyOnMzIGNyZXQ=");
        assert!(!format!("{place:?}").contains("d29"));
        assert_eq!(place.base.join("work").unwrap().as_str(), "http://host:5000/below/work");
        assert_eq!(Place::parse("https://host").unwrap().authorization, None);
    }

    #[test]
    fn a_name_in_any_script_arrives_in_a_header_that_can_be_read() {
        let name = HeaderName::from_static("callboard-step");
        for (value, shown) in [("t-1 P1", "t-1 P1"), ("第七", "%E7%AC%AC%E4%B8%83"), ("a\nb", "a%0Ab")] {
            let call = Call::new(Method::GET, "", &CallContext::default()).header(name.clone(), value);
            assert_eq!(call.headers.get(&name).and_then(|value| value.to_str().ok()), Some(shown));
        }
    }

    #[test]
    fn what_is_no_url_of_a_colleague_is_refused() {
        for bad in ["", " , ", "host:5000", "ftp://host", "http://", "data:text/plain,x"] {
            assert!(Peers::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Peers::parse("http://a:1, http://b:2").unwrap().places.len(), 2);
    }
}
