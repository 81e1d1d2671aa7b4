//! The settings about models: who answers, who answers in whose place, where they are, and with which keys.

use super::{Noted, Reading, choice};
use crate::llm::{GeminiSettings, Keys, MockSettings, ModelSettings, OpenAiSettings, ProviderKind, Quirks};
use std::sync::Arc;
use std::time::Duration;

impl Reading {
    /// All of them. Keys are missed only where calls are made, which is where the gateway is.
    pub(super) fn models(&mut self, is_gateway: bool) -> Result<ModelSettings, Noted> {
        // Each is read before any is missed, so that every problem is noted.
        let provider = self.parsed::<ProviderKind>("provider");
        let fallback = self.value("fallback", |text| {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            names
                .map(|name| name.parse::<ProviderKind>().map_err(|error| error.to_string()))
                .collect::<Result<Vec<_>, _>>()
        });
        let fallback_refused = self.value("fallback_refused", choice);
        let mock = self.mock();
        let openai = self.openai();
        let gemini = self.gemini();
        let tries = self.value("model_tries", |text| {
            let tries = text.trim().parse().ok().filter(|tries| (1..=10).contains(tries));
            tries.ok_or_else(|| format!("{text:?} is no whole number from 1 to 10"))
        });
        let silence = self.duration("model_silence", Duration::from_secs(1));
        let concurrency = self.number("model_concurrency", 1_usize);
        let queue = self.number("model_queue", 0_usize);
        if is_gateway {
            let named = provider.iter().map(|kind| ("provider", *kind));
            let fallbacks = fallback.iter().flatten().map(|kind| ("fallback", *kind));
            let missing: Vec<_> = named
                .chain(fallbacks)
                .filter_map(|(setting, kind)| {
                    let is_missing = match kind {
                        ProviderKind::OpenAi => matches!(openai, Ok(None)),
                        ProviderKind::Gemini => matches!(gemini, Ok(None)),
                        ProviderKind::Extractive | ProviderKind::Mock => false,
                    };
                    is_missing.then_some((setting, kind))
                })
                .collect();
            for (setting, kind) in missing {
                self.wrong(setting, unset(kind));
            }
        }
        Ok(ModelSettings {
            provider: provider?,
            fallback: fallback?,
            fallback_refused: fallback_refused?,
            mock: mock?,
            openai: openai?,
            gemini: gemini?,
            tries: tries?,
            silence: silence?,
            concurrency: concurrency?,
            queue: queue?,
        })
    }

    fn mock(&mut self) -> Result<MockSettings, Noted> {
        let mock = MockSettings::from_text(self.text("mock_latency"), self.text("mock_script"));
        mock.map_err(|error| {
            let is_latency = matches!(error, crate::llm::MockSettingsError::Latency { .. });
            self.wrong(if is_latency { "mock_latency" } else { "mock_script" }, error.to_string());
            Noted
        })
    }

    fn openai(&mut self) -> Result<Option<(OpenAiSettings, Keys)>, Noted> {
        let url = self.value("openai_url", base);
        let keys = self.parsed::<Keys>("openai_key");
        let quirks = self.parsed::<Quirks>("openai_quirks");
        let (model, embedding_model) = (self.chosen("openai_model"), self.chosen("openai_embedding_model"));
        let (url, keys, quirks) = (url?, keys?, quirks?);
        let settings = |model| OpenAiSettings { url, key: None, model, embedding_model, quirks };
        Ok(model.map(|model| (settings(model), keys)))
    }

    fn gemini(&mut self) -> Result<Option<(GeminiSettings, Keys)>, Noted> {
        let url = self.value("gemini_url", base);
        let keys = self.parsed::<Keys>("gemini_key");
        let (model, embedding_model) = (self.chosen("gemini_model"), self.chosen("gemini_embedding_model"));
        let (url, keys) = (url?, keys?);
        let settings = |model| GeminiSettings { url, key: None, model, embedding_model };
        Ok(model.filter(|_| !keys.is_empty()).map(|model| (settings(model), keys)))
    }

    fn chosen(&self, name: &str) -> Option<Arc<str>> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(Arc::from)
    }
}

/// Where a provider is: everything else comes behind it.
fn base(text: &str) -> Result<Arc<str>, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        Some(rest) if rest.contains('@') => Err("a key does not belong into a URL: use the setting for it".to_owned()),
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['?', '#', ' ']) => Ok(text.into()),
        _ => Err(format!("{text:?} is no URL: write for example https://api.openai.com/v1")),
    }
}

fn unset(kind: ProviderKind) -> String {
    match kind {
        ProviderKind::OpenAi => {
            "openai needs a model: set openai_model, and openai_url and openai_key as the server wants"
        }
        _ => "gemini needs a key: set CALLBOARD_GEMINI_KEY or GEMINI_API_KEY",
    }
    .to_owned()
}
