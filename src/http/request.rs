//! Reading a request at the edge: its body within bounds, its query, the task that its path names, how long it wants to
//! wait. Whatever does not have the right form ends here, as the envelope.

use super::auth::Caller;
use super::error::ApiError;
use crate::task::{TaskId, TaskKey};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use std::time::Duration;
use utoipa::IntoParams;

/// How much of a body that is too large is still read, in limits, so that the client gets to read the answer: it may look
/// for one only after it has sent all.
const DRAINED: usize = 4;

/// Reads a whole body, up to so many bytes, within the time that it may take.
pub(super) async fn body(payload: web::Payload, limit: usize, within: Duration) -> Result<Vec<u8>, ApiError> {
    let read = tokio::time::timeout(within, read(payload, limit)).await;
    read.unwrap_or_else(|_| Err(ApiError::slow_body()))
}

async fn read(mut payload: web::Payload, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    let mut seen = 0;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Overflow => ApiError::too_large(limit),
            other => ApiError::broken_body().because(other.to_string()),
        })?;
        seen += chunk.len();
        if seen > limit.saturating_mul(DRAINED) {
            break;
        }
        if seen <= limit {
            body.extend_from_slice(&chunk);
        } else {
            body = Vec::new();
        }
    }
    if seen > limit { Err(ApiError::too_large(limit)) } else { Ok(body) }
}

/// Refuses a body that says of itself that it is far too large, unread.
pub(super) fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_hopeless = length.is_some_and(|length| length > limit.saturating_mul(DRAINED) as u64);
    if is_hopeless { Err(ApiError::too_large(limit)) } else { Ok(()) }
}

/// Refuses JSON that is nested deeper than this, before anything is built from it. A text that is no JSON is let through
/// to whoever says so.
pub(super) fn check_depth(body: &[u8], limit: usize) -> Result<(), ApiError> {
    if depth(body) > limit {
        let message = format!("the body must not be nested deeper than {limit} levels: flatten it, or send it as text");
        return Err(ApiError::invalid("body", message));
    }
    Ok(())
}

/// How many arrays and objects a JSON text has around its innermost value, counted without recursion.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Reads JSON as a type: what is no JSON is a 400, and JSON of another form a 422. The content type is not asked, since
/// nothing but JSON is ever understood.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| json_error(&error))
}

/// What is wrong with a JSON text, for its sender.
pub(super) fn json_error(error: &serde_json::Error) -> ApiError {
    match error.classify() {
        serde_json::error::Category::Data => ApiError::invalid("body", format!("the body has the wrong form: {error}")),
        _ => ApiError::malformed(format!("the body is not JSON: {error}")),
    }
}

/// The query's parameters, in order.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a request.
    pub(super) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|error| ApiError::malformed(format!("the query cannot be read: {error}")))?;
        Ok(Self(pairs.into_inner()))
    }

    /// The same, where each is one of these and stands once: a filter that is silently not honoured shows too much.
    pub(super) fn only(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let params = Self::of(request)?;
        for (nth, (name, _)) in params.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let message = format!("there is no parameter {name:?}: use {}", known.join(", "));
                return Err(ApiError::invalid(name, message));
            }
            if params.0[..nth].iter().any(|(earlier, _)| earlier == name) {
                return Err(ApiError::invalid(name, format!("{name} stands twice: give it once")));
            }
        }
        Ok(params)
    }

    /// The first of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// The task that a path names, in the caller's tenant. An id that cannot be one names nothing.
pub(super) async fn task_key(request: &HttpRequest, caller: &Caller) -> Result<TaskKey, ApiError> {
    let text = web::Path::<String>::extract(request).await.map_err(|_| no_such_task("that"))?;
    let id = TaskId::parse(&text).map_err(|_| no_such_task("that"))?;
    let key = TaskKey { tenant: caller.tenant.clone(), id };
    concerns(request, &key.id);
    Ok(key)
}

/// There is no such task, or it is another tenant's: callers cannot tell which.
pub(super) fn no_such_task(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no task {id}: check the id, or see GET /tasks"))
}

/// The task that a request is about, for its log line.
pub(super) struct Concerns(pub(super) TaskId);

