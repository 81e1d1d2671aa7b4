//! The models: one file per provider, behind one trait. The gateway actor calls them and knows nothing of how they
//! answer.

mod admission;
mod breaker;
mod extractive;
mod gemini;
mod mock;
mod models;
mod openai;
mod retry;
mod route;
mod script;
mod setup;
mod textrank;
mod trouble;
mod web;

pub use breaker::Condition;
pub use extractive::Extractive;
pub use gemini::{Gemini, GeminiSettings};
pub use mock::{ANSWER_BYTES as MOCK_ANSWER_BYTES, Mock, MockSettings, MockSettingsError};
pub use models::{Line, Models};
pub use openai::{OpenAi, OpenAiSettings, Quirks, UnknownQuirk};
pub use retry::RetryPolicy;
pub use route::{Place, Route};
pub use script::{Fault, Script, ScriptError};
pub use setup::{Keys, KeysError, ModelSettings};
pub use trouble::{Again, Mark, Trouble, TroubleKind};

use crate::messages::{Answer, Completion, Embedded, Embedding, Piece};
use crate::secret::Secret;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _};
use std::fmt;
use std::str::FromStr;

pub use crate::messages::Pieces;

/// A source of answers. Its futures and streams are dropped when nobody wants the answer any more, and must then stop.
pub trait Provider: Send + Sync + 'static {
    /// Its name in settings and answers.
    fn name(&self) -> &'static str;

    /// One answer, whole.
    ///
    /// # Errors
    /// [`Trouble`], which says whether another try may help.
    fn complete<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>>;

    /// One answer, as it comes. One that cannot say it in pieces says it in one.
    ///
    /// # Errors
    /// As [`complete`](Self::complete); the stream's items have their own.
    fn stream<'a>(&'a self, completion: &'a Completion) -> BoxFuture<'a, Result<Pieces, Trouble>> {
        Box::pin(async move {
            let answer = self.complete(completion).await?;
            Ok(stream::iter(in_pieces(answer).into_iter().map(Ok)).boxed())
        })
    }

    /// Vectors for texts.
    ///
    /// # Errors
    /// As [`complete`](Self::complete); [`TroubleKind::Invalid`] by one that makes none.
    fn embed<'a>(&'a self, _: &'a Embedding) -> BoxFuture<'a, Result<Embedded, Trouble>> {
        Box::pin(std::future::ready(Err(no_vectors(self.name()))))
    }
}

fn no_vectors(name: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Invalid,
        format!("the provider {name} has no model that makes vectors: set one, or use another"),
    )
}

/// A whole answer as its pieces.
fn in_pieces(answer: Answer) -> Vec<Piece> {
    let Answer { model, text, calls, finish, usage, .. } = answer;
    let text = Some(text).filter(|text| !text.is_empty()).map(Piece::Text);
    let calls = calls.into_iter().zip(0..).map(|(call, place)| Piece::Call {
        place,
        id: Some(call.id),
        name: Some(call.name),
        arguments: call.arguments,
        signature: call.signature,
    });
    text.into_iter().chain(calls).chain([Piece::End { model, finish, usage }]).collect()
}

/// The providers that settings can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProviderKind {
    /// Sentences quoted from the passages; no model.
    #[default]
    Extractive,
    /// Google's Gemini.
    Gemini,
    /// Any server that speaks OpenAI's chat completions.
    OpenAi,
    /// Scripted answers for tests and benchmarks.
    Mock,
}

impl ProviderKind {
    /// Every provider.
    pub const ALL: [Self; 4] = [Self::Extractive, Self::Gemini, Self::OpenAi, Self::Mock];

    /// Its name in settings and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Extractive => "extractive",
            Self::Gemini => gemini::NAME,
            Self::OpenAi => openai::NAME,
            Self::Mock => "mock",
        }
    }

    /// It answers from this process, without a model.
    pub fn is_offline(self) -> bool {
        matches!(self, Self::Extractive | Self::Mock)
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

#[cfg(test)]
mod testing {
    use crate::messages::{Completion, Passage};
    use crate::task::Capability;

    /// A question as an agent would put it; each passage is `(file, line, text)`.
    pub(super) fn call(capability: &str, question: &str, passages: &[(&str, u32, &str)]) -> Completion {
        let passages = passages.iter().map(|(file, line, text)| Passage::new(*file, *line, *text)).collect();
        Completion { passages, ..Completion::prompted(Capability::trusted(capability), "be brief", question) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_are_found_by_name_and_an_unknown_name_is_told_the_known_ones() {
        for kind in ProviderKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(" Mock ".parse(), Ok(ProviderKind::Mock));
        let error = "gpt".parse::<ProviderKind>().unwrap_err().to_string();
        assert_eq!(error, "there is no provider \"gpt\"; use one of extractive, gemini, openai, mock");
    }
}
