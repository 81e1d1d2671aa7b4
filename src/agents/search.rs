//! What a question finds: the passages that match it by BM25, put in order by how much of it they hold and how close
//! together, and none that says what a better one said. The figures behind the numbers here are in `docs/documents.md`.

use super::index::{SearchError, Snapshot};
use super::ranking::{Candidate, Wanted, ranked};
use crate::messages::Passage;
use crate::text::terms::{Lexer, terms_needed};
use std::sync::Arc;
use tantivy::Term;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

/// A question's term in a heading counts this much of one in the text.
const HEADING_BOOST: f32 = 0.5;
/// The same in a document's name or first title.
const TITLE_BOOST: f32 = 0.3;
/// A term that the analysis names as a search term, next to one of the question itself.
const SEARCH_TERM_BOOST: f32 = 0.5;
/// Any other word of the analysis: it orders what the question finds, and finds nothing by itself.
const LOOSE_TERM_BOOST: f32 = 0.2;
/// Most terms that are taken from the analysis.
const MAX_EXTRA_TERMS: usize = 24;
/// Most terms that are taken from a question.
const MAX_QUESTION_TERMS: usize = 64;
/// How many of the best by BM25 are looked at closely.
const CANDIDATES: usize = 50;

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

impl Snapshot {
    /// The passages that match best, best first, none twice.
    pub(super) fn search(&self, search: &Search) -> Result<Vec<Passage>, SearchError> {
        let mut lexer = Lexer::new();
        let mut asked = lexer.query_terms(&search.question);
        asked.truncate(MAX_QUESTION_TERMS);
        let Some(query) = self.query(&asked, search, &mut lexer) else { return Ok(Vec::new()) };
        let most = CANDIDATES.max(3 * search.most);
        let hits = self.searcher.search(&query, &TopDocs::with_limit(most).order_by_score())?;
        let mut candidates = Vec::with_capacity(hits.len());
        for (score, address) in hits {
            if let Some(passage) = self.passage(address)? {
                candidates.push(Candidate::new(passage, score, &mut lexer));
            }
        }
        let wanted = Wanted::new(asked.iter().map(|term| (term.clone(), self.rarity(term))).collect());
        Ok(ranked(&wanted, candidates, search.most).into_iter().cloned().collect())
    }

    /// How rare a term is among the passages (the idf of BM25); one that stands nowhere tells nothing.
    fn rarity(&self, term: &str) -> f32 {
        let frequency = self.searcher.doc_freq(&Term::from_field_text(self.fields.text, term)).unwrap_or(0) as f32;
        let all = self.searcher.num_docs() as f32;
        if frequency == 0.0 { 0.0 } else { (1.0 + (all - frequency).max(0.0) / frequency).ln() }
    }

    /// None when there is nothing to look for. Built from terms, never parsed, so no question can be a syntax error.
    fn query(&self, asked: &[String], search: &Search, lexer: &mut Lexer) -> Option<BooleanQuery> {
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
        let fields = vec![
            in_field(self.fields.text, boost),
            in_field(self.fields.headings, boost * HEADING_BOOST),
            in_field(self.fields.title, boost * TITLE_BOOST),
        ];
        (Occur::Should, Box::new(BooleanQuery::union(fields)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Corpus;
    use super::super::library::Library;
    use super::*;

    const DOCUMENTS: &[(&str, &str)] = &[
        ("store.md", "# Store\n\nIt is the only memory.\n\nCommits are atomic.\n\n## Leases\n\nFive seconds to run."),
        ("teams.md", "# Teams\n\nA worker renewed its lease.\n\n## Masters\n\nMasters are stateless."),
        ("copy.md", "# Masters\n\nMasters are stateless."),
        ("zh.md", "# 儲存\n\n主控程序當機時任務不會遺失。\n\n天氣很好。"),
    ];

    fn find(question: &str, extra: Extra) -> Vec<(String, u32)> {
        let library = Library::new(Corpus::embedded(DOCUMENTS));
        let found = library.refresh().unwrap().search(&Search { question: question.into(), extra, most: 5 }).unwrap();
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
        assert_eq!(ask("atomic commit"), [at("store.md", 1)]);
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
        assert_eq!(find("stateless or memory", Extra::Loose("memory".into()))[0], at("store.md", 1));
        assert_ne!(find("stateless or memory", Extra::Loose("masters".into()))[0], at("store.md", 1));
    }
}
