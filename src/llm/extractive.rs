//! The provider `extractive`, the default: no model, only sentences that stand in the passages, ranked by the question
//! and cited. It says so in every answer, and says it too when the passages hold no answer.

mod compose;
mod evidence;
mod language;
mod units;

use super::{Provider, Trouble, TroubleKind};
use crate::messages::{Answer, Completion, Passage};
use crate::text::terms::key_words;
use evidence::Evidence;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use language::Language;

/// Most sentences, and most characters of them, in an answer for `evaluate`.
pub const EVALUATE: Limits = Limits { sentences: 6, chars: 900 };
/// The same for `finalize`.
pub const FINALIZE: Limits = Limits { sentences: 4, chars: 600 };
/// The same for every other capability.
pub const OTHERWISE: Limits = Limits { sentences: 5, chars: 750 };
/// Most key terms in an answer for `analyze`.
const MAX_KEY_TERMS: usize = 12;
/// Above this many bytes the work leaves the async threads.
const INLINE_BYTES: usize = 4096;
/// How much an answer may quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most sentences.
    pub sentences: usize,
    /// Most characters of them, code included; the first sentence is always whole.
    pub chars: usize,
}

impl Limits {
    fn for_capability(capability: &str) -> Self {
        match capability {
            "evaluate" => EVALUATE,
            "finalize" => FINALIZE,
            _ => OTHERWISE,
        }
    }
}

/// The provider.
#[derive(Debug, Default)]
pub struct Extractive;

impl Extractive {
    /// A provider; it has no settings.
    pub fn new() -> Self {
        Self
    }
}

impl Provider for Extractive {
    fn name(&self) -> &'static str {
        "extractive"
    }

    fn complete<'a>(&'a self, call: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        async move {
            let bytes: usize = call.passages.iter().map(|passage| passage.text.len()).sum();
            if bytes + call.question.len() <= INLINE_BYTES {
                return Ok(answer(call.capability.as_str(), &call.question, &call.passages));
            }
            let (capability, question, passages) =
                (call.capability.clone(), call.question.clone(), call.passages.clone());
            let work = tokio::task::spawn_blocking(move || answer(capability.as_str(), &question, &passages));
            match work.await {
                Ok(answer) => Ok(answer),
                // A bug of ours stays a panic: the supervisor above knows what to do with one.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {
                    let words = "the process is shutting down: try again after the restart";
                    Err(Trouble::new(TroubleKind::Unavailable, words))
                }
            }
        }
        .boxed()
    }
}

fn answer(capability: &str, question: &str, passages: &[Passage]) -> Answer {
    let language = Language::of_question(question);
    if passages.is_empty() {
        let text = if capability == "analyze" {
            language.search_terms(&key_terms(question))
        } else {
            language.nothing_given()
        };
        return said(text, Vec::new());
    }
    let evidence = Evidence::read(question, passages);
    let quotes = evidence.choose(language, Limits::for_capability(capability));
    if quotes.is_empty() {
        return said(language.nothing_found(&key_words(question, 5)), Vec::new());
    }
    let (text, cited) = compose::compose(language, &evidence, &quotes, passages);
    said(text, cited)
}

fn key_terms(question: &str) -> String {
    let words = key_words(question, MAX_KEY_TERMS);
    if words.is_empty() { question.trim().to_owned() } else { words.join(", ") }
}

fn said(text: String, citations: Vec<Passage>) -> Answer {
    Answer { citations, ..Answer::said("extractive", "extractive-textrank", text) }
}

#[cfg(test)]
mod tests;
