//! The HTTP API as calls. Every call has a time-out, the key goes into a header and nowhere else, and whatever is not a
//! success becomes a sentence that says what to do next.

use super::environment::Environment;
use super::wire::{ErrorBody, Pipeline, TaskPage};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;

/// Where a server is looked for when nobody says.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8000";
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, besides what the server was asked to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream may stay silent; servers give a sign of life every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// A server to talk to. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
}

/// An answer that is kept as it came, and read.
pub struct Answer<T> {
    /// The JSON as it came.
    pub text: String,
    /// What of it is shown.
    pub read: T,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The call cannot even be tried.
    #[error("{0}")]
    Settings(String),
    /// Nobody answers.
    #[error(
        "{server} cannot be reached: {why}; start a server there with `callboard serve`, or say where one is with --server URL (CALLBOARD_SERVER)"
    )]
    Unreachable {
        /// Where.
        server: String,
        /// Why not.
        why: String,
    },
    /// The server says no.
    #[error("{message}")]
    Refused {
        /// The answer's status.
        status: u16,
        /// In its words.
        message: String,
    },
    /// The answer is not one of ours.
    #[error("{server} answers, but not as callboard does ({why}): check --server (CALLBOARD_SERVER)")]
    Strange {
        /// Where.
        server: String,
        /// What is wrong with the answer.
        why: String,
    },
}

// === impl Client ===

impl Client {
    /// The server that the command line and the variables name.
    pub fn from_choices(server: Option<&str>, environment: &Environment) -> Result<Self, ClientError> {
        let server = server.or_else(|| environment.get("CALLBOARD_SERVER")).unwrap_or(DEFAULT_SERVER);
        Self::new(server, environment.get("CALLBOARD_API_KEY"))
    }

