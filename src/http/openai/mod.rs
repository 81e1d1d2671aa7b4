//! `/v1`: the models for clients that speak OpenAI's language, so that any of them, AG2 or LangGraph can be pointed here. Its
//! wire and its errors are OpenAI's (`openai-python`, `types/`), not this API's own.

mod chat;
mod chunks;
mod embeddings;
mod fault;
mod question;

use super::auth::{Caller, Colleague};
use super::error::ApiError;
use super::request::{body, check_depth, check_length};
use super::{Site, resource};
use crate::actors::ActorRef;
use crate::messages::{CallContext, Chat, ChatStream, Embed, ProviderStates};
use crate::task::CallId;
use actix_web::{FromRequest, HttpRequest, HttpResponse, dev, web};
use fault::Fault;
use serde_json::json;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

/// What answers such clients in a process with a gateway.
pub struct ChatPort {
    /// Who makes their calls.
    pub chat: ActorRef<Chat>,
    /// The same, as the answer comes.
    pub stream: ActorRef<ChatStream>,
    /// Who makes vectors.
    pub embed: ActorRef<Embed>,
    /// Who knows how the providers do.
    pub states: ActorRef<ProviderStates>,
    /// The providers' names; the one first that answers where none is named.
    pub providers: Vec<Arc<str>>,
}

/// How long the gateway may take to say how its providers do.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/chat/completions", "POST").route(web::post().to(chat::completions)))
        .service(resource("/v1/embeddings", "POST").route(web::post().to(embeddings::embeddings)))
        .service(resource("/v1/models", "GET").route(web::get().to(models)))
        .service(resource("/providers", "GET").route(web::get().to(providers)));
}

/// Whoever may speak to the models: with an API key where there are keys, else as one of Callboard's own processes may.
#[derive(Debug, Clone, Copy)]
struct Client;

impl FromRequest for Client {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let has_keys = request.app_data::<web::Data<Site>>().is_some_and(|site| site.options.keys.is_some());
        ready(if has_keys {
            Caller::from_request(request, payload).into_inner().map(|_| Self)
        } else {
            Colleague::from_request(request, payload).into_inner().map(|_| Self)
        })
    }
}

/// The providers as models: each by its name, and each of its models as `provider/model`.
async fn models(_client: Client, port: web::Data<ChatPort>) -> HttpResponse {
    let model = |name: &Arc<str>| json!({"id": name, "object": "model", "created": 0, "owned_by": "callboard"});
    let models: Vec<_> = port.providers.iter().map(model).collect();
    HttpResponse::Ok().json(json!({"object": "list", "data": models}))
}

/// How the providers do: whether calls go there, and how they failed last. This API's own, not OpenAI's.
async fn providers(_client: Client, port: web::Data<ChatPort>) -> Result<HttpResponse, ApiError> {
    let states = port.states.ask(ProviderStates, CallContext::default(), ANSWER_WITHIN).await?;
    Ok(HttpResponse::Ok().json(json!({ "providers": states })))
}

/// Which provider a model's name means, and which of its models: `provider`, `provider/model`, or a model of the provider that
/// answers where none is named.
fn meant(name: Option<&str>, providers: &[Arc<str>]) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let known = |name: &str| providers.iter().find(|known| ***known == *name).cloned();
    let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return (None, None) };
    if let Some(provider) = known(name) {
        return (Some(provider), None);
    }
    match name.split_once('/').and_then(|(first, model)| Some((known(first)?, model))) {
        Some((provider, model)) => (Some(provider), Some(model.into())),
        None => (None, Some(name.into())),
    }
}

/// Reads a body.
async fn text(site: &Site, request: &HttpRequest, payload: web::Payload) -> Result<Vec<u8>, Fault> {
    let limit = site.options.max_body_bytes;
    check_length(request.headers(), limit)?;
    let body = body(payload, limit, site.options.body_timeout).await?;
    check_depth(&body, site.options.max_json_depth)?;
    Ok(body)
}

fn new_call() -> CallId {
    CallId::trusted(uuid::Uuid::now_v7().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_says_which_provider_is_meant() {
        let providers = ["openai", "gemini"].map(Arc::from);
        let meant = |name: &str| {
            let (provider, model) = meant(Some(name), &providers);
            (provider.as_deref().map(str::to_owned), model.as_deref().map(str::to_owned))
        };
        let pair =
            |provider: Option<&str>, model: Option<&str>| (provider.map(str::to_owned), model.map(str::to_owned));
        assert_eq!(meant("gemini"), pair(Some("gemini"), None));
        assert_eq!(meant("gemini/gemini-2.5-pro"), pair(Some("gemini"), Some("gemini-2.5-pro")));
        assert_eq!(meant("meta-llama/Llama-3"), pair(None, Some("meta-llama/Llama-3")));
        assert_eq!(meant("gpt-9"), pair(None, Some("gpt-9")));
        assert_eq!(meant(" "), pair(None, None));
    }
}
