//! The models: one file per provider, behind one trait. The gateway actor calls them and knows nothing of how they
//! answer.

mod extractive;
mod mock;
mod script;
mod textrank;

pub use extractive::Extractive;
pub use mock::{ANSWER_BYTES as MOCK_ANSWER_BYTES, Mock, MockSettings, MockSettingsError};
pub use script::{Fault, Script, ScriptError};

use crate::messages::{Generate, Generated, ModelError};
use futures_util::future::BoxFuture;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A source of completions. The future is dropped when the caller no longer wants the answer, and must then stop.
pub trait Provider: Send + Sync + 'static {
    /// Its name in settings and answers.
    fn name(&self) -> &'static str;

    /// One completion.
    ///
    /// # Errors
    /// [`ModelError`], which says whether another try may help.
    fn generate<'a>(&'a self, call: &'a Generate) -> BoxFuture<'a, Result<Generated, ModelError>>;
}

/// The providers that settings can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProviderKind {
    /// Sentences quoted from the passages; no model.
    #[default]
    Extractive,
    /// Scripted answers for tests and benchmarks.
    Mock,
}

impl ProviderKind {
    /// Every provider.
    pub const ALL: [Self; 2] = [Self::Extractive, Self::Mock];

    /// Its name in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extractive => "extractive",
            Self::Mock => "mock",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no provider has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no provider \"{name}\"; use one of {}", ProviderKind::ALL.map(ProviderKind::name).join(", "))]
pub struct UnknownProvider {
    /// As given.
    pub name: String,
}

impl FromStr for ProviderKind {
    type Err = UnknownProvider;

    fn from_str(name: &str) -> Result<Self, UnknownProvider> {
        let known = Self::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name.trim()));
        known.ok_or_else(|| UnknownProvider { name: name.into() })
    }
}

/// The provider of a kind; the mock's settings matter to the mock only.
pub fn provider(kind: ProviderKind, mock: &MockSettings) -> Arc<dyn Provider> {
    match kind {
        ProviderKind::Extractive => Arc::new(Extractive::new()),
        ProviderKind::Mock => Arc::new(Mock::new(mock.clone())),
    }
}

#[cfg(test)]
mod testing {
    use crate::messages::{Generate, Passage};
    use crate::task::{CallId, Capability};

    /// A call as an agent would make it; each passage is `(file, line, text)`.
    pub(super) fn call(capability: &str, question: &str, passages: &[(&str, u32, &str)]) -> Generate {
        Generate {
            call: CallId::trusted("c-1"),
            capability: Capability::trusted(capability),
            system_prompt: "be brief".into(),
            user_prompt: question.into(),
            question: question.into(),
            passages: passages.iter().map(|(file, line, text)| Passage::new(*file, *line, *text)).collect(),
            provider: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_found_by_name_and_an_unknown_name_is_told_the_known_ones() {
        for kind in ProviderKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(provider(kind, &MockSettings::default()).name(), kind.name());
        }
        assert_eq!(" Mock ".parse(), Ok(ProviderKind::Mock));
        let error = "gpt".parse::<ProviderKind>().unwrap_err().to_string();
        assert_eq!(error, "there is no provider \"gpt\"; use one of extractive, mock");
    }
}
