//! The provider `extractive`, the default: no model, only sentences that stand in the passages, ranked by the question
//! and cited. It says so in every answer, and says it too when the passages hold no answer.

use super::Provider;
use super::textrank::Graph;
use crate::messages::{Generate, Generated, ModelError, Passage};
use crate::text::sentences::{Kind, Sentence, sentences};
use crate::text::terms::{Lexer, key_words, terms_needed};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::HashSet;
use std::sync::Arc;

/// Most sentences, and most bytes of them, in an answer for `evaluate`.
pub const EVALUATE: Limits = Limits { sentences: 6, bytes: 800 };
/// The same for `finalize`.
pub const FINALIZE: Limits = Limits { sentences: 4, bytes: 500 };
/// The same for every other capability.
pub const OTHERWISE: Limits = Limits { sentences: 5, bytes: 650 };
/// Most key terms in an answer for `analyze`.
const MAX_KEY_TERMS: usize = 12;
/// Most sentences that are compared with one another; further passages are worse ones.
const MAX_COMPARED: usize = 200;
/// Above this many bytes the work leaves the async threads.
const INLINE_BYTES: usize = 4096;
/// Ends every answer that quotes.
const NOTE: &str = "(extractive answer: sentences quoted from the documents, no language model was used)";
/// Ends every answer that does not.
const NOTE_WITHOUT_QUOTES: &str = "(extractive provider: no language model was used)";

/// How much an answer may quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most sentences.
    pub sentences: usize,
    /// Most bytes of them; the first sentence is always whole.
    pub bytes: usize,
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

    fn generate<'a>(&'a self, call: &'a Generate) -> BoxFuture<'a, Result<Generated, ModelError>> {
        async move {
            let bytes: usize = call.passages.iter().map(|passage| passage.text.len()).sum();
            if bytes + call.question.len() <= INLINE_BYTES {
                return Ok(answer(call.capability.as_str(), &call.question, &call.passages));
            }
            let (capability, question, passages) =
                (call.capability.clone(), call.question.clone(), call.passages.clone());
            let work = tokio::task::spawn_blocking(move || answer(capability.as_str(), &question, &passages));
            match work.await {
                Ok(generated) => Ok(generated),
                // A bug of ours stays a panic: the supervisor above knows what to do with one.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {
                    Err(ModelError::Retryable("the process is shutting down: try again after the restart".into()))
                }
            }
        }
        .boxed()
    }
}

fn answer(capability: &str, question: &str, passages: &[Passage]) -> Generated {
    if passages.is_empty() {
        let text = if capability == "analyze" { key_terms(question) } else { nothing_given() };
        return generated(text, Vec::new());
    }
    let evidence = Evidence::read(question, passages);
    let quotes = evidence.choose(Limits::for_capability(capability));
    if quotes.is_empty() {
        return generated(nothing_found(question, passages.len()), Vec::new());
    }
    compose(&evidence, &quotes, passages)
}

fn key_terms(question: &str) -> String {
    let words = key_words(question, MAX_KEY_TERMS);
    let terms = if words.is_empty() { question.trim().to_owned() } else { words.join(", ") };
    format!(
        "Search terms: {terms}\n(extractive provider: these are the question's own words; no documents were consulted at \
         this step, and no language model was used)"
    )
}

fn nothing_given() -> String {
    format!(
        "No passages from documents were found or given at this step, so there is nothing to quote. {NOTE_WITHOUT_QUOTES}"
    )
}

fn nothing_found(question: &str, passages: usize) -> String {
    let words = key_words(question, 5).join(", ");
    let found = if passages == 1 { "the one passage found does not speak" } else { "no passage found speaks" };
    format!(
        "The documents do not contain an answer to this question: {found} of it (looked for: {words}). \
         {NOTE_WITHOUT_QUOTES}"
    )
}

fn generated(text: String, citations: Vec<Passage>) -> Generated {
    Generated {
        provider: "extractive".into(),
        model: "extractive-textrank".into(),
        text: Arc::from(text),
        citations,
        usage: None,
    }
}

/// A sentence with its passage's place in the list.
struct Candidate {
    passage: usize,
    sentence: Sentence,
    bearing: f64,
}

/// The passages as ranked sentences.
struct Evidence {
    candidates: Vec<Candidate>,
    graph: Graph,
    ranks: Vec<f64>,
}