    /// A server by its URL, with the key that opens it.
    pub fn new(server: &str, key: Option<&str>) -> Result<Self, ClientError> {
        let url = Url::parse(server).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| {
            ClientError::Settings(format!("setting server: not a URL: write for example {DEFAULT_SERVER}"))
        })?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| {
                ClientError::Settings("setting CALLBOARD_API_KEY: a key is made of visible characters only".to_owned())
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            .user_agent(concat!("callboard/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            // A proxy would look for the server on its own machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| ClientError::Settings(format!("no HTTP client: {}", chain(&error))))?;
        Ok(Self { http, server: url })
    }

    /// Hands a task in; waits for its end as long as the server is asked to.
    pub async fn submit(&self, objective: &Value, wait: Duration) -> Result<Answer<Pipeline>, ClientError> {
        let mut url = self.url(&["task"]);
        url.query_pairs_mut().append_pair("wait", &wait.as_secs().to_string());
        self.answer(self.http.post(url).json(objective).timeout(ANSWER_TIMEOUT + wait)).await
    }

    /// A task's answer, or how far it is.
    pub async fn result(&self, id: &str) -> Result<Answer<Pipeline>, ClientError> {
        self.get(&["task", id, "result"]).await
    }

    /// The same once there is one, or so many seconds later.
    pub async fn result_within(&self, id: &str, wait: Duration) -> Result<Answer<Pipeline>, ClientError> {
        let mut url = self.url(&["task", id, "result"]);
        url.query_pairs_mut().append_pair("wait", &wait.as_secs().to_string());
        self.answer(self.http.get(url).timeout(ANSWER_TIMEOUT + wait)).await
    }

    /// Ends a task.
    pub async fn cancel(&self, id: &str) -> Result<Answer<Pipeline>, ClientError> {
        let request = self.http.request(Method::DELETE, self.url(&["task", id]));
        self.answer(request.timeout(ANSWER_TIMEOUT)).await
    }

    /// One page of tasks.
    pub async fn tasks(&self, query: &[(&str, String)]) -> Result<Answer<TaskPage>, ClientError> {
        let mut url = self.url(&["tasks"]);
        url.query_pairs_mut().extend_pairs(query);
        self.answer(self.http.get(url).timeout(ANSWER_TIMEOUT)).await
    }

    /// Whatever stands at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Answer<T>, ClientError> {
        self.answer(self.http.get(self.url(path)).timeout(ANSWER_TIMEOUT)).await
    }

    /// A task's events above a number, as a stream of bytes: it ends with the task, and its silence is bounded.
    pub async fn events(&self, id: &str, after: &str) -> Result<Response, ClientError> {
        let request = self.http.get(self.url(&["task", id, "events"])).header("last-event-id", after);
        // No time-out for the whole: it lasts as long as the task.
        let opened = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
        let response = opened.map_err(|_| self.unreachable("no answer in time"))?;
        self.success(response.map_err(|error| self.unreachable(chain(&error)))?).await
    }

    /// The server as it may be shown: without what its URL holds of secrets.
    pub fn server(&self) -> String {
        let mut url = self.server.clone();
        // Neither can fail for a URL with a host.
        let _ = (url.set_username(""), url.set_password(None));
        url.to_string().trim_end_matches('/').to_owned()
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer<T>, ClientError> {
        let response = request.send().await.map_err(|error| self.unreachable(chain(&error)))?;
        let response = self.success(response).await?;
        let text = response.text().await.map_err(|error| self.unreachable(chain(&error)))?;
        let read = serde_json::from_str(&text).map_err(|error| self.strange(error.to_string()))?;
        Ok(Answer { text, read })
    }

    /// The answer itself, when it is a success; else the envelope's sentence.
    async fn success(&self, response: Response) -> Result<Response, ClientError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let Ok(error) = serde_json::from_str::<ErrorBody>(&text) else {
            return Err(self.strange(format!("status {status} without a reason")));
        };
        let message = match status.as_u16() {
            401 => format!("{} wants an API key: set CALLBOARD_API_KEY to one that it knows", self.server()),
            _ => super::clean::clean_line(&error.message),
        };
        Err(ClientError::Refused { status: status.as_u16(), message })
    }

    fn unreachable(&self, why: impl Into<String>) -> ClientError {
        ClientError::Unreachable { server: self.server(), why: why.into() }
    }

    fn strange(&self, why: impl Into<String>) -> ClientError {
        ClientError::Strange { server: self.server(), why: why.into() }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The innermost cause: the outer ones repeat the URL, which may hold a password.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let Some(mut cause) = error.source() else { return "the exchange broke off".to_owned() };
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    super::clean::clean_line(&cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_leave_their_place_in_the_path() {
        let client = Client::new("http://127.0.0.1:8000/base/", None).unwrap();
        let url = client.url(&["task", "a/b?c#d 任", "result"]);
        assert_eq!(url.as_str(), "http://127.0.0.1:8000/base/task/a%2Fb%3Fc%23d%20%E4%BB%BB/result");
    }

    #[test]
    fn secrets_of_the_url_are_not_shown() {
        let client = Client::new("http://me:secret@host:1", None).unwrap();
        assert_eq!(client.server(), "http://host:1");
        assert!(!client.unreachable("x").to_string().contains("secret"));
    }

    #[test]
    fn what_is_no_server_is_a_bad_setting() {
        for wrong in ["", "host:8000", "ftp://host", "http://"] {
            assert!(matches!(Client::new(wrong, None), Err(ClientError::Settings(_))), "{wrong}");
        }
        assert!(matches!(Client::new(DEFAULT_SERVER, Some("a\nb")), Err(ClientError::Settings(_))));
    }

    #[test]
    fn loopback_needs_no_proxy() {
        let is = |url: &str| is_loopback(&Url::parse(url).unwrap());
        assert!(is("http://127.0.0.1:1") && is("http://[::1]:1") && is("http://localhost"));
        assert!(!is("http://example.org"));
    }
}
