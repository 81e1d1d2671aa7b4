//! From settings to models: which providers there are, with which keys, and who answers in whose place.

use super::models::{Line, Models};
use super::web::Web;
use super::{
    Extractive, Gemini, GeminiSettings, Mock, MockSettings, OpenAi, OpenAiSettings, Place, Provider, ProviderKind,
    RetryPolicy, Route,
};
use crate::secret::Secret;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Everything about models that can be chosen.
#[derive(Debug, Clone)]
pub struct ModelSettings {
    /// Who answers calls that name nobody.
    pub provider: ProviderKind,
    /// Who answers in the place of a provider elsewhere that cannot, in this order.
    pub fallback: Vec<ProviderKind>,
    /// Questions that one provider refuses are put to the next.
    pub fallback_refused: bool,
    /// The knobs of `mock`.
    pub mock: MockSettings,
    /// A server that speaks OpenAI's language; none where no model of it is named.
    pub openai: Option<(OpenAiSettings, Keys)>,
    /// Gemini; none without a key.
    pub gemini: Option<(GeminiSettings, Keys)>,
    /// How often one provider is asked, in all.
    pub tries: u32,
    /// How long a provider may say nothing at all.
    pub silence: Duration,
    /// Calls under way at once, per provider.
    pub concurrency: usize,
    /// Calls that wait for their turn, per provider.
    pub queue: usize,
}

impl Default for ModelSettings {
    /// The offline providers.
    fn default() -> Self {
        Self {
            provider: ProviderKind::default(),
            fallback: Vec::new(),
            fallback_refused: false,
            mock: MockSettings::default(),
            openai: None,
            gemini: None,
            tries: RetryPolicy::default().tries,
            silence: Duration::from_secs(120),
            concurrency: 64,
            queue: 1000,
        }
    }
}

/// The keys of one provider, each with how often it is used beside the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<(Secret, u32)>);

/// Why a text holds no keys. It shows none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key {0} of the list has a weight that is no whole number from 1 to 1000: write for example key-one*3,key-two")]
pub struct KeysError(usize);

impl FromStr for Keys {
    type Err = KeysError;

    /// Keys with commas between them, each with `*` and its weight, or without, for 1.
    fn from_str(text: &str) -> Result<Self, KeysError> {
        let named = text.split(',').map(str::trim).filter(|key| !key.is_empty()).enumerate();
        let key = |(number, text): (usize, &str)| match text.rsplit_once('*') {
            None => Ok((Secret::new(text), 1)),
            Some((key, weight)) => {
                let weight = weight.trim().parse().ok().filter(|weight| (1..=1000).contains(weight));
                Ok((Secret::new(key.trim()), weight.ok_or(KeysError(number + 1))?))
            }
        };
        named.map(key).collect::<Result<_, _>>().map(Self)
    }
}

impl Keys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ModelSettings {
    /// The models, or one provider in the place of each.
    ///
    /// # Errors
    /// In words, when this machine's TLS cannot be used.
    pub fn models(&self, own: Option<&Arc<dyn Provider>>) -> Result<Models, String> {
        // The machine's authorities are some megabytes.
        let is_elsewhere = self.openai.is_some() || self.gemini.is_some();
        let web = is_elsewhere.then(|| Web::new(self.silence)).transpose()?;
        let mut lines = std::collections::BTreeMap::new();
        for kind in ProviderKind::ALL {
            let line = match own {
                Some(own) => Line::here(own.clone()),
                None if kind.is_offline() => Line::here(self.offline(kind)),
                None => match web.as_ref().and_then(|web| self.route(kind, web)) {
                    Some(route) => Line::elsewhere(route, self.concurrency, self.queue),
                    None => continue,
                },
            };
            lines.insert(Arc::from(kind.name()), line);
        }
        Ok(Models::new(lines, self.provider.name().into()))
    }

    fn offline(&self, kind: ProviderKind) -> Arc<dyn Provider> {
        match kind {
            ProviderKind::Mock => Arc::new(Mock::new(self.mock.clone())),
            _ => Arc::new(Extractive::new()),
        }
    }

    /// The way to a provider elsewhere, and to those that answer in its place.
    fn route(&self, kind: ProviderKind, web: &Web) -> Option<Route> {
        let others = self.fallback.iter().copied().filter(|other| *other != kind);
        let tiers: Vec<_> =
            [self.places(kind, web)?].into_iter().chain(others.filter_map(|other| self.places(other, web))).collect();
        Some(Route { tiers, also_refused: self.fallback_refused })
    }

    /// One place for each key; none where the provider is not set up.
    fn places(&self, kind: ProviderKind, web: &Web) -> Option<Vec<Place>> {
        let retry = RetryPolicy { tries: self.tries, ..RetryPolicy::default() };
        let each = |keys: &Keys, provider: &dyn Fn(Option<Secret>) -> Arc<dyn Provider>| {
            let keyed = keys.0.iter().map(|(key, weight)| Place::new(provider(Some(key.clone())), *weight, retry));
            let keyed: Vec<_> = keyed.collect();
            if keyed.is_empty() { vec![Place::new(provider(None), 1, retry)] } else { keyed }
        };
        match kind {
            ProviderKind::OpenAi => self.openai.as_ref().map(|(settings, keys)| {
                each(keys, &|key| Arc::new(OpenAi::new(web.clone(), OpenAiSettings { key, ..settings.clone() })))
            }),
            ProviderKind::Gemini => self.gemini.as_ref().map(|(settings, keys)| {
                each(keys, &|key| Arc::new(Gemini::new(web.clone(), GeminiSettings { key, ..settings.clone() })))
            }),
            ProviderKind::Extractive | ProviderKind::Mock => Some(vec![Place::here(self.offline(kind))]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_weights_and_are_never_shown() {
        let keys: Keys = " one*3, two ,".parse().unwrap();
        let weights: Vec<_> = keys.0.iter().map(|(key, weight)| (key.reveal(), *weight)).collect();
        assert_eq!(weights, [("one", 3), ("two", 1)]);
        assert!("".parse::<Keys>().unwrap().is_empty());
        for wrong in ["one,two*0", "one,two*x", "one,two*1001"] {
            let error = wrong.parse::<Keys>().unwrap_err();
            assert_eq!(error, KeysError(2), "{wrong}");
            assert!(!error.to_string().contains("two*"));
        }
        assert!(!format!("{keys:?}").contains("one"));
    }

    #[test]
    fn only_those_are_there_that_are_set_up() {
        let named = |settings: &ModelSettings| {
            let models = settings.models(None).unwrap();
            models.states().into_iter().map(|state| (state.name.to_string(), state.places.len())).collect::<Vec<_>>()
        };
        let owned = |list: &[(&str, usize)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(named(&ModelSettings::default()), owned(&[("extractive", 1), ("mock", 1)]));
        let openai = OpenAiSettings {
            url: "http://127.0.0.1:1/v1".into(),
            key: None,
            model: "m".into(),
            embedding_model: None,
            quirks: super::super::Quirks::default(),
        };
        let fallback = vec![ProviderKind::OpenAi, ProviderKind::Gemini, ProviderKind::Extractive];
        let openai = Some((openai, "one,two".parse().unwrap()));
        let settings = ModelSettings { openai, fallback, ..ModelSettings::default() };
        assert_eq!(named(&settings), owned(&[("extractive", 1), ("mock", 1), ("openai", 3)]));
    }
}
