//! The refusals that several routes share, as the document describes them: each the envelope, with the header that its
//! status brings. What only one route answers stands at that route.

use super::error::Envelope;
use std::collections::BTreeMap;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder, Type};
use utoipa::{IntoResponses, ToSchema};

/// What every route may answer.
pub(super) enum Open {}

/// What every route that asks for a key may answer.
pub(super) enum Guarded {}

/// What every route that names a task may answer.
pub(super) enum OfTask {}

/// What a route may answer that reads values of the client's.
pub(super) enum Invalid {}

/// What a route may answer that has a bound of its own on how many it serves.
pub(super) enum Bounded {}

/// What every route may answer that needs the store or the master.
pub(super) enum Stored {}

const INTERNAL: &str = "A fault of ours; the server's log says more.";

impl IntoResponses for Open {
    fn responses() -> Responses {
        one("500", refusal(INTERNAL))
    }
}

impl IntoResponses for Guarded {
    fn responses() -> Responses {
        let asked = header("Asks for a key: `Bearer realm=\"callboard\"`", Type::String);
        let unauthorized = refusal("No API key, or a wrong one.").header("WWW-Authenticate", asked);
        [one("401", unauthorized), Open::responses()].into_iter().flatten().collect()
    }
}

impl IntoResponses for OfTask {
    fn responses() -> Responses {
        one("404", refusal("No such task, or another tenant's: callers cannot tell which."))
    }
}

impl IntoResponses for Invalid {
    fn responses() -> Responses {
        one("422", refusal("A value is not what it must be; `details.field` says which."))
    }
}

impl IntoResponses for Bounded {
    fn responses() -> Responses {
        let full = "Full; the same request may succeed later.";
        one("429", refusal(full).header("Retry-After", retry_after()))
    }
}

impl IntoResponses for Stored {
    fn responses() -> Responses {
        let away = "Not just now: the store or the master cannot be reached, or the process is on its way out. \
            Nothing that was accepted is lost.";
        one("503", refusal(away).header("Retry-After", retry_after()))
    }
}

type Responses = BTreeMap<String, RefOr<Response>>;

fn one(status: &str, response: ResponseBuilder) -> Responses {
    BTreeMap::from([(status.to_owned(), response.build().into())])
}

fn refusal(description: &str) -> ResponseBuilder {
    let envelope = Ref::from_schema_name(Envelope::name());
    let content = ContentBuilder::new().schema(Some(envelope)).build();
    ResponseBuilder::new().description(description).content("application/json", content)
}

fn retry_after() -> utoipa::openapi::header::Header {
    header("Seconds to wait before the same request is sent again", Type::Integer)
}

fn header(description: &str, of: Type) -> utoipa::openapi::header::Header {
    let schema = ObjectBuilder::new().schema_type(of);
    HeaderBuilder::new().schema(schema).description(Some(description)).build()
}
