//! What goes wrong, in OpenAI's words: `{"error": {"message", "type", "param", "code"}}`, with the status by which its clients
//! decide whether to try again. What the gateway has tried again itself they are told to leave.

use crate::http::error::ApiError;
use crate::messages::{CallError, Trouble, TroubleKind};
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// A failure as such clients read it.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: Arc<str>,
    retry_after_s: Option<u64>,
    /// The gateway has tried again as often as makes sense.
    is_final: bool,
}

impl Fault {
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<Arc<str>>) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after_s: None, is_final: false }
    }

    /// Something of the question is wrong; `param` says what.
    pub fn invalid(param: &'static str, message: impl Into<Arc<str>>) -> Self {
        let fault = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message);
        Self { param: Some(param), ..fault }
    }

    /// As it is sent within a stream, too.
    pub fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Fault {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if let Some(seconds) = self.retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if self.is_final {
            response.insert_header(("x-should-retry", "false"));
        }
        response.json(self.body())
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        let (status, kind, code) = match trouble.kind {
            TroubleKind::Unavailable | TroubleKind::Broken => (StatusCode::SERVICE_UNAVAILABLE, "server_error", None),
            TroubleKind::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "server_error", Some("timeout")),
            TroubleKind::Throttled => (StatusCode::TOO_MANY_REQUESTS, "requests", Some("rate_limit_exceeded")),
            TroubleKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", Some("insufficient_quota")),
            TroubleKind::Invalid => (StatusCode::BAD_REQUEST, "invalid_request_error", None),
            TroubleKind::Filtered => (StatusCode::BAD_REQUEST, "invalid_request_error", Some("content_filter")),
            // The caller's own key is well; the gateway's is not.
            TroubleKind::Unauthorized => (StatusCode::BAD_GATEWAY, "server_error", Some("provider_unauthorized")),
            TroubleKind::Full => (StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("overloaded")),
        };
        let is_full = trouble.kind == TroubleKind::Full;
        let asked = trouble.wait.map(|wait| wait.as_secs() + 1).filter(|_| trouble.kind == TroubleKind::Throttled);
        Self {
            retry_after_s: if is_full { Some(1) } else { asked },
            is_final: !is_full && trouble.kind != TroubleKind::Throttled,
            ..Self::new(status, kind, code, trouble.message)
        }
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        let (status, message) = match error {
            CallError::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "too many model calls are under way"),
            CallError::Timeout => (StatusCode::GATEWAY_TIMEOUT, "the model did not answer in time"),
            CallError::Crashed | CallError::Rejected | CallError::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "the gateway was restarted during this call: send it again")
            }
        };
        Self { retry_after_s: Some(1), ..Self::new(status, "server_error", None, message) }
    }
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        Self::new(error.status_code(), "invalid_request_error", None, error.to_string())
    }
}