/// Notes for the log which task a request is about.
pub(super) fn concerns(request: &HttpRequest, id: &TaskId) {
    request.extensions_mut().insert(Concerns(id.clone()));
}

/// A header's text.
pub(super) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok().map(str::trim)
}

/// The wait in a query, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "`wished_wait` reads it")]
pub(super) struct Wait {
    /// How many seconds to wait for the task to end.
    #[param(minimum = 0, maximum = 300)]
    wait: Option<f64>,
}

/// The wait in a header, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "`wished_wait` reads it")]
pub(super) struct PreferredWait {
    /// RFC 7240: `wait=SECONDS` waits as `wait` does, and counts when that is not given.
    #[param(rename = "Prefer", nullable = false, example = "wait=10")]
    prefer: Option<String>,
}

/// How long a client wants to wait: `?wait=SECONDS`, else `Prefer: wait=SECONDS` (RFC 7240), of which an unreadable one is
/// ignored as that standard says.
pub(super) fn wished_wait(request: &HttpRequest, longest: Duration) -> Result<Option<Duration>, ApiError> {
    if let Some(text) = Params::of(request)?.get("wait") {
        let wait = seconds(text).filter(|wait| *wait <= longest);
        return wait.map(Some).ok_or_else(|| {
            ApiError::invalid("wait", format!("wait must be a number of seconds from 0 to {}", longest.as_secs()))
        });
    }
    let preferences = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    let mut preferences = preferences.flat_map(|value| value.split([',', ';'])).filter_map(|part| part.split_once('='));
    let wait = preferences.find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    Ok(wait.and_then(|(_, text)| seconds(text.trim().trim_matches('"'))).map(|wait| wait.min(longest)))
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A task's address; its id may hold any character.
pub(super) fn task_path(id: &TaskId) -> String {
    format!("/task/{}", escaped(id.as_str()))
}

/// A text as a part of a URL's path.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    const LONGEST: Duration = Duration::from_secs(300);

    fn wished(query: &str, prefer: &'static str) -> Result<Option<Duration>, ApiError> {
        let request = TestRequest::with_uri(&format!("/task?{query}")).insert_header(("prefer", prefer));
        wished_wait(&request.to_http_request(), LONGEST)
    }

    #[test]
    fn a_wait_is_read_from_query_or_preference() {
        assert_eq!(wished("wait=5", "wait=9").unwrap(), Some(Duration::from_secs(5)));
        assert_eq!(wished("wait=0.5", "").unwrap(), Some(Duration::from_millis(500)));
        assert_eq!(wished("", "respond-async, wait=10").unwrap(), Some(Duration::from_secs(10)));
        assert_eq!(wished("", "Wait=\"7\"; x=1").unwrap(), Some(Duration::from_secs(7)));
        assert_eq!(wished("", "wait=99999").unwrap(), Some(LONGEST));
        assert_eq!(wished("", "wait=soon").unwrap(), None);
        assert_eq!(wished("", "return=minimal").unwrap(), None);
        for bad in ["wait=", "wait=-1", "wait=x", "wait=NaN", "wait=inf", "wait=301", "wait=1e300"] {
            assert!(wished(bad, "wait=1").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tasks_path_survives_any_id() {
        assert_eq!(task_path(&TaskId::trusted("a/b c~1")), "/task/a%2Fb%20c~1");
        assert_eq!(task_path(&TaskId::trusted("任")), "/task/%E4%BB%BB");
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        assert_eq!(depth(br#"{"a":"[[[\"[[","b":[{}]}"#), 3);
        assert_eq!(depth(b"]]]["), 1);
        assert!(check_depth(b"[[1]]", 2).is_ok());
        assert!(check_depth(b"[[[1]]]", 2).is_err());
    }

    #[test]
    fn no_json_is_told_from_another_form() {
        use actix_web::ResponseError;
        let status = |text: &str| json::<Vec<u8>>(text.as_bytes()).unwrap_err().status_code().as_u16();
        assert_eq!(status("[1,"), 400);
        assert_eq!(status(""), 400);
        assert_eq!(status("{}"), 422);
        assert_eq!(status("[999]"), 422);
    }
}
