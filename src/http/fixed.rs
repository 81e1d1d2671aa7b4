//! A text that stays the same while the process runs, and how it is answered: with an ETag, so that who has it already is
//! told so instead of getting it again.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

/// What the client may say of what it has, for its description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "`Fixed::answer` reads it")]
pub(super) struct Known {
    /// The `ETag` that the client has.
    #[param(rename = "If-None-Match", nullable = false)]
    if_none_match: Option<String>,
}

/// Such a text.
pub(super) struct Fixed {
    text: web::Bytes,
    content_type: &'static str,
    etag: String,
}

impl Fixed {
    /// A text of this type.
    pub(super) fn new(text: String, content_type: &'static str) -> Self {
        let digest: String = Sha256::digest(&text).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { text: text.into(), content_type, etag: format!("\"{digest}\"") }
    }

    /// The answer to a request for it, with whatever headers this adds.
    pub(super) fn answer(&self, request: &HttpRequest, add: impl Fn(&mut HttpResponseBuilder)) -> HttpResponse {
        let known = request.headers().get_all(IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
        let mut known = known.flat_map(|value| value.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        let is_known = known.any(|tag| tag == self.etag || tag == "*");
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        // Kept, and asked for again each time: another version of the program may be here by then.
        answer.insert_header((CACHE_CONTROL, "no-cache")).insert_header((ETAG, self.etag.clone()));
        answer.insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"));
        add(&mut answer);
        if is_known { answer.finish() } else { answer.content_type(self.content_type).body(self.text.clone()) }
    }
}
