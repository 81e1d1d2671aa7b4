//! The judged set: its questions, its documents, and when a text counts as holding what a judgement quotes.

use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A question with the places that answer it; none when the documents do not.
#[derive(Debug, Deserialize)]
pub struct Question {
    pub id: String,
    pub language: Language,
    pub question: String,
    pub answered_by: Vec<Judgement>,
}

impl Question {
    pub fn is_answerable(&self) -> bool {
        !self.answered_by.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    En,
    Zh,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::En { "en" } else { "zh" })
    }
}

/// A place in a document, known by its words.
#[derive(Debug, Deserialize)]
pub struct Judgement {
    pub file: String,
    pub quote: String,
    /// 2: answers the question or a part of it; 1: helps.
    pub grade: u8,
}

/// The questions, in the order of the file.
pub fn questions() -> Vec<Question> {
    let lines = include_str!("questions.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
}

/// The folder that `scripts/corpus.sh` fills; a test without documents fails instead of passing without having looked.
pub fn documents() -> PathBuf {
    let named = std::env::var_os("CALLBOARD_CORPUS").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
    let folder = named.or_else(|| cache.map(|cache| cache.join("callboard/judged-documents"))).unwrap_or_default();
    assert!(
        folder.join("VERSIONS").is_file(),
        "the documents of the judged set are not in {}: run scripts/corpus.sh (make test does), or name their folder \
         in CALLBOARD_CORPUS",
        folder.display()
    );
    folder
}

/// Letters and digits alone, lower-cased: how a document's lines, markup and spaces are laid out does not matter.
pub fn bare(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A document as [`bare`] text; of HTML what is between the tags.
pub fn bare_document(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "html") {
        return bare(&text);
    }
    let mut words = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, tag)) = rest.split_once('<') {
        words.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    words.push_str(rest);
    for (name, sign) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#160;", " "), ("&nbsp;", " "), ("&amp;", "&")]
    {
        words = words.replace(name, sign);
    }
    bare(&words)
}

/// Quotes as they are compared, made once.
pub struct Quotes(HashMap<String, String>);

impl Quotes {
    pub fn of(questions: &[Question]) -> Self {
        let quotes = questions.iter().flat_map(|question| &question.answered_by);
        Self(quotes.map(|judgement| (judgement.quote.clone(), bare(&judgement.quote))).collect())
    }

    /// Whether a [`bare`] text holds a judged quote: the whole of it, or at least half in one run where the text comes
    /// from the same document (a cut between two passages may go through a quote).
    pub fn holds(&self, text: &str, same_file: bool, judgement: &Judgement) -> bool {
        let quote = &self.0[&judgement.quote];
        if text.contains(quote) {
            return true;
        }
        let letters: Vec<(usize, char)> = quote.char_indices().collect();
        let half = letters.len().div_ceil(2);
        same_file
            && letters.windows(half).any(|run| {
                let (last, c) = run[run.len() - 1];
                text.contains(&quote[run[0].0..last + c.len_utf8()])
            })
    }
}

#[test]
fn every_judgement_quotes_its_document() {
    let folder = documents();
    let mut read: HashMap<String, String> = HashMap::new();
    let mut faults = Vec::new();
    for question in questions() {
        for judgement in &question.answered_by {
            let file = &judgement.file;
            let text = read.entry(file.clone()).or_insert_with(|| bare_document(&folder.join(file)));
            if text.matches(&bare(&judgement.quote)).count() != 1 || !(1..=2).contains(&judgement.grade) {
                faults.push(format!("{}: {file} has not once: {}", question.id, judgement.quote));
            }
        }
        let best = question.answered_by.iter().map(|judgement| judgement.grade).max();
        if best == Some(1) {
            faults.push(format!("{}: nothing answers it", question.id));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn half_a_quote_counts_in_its_own_document_only() {
    let judgement = Judgement { file: "a".into(), quote: "type \"reset\" at the prompt".into(), grade: 2 };
    let question =
        Question { id: "x".into(), language: Language::En, question: "?".into(), answered_by: vec![judgement] };
    let quotes = Quotes::of(std::slice::from_ref(&question));
    let judgement = &question.answered_by[0];
    assert!(quotes.holds(&bare("You may Type `reset` at\n| the prompt |."), false, judgement));
    assert!(quotes.holds(&bare("reset at the prompt"), true, judgement));
    assert!(!quotes.holds(&bare("reset at the prompt"), false, judgement));
    assert!(!quotes.holds(&bare("the prompt"), true, judgement));
}

#[test]
fn the_set_is_large_enough_and_half_of_it_chinese() {
    for language in Language::ALL {
        let of_language: Vec<_> = questions().into_iter().filter(|question| question.language == language).collect();
        let answerable = of_language.iter().filter(|question| question.is_answerable()).count();
        assert!(answerable >= 36 && of_language.len() - answerable >= 8, "{language}: {answerable}");
    }
}
