//! The search index of a corpus, in memory: which passages match a question best, by BM25 over stemmed words. Building
//! and searching block; the retriever keeps them off the async threads.

use super::corpus::{Corpus, CorpusError};
use super::passages::cut;
use crate::messages::Passage;
use crate::text::terms::{Lexer, analyzer, terms_needed};
use std::sync::Arc;
use tantivy::collector::TopDocs;
use tantivy::directory::RamDirectory;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{ReloadPolicy, Searcher, TantivyDocument, Term};

const TOKENIZER: &str = "callboard";
/// What the writer plans its tables by; it grows past this when it must.
const WRITER_BYTES: usize = 32 << 20;
/// A question's term in a heading or the file's name counts this much of one in the text.
const HEADING_BOOST: f32 = 0.5;
/// A term that the analysis names as a search term, next to one of the question itself.
const SEARCH_TERM_BOOST: f32 = 0.5;
/// Any other word of the analysis: it orders what the question finds, and finds nothing by itself.
const LOOSE_TERM_BOOST: f32 = 0.2;
/// Most terms that are taken from the analysis.
const MAX_EXTRA_TERMS: usize = 24;
/// Most terms that are taken from a question.
const MAX_QUESTION_TERMS: usize = 64;
/// A hit with less than this part of the best one's score is chance.
const WORTH: f32 = 0.25;

/// What is searched for.
#[derive(Debug, Clone)]
pub(super) struct Search {
    /// The question.
    pub(super) question: Arc<str>,
    /// What an analysis added to it.
    pub(super) extra: Extra,
    /// Most passages.
    pub(super) most: usize,
}

/// Words of the analysis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Extra {
    /// It named search terms.
    SearchTerms(String),
    /// It said something.
    Loose(String),
}

/// Why nothing can be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The documents cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The index failed.
    #[error("the documents cannot be searched ({0}): try again, and report it if it stays")]
    Index(Arc<str>),
    /// The process is on its way out.
    #[error("the search was stopped because the process is shutting down: try again after the restart")]
    Stopped,
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Index(error.to_string().into())
    }
}

/// A searchable corpus, as it was when it was read.
pub(super) struct Index {
    /// In the order in which they were added, which is their number in the index.
    passages: Vec<Passage>,
    documents: usize,
    searcher: Searcher,
    fields: Fields,
}

#[derive(Clone, Copy)]
struct Fields {
    text: Field,
    /// Titles above the passage and the file's name.
    context: Field,
}

