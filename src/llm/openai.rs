//! Every server that speaks OpenAI's chat completions and embeddings: OpenAI itself, Azure, Ollama, vLLM, llama.cpp,
//! LiteLLM. What the servers do differently are settings ([`Quirks`]); the wire's forms are in `wire`.

mod fault;
mod stream;
mod wire;

use super::web::{Replied, Web, unreadable};
use super::{Pieces, Provider, Secret, Trouble};
use crate::messages::{Answer, Completion, Embedded, Embedding};
use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use std::str::FromStr;
use std::sync::Arc;

/// Where such a server is, and how it wants to be asked.
#[derive(Debug, Clone)]
pub struct OpenAiSettings {
    /// Its base, such as `https://api.openai.com/v1`.
    pub url: Arc<str>,
    /// What it is shown; nothing for a server on this machine.
    pub key: Option<Secret>,
    /// Which model answers where the caller names none.
    pub model: Arc<str>,
    /// Which model makes vectors; none where it makes none.
    pub embedding_model: Option<Arc<str>>,
    /// What it does differently.
    pub quirks: Quirks,
}

/// What such servers do differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// The limit of an answer's tokens is called `max_completion_tokens`, as OpenAI's newer models want it.
    pub max_completion_tokens: bool,
    /// A stream cannot be asked to say what it used: such a request is a 400 there.
    pub no_stream_usage: bool,
    /// It takes no `seed`.
    pub no_seed: bool,
}

/// A name that no quirk has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no quirk {0:?}: use max_completion_tokens, no_stream_usage or no_seed")]
pub struct UnknownQuirk(String);

impl FromStr for Quirks {
    type Err = UnknownQuirk;

    fn from_str(text: &str) -> Result<Self, UnknownQuirk> {
        let mut quirks = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "max_completion_tokens" => quirks.max_completion_tokens = true,
                "no_stream_usage" => quirks.no_stream_usage = true,
                "no_seed" => quirks.no_seed = true,
                other => return Err(UnknownQuirk(other.to_owned())),
            }
        }
        Ok(quirks)
    }
}

/// The provider.
#[derive(Debug)]
pub struct OpenAi {
    web: Web,
    settings: OpenAiSettings,
}

/// Its name in settings and answers.
pub(super) const NAME: &str = "openai";

impl OpenAi {
    pub(super) fn new(web: Web, settings: OpenAiSettings) -> Self {
        Self { web, settings }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.settings.url.trim_end_matches('/'))
    }

    fn headers(&self) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.settings.key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal())).map_err(|_| fault::bad_key())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    fn model<'a>(&'a self, named: &'a Option<Arc<str>>) -> &'a str {
        named.as_deref().unwrap_or(&self.settings.model)
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn complete<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let request = wire::Request::of(completion, self.model(&completion.model), self.settings.quirks, false);
            let replied = self.web.post(&self.url("chat/completions"), self.headers()?, &request).await?;
            wire::answer(read(&replied)?)
        })
    }

    fn stream<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Pieces, Trouble>> {
        Box::pin(async move {
            let request = wire::Request::of(completion, self.model(&completion.model), self.settings.quirks, true);
            let opened = self.web.post_for_events(&self.url("chat/completions"), self.headers()?, &request).await?;
            let events = opened.map_err(|replied| fault::of(&replied))?;
            Ok(stream::pieces(events))
        })
    }

    fn embed<'a>(&'a self, embedding: &'a Embedding) -> BoxFuture<'a, Result<Embedded, Trouble>> {
        Box::pin(async move {
            let own = self.settings.embedding_model.as_deref();
            let model = embedding.model.as_deref().or(own).ok_or_else(|| super::no_vectors(NAME))?;
            let request = wire::EmbeddingRequest::of(embedding, model);
            let replied = self.web.post(&self.url("embeddings"), self.headers()?, &request).await?;
            wire::embedded(read(&replied)?, embedding.texts.len())
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(replied: &Replied) -> Result<T, Trouble> {
    if !(200..300).contains(&replied.status) {
        return Err(fault::of(replied));
    }
    serde_json::from_slice(&replied.body).map_err(|error| unreadable(&error.to_string()))
}
