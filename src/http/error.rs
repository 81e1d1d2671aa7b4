//! The one error envelope, `{code, message, details}`: which status each kind of failure has, and what of it callers see.
//! What only operators should read stays in the error and goes to the request log.

use crate::messages::{CallError, MasterError};
use crate::store::StoreError;
use crate::task::{ErrorCode, Failure};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use utoipa::ToSchema;

/// How long callers should wait, in seconds, where nobody knows better.
const RETRY_AFTER_S: u32 = 1;

/// Whatever is answered instead of a 2xx.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    code: ErrorCode,
    /// For the caller.
    message: Arc<str>,
    details: Option<serde_json::Map<String, serde_json::Value>>,
    /// For the log only.
    internal: Option<Arc<str>>,
    hint: Hint,
}

/// The header that an error's status asks for.
#[derive(Debug, Clone, Copy)]
enum Hint {
    None,
    RetryAfter(u32),
    Allow(&'static str),
    Challenge,
}

/// The envelope on the wire; also the form of a step's error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorResponse, description = "What went wrong: of a request, a task, a step or an attempt")]
pub(super) struct Envelope<'a> {
    code: ErrorCode,
    /// What happened, why, and what to do next.
    message: &'a str,
    /// More, where there is more: `field` names the field, parameter or header that was refused.
    #[schema(required, value_type = Option<Object>)]
    details: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

impl<'a> From<&'a Failure> for Envelope<'a> {
    fn from(failure: &'a Failure) -> Self {
        Self { code: failure.code, message: &failure.message, details: None }
    }
}

impl<'a> Envelope<'a> {
    /// The same with more.
    pub(super) fn with_details(self, details: Option<&'a serde_json::Map<String, serde_json::Value>>) -> Self {
        Self { details, ..self }
    }

    /// An error of this code in these words.
    pub(super) fn new(code: ErrorCode, message: &'a str) -> Self {
        Self { code, message, details: None }
    }
}

// === impl ApiError ===

impl ApiError {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<Arc<str>>) -> Self {
        Self { status, code, message: message.into(), details: None, internal: None, hint: Hint::None }
    }

    /// The body is not JSON.
    pub fn malformed(message: impl Into<Arc<str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::ValidationError, message)
    }

    /// A value is not what it must be; `field` says which.
    pub fn invalid(field: &str, message: impl Into<Arc<str>>) -> Self {
        let details = [("field".to_owned(), field.into())].into_iter().collect();
        let error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::ValidationError, message);
        Self { details: Some(details), ..error }
    }

    /// The body is larger than this many bytes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes: send less, or a reference to where it is kept");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ValidationError, message)
    }

    /// The body did not arrive in time.
    pub fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, "the body did not arrive in time: send it again")
    }

    /// The body broke off.
    pub fn broken_body() -> Self {
        Self::malformed("the body broke off before its end: send it again")
    }

    /// No or a wrong key.
    pub fn unauthorized() -> Self {
        let message =
            "an API key is needed: send `Authorization: Bearer <key>`, or the key as the password of HTTP Basic";
        let error = Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
        Self { hint: Hint::Challenge, ..error }
    }

    /// Not one of Callboard's own processes.
    pub(super) fn not_a_colleague(message: &'static str) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message);
        Self { hint: Hint::Challenge, ..error }
    }

    /// No such thing.
    pub fn not_found(message: impl Into<Arc<str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }

    /// The path exists, but not with this method.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this path does not have that method: use {allow}");
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::ValidationError, message);
        Self { hint: Hint::Allow(allow), ..error }
    }

    /// It contradicts what is there.
    pub fn conflict(message: impl Into<Arc<str>>) -> Self {
        Self::new(StatusCode::CONFLICT, ErrorCode::Conflict, message)
    }

    /// Full. It is the callers' number and no fault of ours, hence not a 5xx.
    pub fn overloaded(message: impl Into<Arc<str>>, retry_after_s: u32) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::Overloaded, message);
        Self { hint: Hint::RetryAfter(retry_after_s.max(1)), ..error }
    }

    /// Not just now, and nothing is lost.
    pub fn unavailable(code: ErrorCode, message: impl Into<Arc<str>>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        Self { hint: Hint::RetryAfter(RETRY_AFTER_S), ..error }
    }

    /// Whom this process asked in the caller's place failed; only edges have such answers.
    pub(super) fn upstream(status: StatusCode, code: ErrorCode, message: impl Into<Arc<str>>) -> Self {
        Self::new(status, code, message)
    }

    /// A fault of ours; callers learn no more than that.
    pub fn internal(internal: impl Into<Arc<str>>) -> Self {
        let message = "something went wrong in this server, and its log says what: try again, and tell its operator";
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::InternalError, message);
        Self { internal: Some(internal.into()), ..error }
    }

    /// The same error with one more detail for programs.
    #[must_use]
    pub(super) fn with_detail(mut self, name: &str, value: &str) -> Self {
        self.details.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// The same error with a word for the log.
    #[must_use]
    pub fn because(self, internal: impl Into<Arc<str>>) -> Self {
        Self { internal: Some(internal.into()), ..self }
    }

    /// What only the log may say.
    pub(super) fn for_the_log(&self) -> &str {
        self.internal.as_deref().unwrap_or(&self.message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        match self.hint {
            Hint::None => {}
            Hint::RetryAfter(seconds) => {
                response.insert_header((header::RETRY_AFTER, seconds.to_string()));
            }
            Hint::Allow(methods) => {
                response.insert_header((header::ALLOW, methods));
            }
            Hint::Challenge => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"callboard\""));
            }
        }
        response.json(Envelope { code: self.code, message: &self.message, details: self.details.as_ref() })
    }
}