impl Index {
    /// Reads and indexes a corpus.
    pub(super) fn build(corpus: &Corpus) -> Result<Self, SearchError> {
        let (schema, fields) = schema();
        let tokenizers = TokenizerManager::default();
        tokenizers.register(TOKENIZER, analyzer());
        // One segment, no threads: numbers are given in the order of adding, so equal scores have one order everywhere.
        let mut writer = tantivy::Index::builder()
            .schema(schema)
            .tokenizers(tokenizers)
            .single_segment_index_writer::<TantivyDocument>(RamDirectory::create(), WRITER_BYTES)?;
        let (mut passages, mut documents, mut failed) = (Vec::new(), 0, None);
        corpus.read(|name, text| {
            documents += 1;
            let file: Arc<str> = name.into();
            for piece in cut(text) {
                let mut document = TantivyDocument::new();
                document.add_text(fields.text, &piece.text);
                document.add_text(fields.context, format!("{name}\n{}", piece.headings));
                failed = failed.take().or(writer.add_document(document).err());
                let heading = piece.heading_path().map(Into::into);
                passages.push(Passage { file: file.clone(), line: piece.line, heading, text: piece.text.into() });
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let searcher = writer.finalize()?.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?.searcher();
        Ok(Self { passages, documents, searcher, fields })
    }

    /// How many documents were read.
    pub(super) fn documents(&self) -> usize {
        self.documents
    }

    /// How many passages they have.
    pub(super) fn passages(&self) -> usize {
        self.passages.len()
    }

    /// The passages that match best, best first, none twice.
    pub(super) fn search(&self, search: &Search) -> Result<Vec<Passage>, SearchError> {
        let Some(query) = self.query(search) else { return Ok(Vec::new()) };
        // Some more than wanted, because repeats fall out.
        let hits = self.searcher.search(&query, &TopDocs::with_limit(search.most * 3).order_by_score())?;
        let best = hits.first().map_or(0.0, |(score, _)| *score);
        let mut found: Vec<Passage> = Vec::new();
        for (score, address) in hits {
            let Some(passage) = self.passages.get(address.doc_id as usize) else { continue };
            let repeats = found.iter().any(|other| other.text == passage.text);
            if score >= best * WORTH && !repeats && found.len() < search.most {
                found.push(passage.clone());
            }
        }
        Ok(found)
    }

    /// None when there is nothing to look for. Built from terms, never parsed, so no question can be a syntax error.
    fn query(&self, search: &Search) -> Option<BooleanQuery> {
        let mut lexer = Lexer::new();
        let mut asked = lexer.query_terms(&search.question);
        asked.truncate(MAX_QUESTION_TERMS);
        let (Extra::SearchTerms(text) | Extra::Loose(text)) = &search.extra;
        let extra = lexer.query_terms(text).into_iter().filter(|term| !asked.contains(term)).take(MAX_EXTRA_TERMS);
        let boost = match search.extra {
            Extra::SearchTerms(_) => SEARCH_TERM_BOOST,
            Extra::Loose(_) => LOOSE_TERM_BOOST,
        };
        let extra: Vec<_> = extra.map(|term| self.clause(&term, boost)).collect();
        let needed = terms_needed(asked.len());
        let mut clauses: Vec<_> = asked.iter().map(|term| self.clause(term, 1.0)).collect();
        if matches!(search.extra, Extra::SearchTerms(_)) {
            clauses.extend(extra);
            return (!clauses.is_empty()).then(|| BooleanQuery::with_minimum_required_clauses(clauses, needed));
        }
        if clauses.is_empty() {
            return None;
        }
        let question: Box<dyn Query> = Box::new(BooleanQuery::with_minimum_required_clauses(clauses, needed));
        Some(BooleanQuery::new(std::iter::once((Occur::Must, question)).chain(extra).collect()))
    }

    fn clause(&self, term: &str, boost: f32) -> (Occur, Box<dyn Query>) {
        let in_field = |field: Field, boost: f32| -> Box<dyn Query> {
            let query = TermQuery::new(Term::from_field_text(field, term), IndexRecordOption::WithFreqs);
            Box::new(BoostQuery::new(Box::new(query), boost))
        };
        let fields = vec![in_field(self.fields.text, boost), in_field(self.fields.context, boost * HEADING_BOOST)];
        (Occur::Should, Box::new(BooleanQuery::union(fields)))
    }
}

fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let options = TextOptions::default().set_indexing_options(indexing);
    let mut builder = Schema::builder();
    let fields = Fields {
        text: builder.add_text_field("text", options.clone()),
        context: builder.add_text_field("context", options),
    };
    (builder.build(), fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: &[(&str, &str)] = &[
        ("store.md", "# Store\n\nIt is the only memory.\n\nCommits are atomic.\n\n## Leases\n\nFive seconds to run."),
        ("teams.md", "# Teams\n\nA worker renewed its lease.\n\nMasters are stateless."),
        ("copy.md", "Masters are stateless."),
        ("zh.md", "# 儲存\n\n主控程序當機時任務不會遺失。\n\n天氣很好。"),
    ];

    fn find(question: &str, extra: Extra) -> Vec<(String, u32)> {
        let index = Index::build(&Corpus::embedded(DOCUMENTS)).unwrap();
        let found = index.search(&Search { question: question.into(), extra, most: 5 }).unwrap();
        found.into_iter().map(|passage| (passage.file.to_string(), passage.line)).collect()
    }

    fn ask(question: &str) -> Vec<(String, u32)> {
        find(question, Extra::Loose(String::new()))
    }

    fn at(file: &str, line: u32) -> (String, u32) {
        (file.into(), line)
    }

    #[test]
    fn words_match_by_stem_and_headings_lead_to_their_text() {
        assert_eq!(ask("Who is renewing leases?"), [at("teams.md", 1), at("store.md", 7)]);
        assert_eq!(ask("atomic commit"), [at("store.md", 5)]);
        assert_eq!(ask("teams.md")[0].0, "teams.md");
    }

    #[test]
    fn repeated_passages_are_found_once() {
        assert_eq!(ask("stateless").len(), 1, "the same words in two documents");
    }

    #[test]
    fn cjk_questions_find_cjk_passages() {
        assert_eq!(ask("任務會遺失嗎？"), [at("zh.md", 1)]);
    }

    #[test]
    fn no_question_is_a_syntax_error_and_no_hit_is_no_error() {
        for question in ["", "?", "\"", "text:(a AND", "+- *:* ^2 [a TO b]", "\\", "🙂", "Wer malte die Mona Lisa?"] {
            assert_eq!(ask(question), [], "{question}");
        }
    }

    #[test]
    fn one_shared_word_of_a_long_question_is_chance() {
        assert_eq!(ask("seconds"), [at("store.md", 7)]);
        assert_eq!(ask("Which watch with a seconds hand did Napoleon wear at Waterloo?"), []);
    }

    #[test]
    fn search_terms_find_and_loose_words_only_order() {
        assert_eq!(find("Wie lange?", Extra::SearchTerms("lease, seconds".into()))[0], at("store.md", 7));
        assert_eq!(find("Wie lange?", Extra::Loose("lease, seconds".into())), []);
        assert_eq!(find("masters or memory", Extra::Loose("memory".into()))[0], at("store.md", 1));
        assert_eq!(find("masters or memory", Extra::Loose("stateless".into()))[0], at("teams.md", 5));
    }
}
