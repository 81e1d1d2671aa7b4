//! Google's Gemini by `generateContent`. Its forms on the wire are in `wire`; what its errors mean, which say more than their
//! status, is in `fault`.

mod fault;
mod stream;
mod wire;

use super::web::{Replied, Web, unreadable};
use super::{Pieces, Provider, Trouble};
use crate::messages::{Answer, Completion, Embedded, Embedding};
use crate::secret::Secret;
use futures_util::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// Where Gemini is, and which models are asked.
#[derive(Debug, Clone)]
pub struct GeminiSettings {
    /// Its base, such as `https://generativelanguage.googleapis.com`.
    pub url: Arc<str>,
    /// What it is shown.
    pub key: Option<Secret>,
    /// Which model answers where the caller names none.
    pub model: Arc<str>,
    /// Which model makes vectors.
    pub embedding_model: Option<Arc<str>>,
}

/// The provider.
#[derive(Debug)]
pub struct Gemini {
    web: Web,
    settings: GeminiSettings,
}

/// Its name in settings and answers.
pub(super) const NAME: &str = "gemini";
/// The key rides here and never in the URL, which logs repeat.
const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

impl Gemini {
    pub(super) fn new(web: Web, settings: GeminiSettings) -> Self {
        Self { web, settings }
    }

    /// The URL of a model's method. A model may be named with `models/` before it or without.
    fn url(&self, model: &str, method: &str) -> Result<String, Trouble> {
        let model = model.strip_prefix("models/").unwrap_or(model);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if model.is_empty() || !model.chars().all(is_plain) {
            return Err(fault::no_model(model));
        }
        Ok(format!("{}/v1beta/models/{model}:{method}", self.settings.url.trim_end_matches('/')))
    }

    fn headers(&self) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &self.settings.key {
            let mut value = HeaderValue::try_from(key.reveal()).map_err(|_| fault::bad_key())?;
            value.set_sensitive(true);
            headers.insert(KEY, value);
        }
        Ok(headers)
    }

    fn model<'a>(&'a self, named: &'a Option<Arc<str>>) -> &'a str {
        named.as_deref().unwrap_or(&self.settings.model)
    }
}

impl Provider for Gemini {
    fn name(&self) -> &'static str {
        NAME
    }

    fn complete<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(async move {
            let model = self.model(&completion.model);
            let url = self.url(model, "generateContent")?;
            let replied = self.web.post(&url, self.headers()?, &wire::Request::of(completion)).await?;
            wire::answer(read(&replied)?, model)
        })
    }

    fn stream<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Pieces, Trouble>> {
        Box::pin(async move {
            let model = self.model(&completion.model);
            let url = self.url(model, "streamGenerateContent?alt=sse")?;
            let request = wire::Request::of(completion);
            let opened = self.web.post_for_events(&url, self.headers()?, &request).await?;
            let events = opened.map_err(|replied| fault::of(replied.status, &replied.body))?;
            Ok(stream::pieces(events, model))
        })
    }

    fn embed<'a>(&'a self, embedding: &'a Embedding) -> BoxFuture<'a, Result<Embedded, Trouble>> {
        Box::pin(async move {
            let own = self.settings.embedding_model.as_deref();
            let model = embedding.model.as_deref().or(own).ok_or_else(|| super::no_vectors(NAME))?;
            let url = self.url(model, "batchEmbedContents")?;
            let request = wire::EmbeddingRequest::of(embedding, model);
            let replied = self.web.post(&url, self.headers()?, &request).await?;
            wire::embedded(read(&replied)?, model, embedding.texts.len())
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(replied: &Replied) -> Result<T, Trouble> {
    if !(200..300).contains(&replied.status) {
        return Err(fault::of(replied.status, &replied.body));
    }
    serde_json::from_slice(&replied.body).map_err(|error| unreadable(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_model_is_named_with_its_kind_or_without_and_leads_nowhere_else() {
        let settings =
            GeminiSettings { url: "http://here/".into(), key: None, model: "m".into(), embedding_model: None };
        let gemini = Gemini::new(Web::new(Duration::from_secs(1)).unwrap(), settings);
        let url = |model| gemini.url(model, "generateContent").map_err(|trouble| trouble.kind);
        let expected = "http://here/v1beta/models/gemini-2.5-flash:generateContent".to_owned();
        assert_eq!(url("gemini-2.5-flash"), Ok(expected.clone()));
        assert_eq!(url("models/gemini-2.5-flash"), Ok(expected));
        for elsewhere in ["", "../files", "a/b", "a?key=b", "a b", "a:countTokens"] {
            assert_eq!(url(elsewhere), Err(super::super::TroubleKind::Invalid), "{elsewhere}");
        }
    }
}
