//! `POST /v1/embeddings`: vectors for texts, plain or, as OpenAI's own clients ask for them, packed.

use super::chat::LONGEST_CALL;
use super::fault::Fault;
use super::{ChatPort, Client, meant, new_call, text};
use crate::http::Site;
use crate::messages::{CallContext, Embed, Embedding};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The most texts at once (OpenAI's own bound).
const MOST_TEXTS: usize = 2048;

#[derive(Deserialize)]
struct Wanted {
    model: Option<String>,
    input: Input,
    encoding_format: Option<String>,
    dimensions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(Arc<str>),
    Many(Vec<Arc<str>>),
}

pub(super) async fn embeddings(
    _client: Client,
    site: web::Data<Site>,
    port: web::Data<ChatPort>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Fault> {
    let body = text(&site, &request, payload).await?;
    let unread = |error| Fault::invalid("input", format!("the body cannot be read, texts are taken here: {error}"));
    let Wanted { model, input, encoding_format, dimensions } = serde_json::from_slice(&body).map_err(unread)?;
    let texts = match input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    if texts.is_empty() || texts.len() > MOST_TEXTS || texts.iter().any(|text| text.is_empty()) {
        return Err(Fault::invalid("input", format!("send 1 to {MOST_TEXTS} texts, none of them empty")));
    }
    let is_packed = match encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Fault::invalid("encoding_format", "use float or base64")),
    };
    let (provider, model) = meant(model.as_deref(), &port.providers);
    let embed = Embed { call: new_call(), embedding: Embedding { model, texts, dimensions }, provider };
    let embedded = port.embed.ask(embed, CallContext::default(), LONGEST_CALL).await??;
    let vector = |(index, vector): (usize, &Vec<f32>)| {
        let numbers = if is_packed { packed(vector) } else { json!(vector) };
        json!({"object": "embedding", "index": index, "embedding": numbers})
    };
    let data: Vec<_> = embedded.vectors.iter().enumerate().map(vector).collect();
    let tokens = embedded.usage.map_or(0, |usage| usage.input_tokens);
    Ok(HttpResponse::Ok().json(json!({"object": "list", "data": data, "model": embedded.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})))
}

/// As f32 in little-endian, in base64.
fn packed(vector: &[f32]) -> Value {
    let bytes: Vec<_> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    json!(STANDARD.encode(bytes))
}
