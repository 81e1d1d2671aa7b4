//! `GET /docs`: the description of this API for people, as one page without any script, made from the same document as
//! `/openapi.json`. It loads nothing, and its Content-Security-Policy lets it load nothing.

mod view;

use super::error::ApiError;
use super::fixed::{Fixed, Known};
use super::openapi::describe;
use super::refusals::Open;
use super::{Api, resource};
use actix_web::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{Environment, Error, Value, context};
use sha2::{Digest, Sha256};
use view::View;

const PAGE: &str = include_str!("docs/page.html");
const STYLE: &str = include_str!("docs/page.css");

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/docs", "GET").route(web::get().to(page)));
}

/// This API for people
#[utoipa::path(get, path = "/docs", tag = "operation", operation_id = "read_docs", security(()),
    params(Known),
    responses((status = OK, description = "This page", body = String, content_type = "text/html"),
        (status = NOT_MODIFIED, description = "The client has it already"), Open))]
pub(super) async fn page(api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let has_keys = api.site.options.keys.is_some();
    let page = api.page.get_or_init(|| render(has_keys).map_err(|error| error.to_string().into()));
    let page = page.as_ref().map_err(|error| ApiError::internal(format!("the page cannot be made: {error}")))?;
    let policy = policy();
    Ok(page.answer(&request, |answer| {
        answer
            .insert_header((CONTENT_SECURITY_POLICY, policy.as_str()))
            .insert_header((REFERRER_POLICY, "no-referrer"));
    }))
}

fn render(has_keys: bool) -> Result<Fixed, Error> {
    let mut environment = Environment::new();
    environment.add_filter("prose", view::prose);
    environment.add_template("page.html", PAGE)?;
    let view = Value::from(Serde(View::of(&describe(has_keys))));
    let text = environment.get_template("page.html")?.render(context! { view, has_keys, style => STYLE })?;
    Ok(Fixed::new(text, "text/html; charset=utf-8"))
}

/// Nothing but the style that is in the page, known by its digest.
fn policy() -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