impl Evidence {
    fn read(question: &str, passages: &[Passage]) -> Self {
        let mut lexer = Lexer::new();
        let wanted = lexer.query_terms(question);
        let asked = crate::text::markup::plain(question);
        let mut candidates = Vec::new();
        let mut terms = Vec::new();
        let mut heading_terms: Vec<HashSet<String>> = Vec::new();
        for (passage, Passage { text, .. }) in passages.iter().enumerate() {
            let (headings, read): (Vec<_>, Vec<_>) =
                sentences(text).into_iter().partition(|sentence| sentence.kind == Kind::Heading);
            let known: HashSet<String> = lexer.terms(text).into_iter().collect();
            let shared = wanted.iter().filter(|term| known.contains(*term)).count();
            heading_terms.push(headings.iter().flat_map(|heading| lexer.terms(&heading.text)).collect());
            if shared < terms_needed(wanted.len()) {
                continue;
            }
            for sentence in read.into_iter().filter(|sentence| sentence.text != asked) {
                terms.push(lexer.terms(&sentence.text));
                candidates.push(Candidate { passage, sentence, bearing: 0.0 });
            }
            if candidates.len() >= MAX_COMPARED {
                break;
            }
        }
        candidates.truncate(MAX_COMPARED);
        terms.truncate(MAX_COMPARED);
        let graph = Graph::new(&terms);
        for (candidate, terms) in candidates.iter_mut().zip(&terms) {
            candidate.bearing = bearing(&graph, &wanted, terms, &heading_terms[candidate.passage], candidate);
        }
        let ranks = graph.rank(&candidates.iter().map(|candidate| candidate.bearing).collect::<Vec<_>>());
        Self { candidates, graph, ranks }
    }

    /// The candidates to quote: prose, or, when no prose bears on the question, rows and lines of code.
    fn choose(&self, limits: Limits) -> Vec<usize> {
        let quotes = self.choose_kind(Kind::Prose, limits);
        if quotes.is_empty() { self.choose_kind(Kind::Aside, limits) } else { quotes }
    }

    fn choose_kind(&self, kind: Kind, limits: Limits) -> Vec<usize> {
        let of_kind: Vec<usize> = (0..self.candidates.len())
            .filter(|one| self.candidates[*one].sentence.kind == kind && self.candidates[*one].bearing > 0.0)
            .collect();
        let (mut sentences, mut bytes) = (0, 0);
        self.graph.choose(&self.ranks, &of_kind, |one| {
            let length = self.candidates[one].sentence.text.len();
            let fits = sentences == 0 || sentences < limits.sentences && bytes + length <= limits.bytes;
            if fits {
                sentences += 1;
                bytes += length;
            }
            fits
        })
    }
}

/// How much a sentence bears on the question: its share of the question's rarer terms, with a little for its heading's
/// and for coming from a better passage, as the search knows the rarity of words in all documents.
fn bearing(graph: &Graph, wanted: &[String], terms: &[String], headings: &HashSet<String>, of: &Candidate) -> f64 {
    // Terms that no sentence has still tell something when a heading has them.
    const HEADING_ONLY_IDF: f64 = 1.0;
    const HEADING_SHARE: f64 = 0.5;
    let own: f64 = wanted.iter().filter(|term| terms.contains(term)).map(|term| graph.idf(term)).sum();
    let above: f64 = wanted
        .iter()
        .filter(|term| headings.contains(*term) && !terms.contains(term))
        .map(|term| graph.idf(term).max(HEADING_ONLY_IDF) * HEADING_SHARE)
        .sum();
    let text = of.sentence.text.as_str();
    let leads_elsewhere = text.ends_with([':', '：', '?', '？']);
    let says_little = terms.len() < 3;
    let form = if leads_elsewhere || says_little { 0.4 } else { 1.0 };
    let place = 1.0 + 1.0 / (1.0 + of.passage as f64);
    // Long sentences share more words by chance.
    let length = 1.0 + (1.0 + terms.len() as f64 / 20.0).ln();
    (own + above) * form * place / length
}

/// Groups the quotes by passage, best passage first and in the passage's order, and numbers the passages as cited.
fn compose(evidence: &Evidence, quotes: &[usize], passages: &[Passage]) -> Generated {
    let mut cited: Vec<usize> = Vec::new();
    for quote in quotes {
        let passage = evidence.candidates[*quote].passage;
        if !cited.contains(&passage) {
            cited.push(passage);
        }
    }
    let mut text = String::new();
    for (number, passage) in cited.iter().enumerate() {
        let mut of_passage: Vec<usize> =
            quotes.iter().copied().filter(|quote| evidence.candidates[*quote].passage == *passage).collect();
        of_passage.sort_unstable();
        let quoted: Vec<String> = of_passage
            .iter()
            .map(|quote| format!("{} [{}]", evidence.candidates[*quote].sentence.text, number + 1))
            .collect();
        text.push_str(&quoted.join(" "));
        text.push('\n');
    }
    text.push_str(NOTE);
    generated(text, cited.into_iter().map(|passage| passages[passage].clone()).collect())
}

#[cfg(test)]
mod tests;