// === From the errors inside ===

impl From<MasterError> for ApiError {
    fn from(error: MasterError) -> Self {
        match error {
            MasterError::Conflict(message) => Self::conflict(message),
            MasterError::NotFound(message) => Self::not_found(message),
            MasterError::Overloaded { message, retry_after_s } => Self::overloaded(message, retry_after_s),
            MasterError::StoreUnavailable(why) => store_unavailable(why),
            MasterError::NoAgent(message) => Self::unavailable(ErrorCode::RoutingError, message),
            MasterError::Draining => draining(),
            MasterError::Internal(why) => Self::internal(why),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(why) | StoreError::Refused(why) => store_unavailable(why),
            StoreError::Busy(_) => Self::overloaded(error.to_string(), RETRY_AFTER_S),
            // Another process of a rolling upgrade can read it.
            StoreError::Newer(_) => Self::unavailable(ErrorCode::InternalError, error.to_string()),
            StoreError::Corrupt(why) => Self::internal(why),
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        let message = match error {
            CallError::Overloaded => {
                return Self::overloaded("too many requests are under way: send it again in a moment", RETRY_AFTER_S);
            }
            CallError::Timeout => "no answer in time, and it may still be carried out: send the same again",
            CallError::Crashed => "the master crashed at this and was restarted: send the same again",
            CallError::Unavailable => "the master is not running just now: send the same again in a moment",
            CallError::Rejected => "the master cannot take this just now: send the same again in a moment",
        };
        // Not 504: there is no upstream, and clients retry a 503 with `Retry-After`.
        Self::unavailable(error.code(), message).because(format!("master: {error}"))
    }
}

/// This process is on its way out.
pub(super) fn draining() -> ApiError {
    ApiError::unavailable(ErrorCode::Overloaded, MasterError::Draining.to_string())
}

fn store_unavailable(why: Arc<str>) -> ApiError {
    let message = "the store cannot be reached just now, and nothing was lost: send the same again in a moment";
    ApiError::unavailable(ErrorCode::InternalError, message).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;

    fn answered(error: impl Into<ApiError>) -> (u16, Option<String>, serde_json::Value) {
        let response = error.into().error_response();
        let retry_after = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = response.into_body().try_into_bytes().unwrap();
        (status, retry_after, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn every_master_error_has_its_status_and_hint() {
        let overloaded = MasterError::Overloaded { message: "full".into(), retry_after_s: 7 };
        for (error, status, code, retry_after) in [
            (MasterError::Conflict("taken".into()), 409, "conflict", None),
            (MasterError::NotFound("gone".into()), 404, "not_found", None),
            (overloaded, 429, "overloaded", Some("7")),
            (MasterError::StoreUnavailable("redis://secret@host".into()), 503, "internal_error", Some("1")),
            (MasterError::Draining, 503, "overloaded", Some("1")),
            (MasterError::Internal("line 7".into()), 500, "internal_error", None),
        ] {
            let (is, hint, body) = answered(error);
            assert_eq!((is, body["code"].as_str().unwrap(), hint.as_deref()), (status, code, retry_after));
            assert!(body["details"].is_null());
        }
    }

    #[test]
    fn every_call_error_may_be_tried_again() {
        for (error, status, code) in [
            (CallError::Overloaded, 429, "overloaded"),
            (CallError::Timeout, 503, "timeout"),
            (CallError::Crashed, 503, "crashed"),
            (CallError::Unavailable, 503, "worker_unavailable"),
        ] {
            let (is, hint, body) = answered(error);
            assert_eq!((is, body["code"].as_str().unwrap(), hint.as_deref()), (status, code, Some("1")));
        }
    }

    #[test]
    fn what_is_internal_stays_inside() {
        for error in [
            ApiError::from(StoreError::Unavailable("redis://user:secret@host".into())),
            ApiError::from(StoreError::Corrupt("secret row".into())),
            ApiError::internal("secret"),
        ] {
            assert!(error.for_the_log().contains("secret"));
            let (_, _, body) = answered(error);
            assert!(!body.to_string().contains("secret"), "{body}");
        }
    }
}
