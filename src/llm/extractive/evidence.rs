//! The passages as ranked evidence: which of their sentences bear on the question, and whether the passages speak of it
//! at all. Numbers only; the words of an answer are put together elsewhere.

use super::super::textrank::Graph;
use super::Limits;
use super::language::Language;
use super::units::{self, Unit};
use crate::messages::Passage;
use crate::text::markup;
use crate::text::terms::{Lexer, is_cjk};
use std::collections::HashSet;

/// Most units that are compared with one another; further passages are worse ones.
const MAX_COMPARED: usize = 200;
/// The best passage has to carry this share of the question's weight, or nothing is quoted. Calibrated on the judged
/// set, as the next one (docs/answers.md).
const SUPPORTED: f64 = 0.34;
/// All passages together have to carry this share of a question in words, and this one of a question in pairs of
/// characters, of which many are made by chance where two words meet.
const MENTIONED: (f64, f64) = (0.66, 0.4);
/// Two units with this share of common terms, of the shorter one's, say the same.
const SAME: f64 = 0.8;
/// Characters that Chinese sentences are made of whatever they are about.
const FUNCTION_CHARS: &str = "的了嗎呢吧啊是在有要會能可以怎麼什甚我你他她它們想把被給和跟與或也都就還再又很太最這那哪幾個之其於為所而且但如若該\
                              做讓用去來到說不沒無請問該嘛呀只才從對";

/// A unit with where it comes from and what it is worth.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Its passage's place in the list.
    pub(super) passage: usize,
    /// What would be quoted.
    pub(super) unit: Unit,
    terms: HashSet<String>,
    bearing: f64,
}

/// What the passages hold, ranked by a question.
pub(super) struct Evidence {
    pub(super) candidates: Vec<Candidate>,
    graph: Graph,
    ranks: Vec<f64>,
    supported: bool,
}

impl Evidence {
    /// Reads the passages, best first, in view of a question.
    pub(super) fn read(question: &str, passages: &[Passage]) -> Self {
        let mut lexer = Lexer::new();
        let wanted = Wanted::of(question, &mut lexer);
        let asked = markup::plain(question);
        let (mut candidates, mut terms, mut above) = (Vec::new(), Vec::new(), Vec::new());
        let mut mentioned: HashSet<String> = HashSet::new();
        let mut best = 0.0_f64;
        for (passage, Passage { text, heading, .. }) in passages.iter().enumerate() {
            let reading = units::read(text);
            let titles = heading.as_deref().into_iter().chain(reading.titles.iter().map(String::as_str));
            let titles: HashSet<String> = titles.flat_map(|title| lexer.terms(title)).collect();
            let known: HashSet<String> = lexer.terms(text).into_iter().chain(titles.iter().cloned()).collect();
            best = best.max(wanted.share(&known));
            mentioned.extend(known);
            above.push(titles);
            for unit in reading.units.into_iter().filter(|unit| unit.text != asked) {
                if candidates.len() < MAX_COMPARED {
                    let words = lexer.terms(&unit.words());
                    candidates.push(Candidate { passage, unit, terms: words.iter().cloned().collect(), bearing: 0.0 });
                    terms.push(words);
                }
            }
        }
        let graph = Graph::new(&terms);
        for (candidate, terms) in candidates.iter_mut().zip(&terms) {
            candidate.bearing = wanted.bearing(&graph, terms, &above[candidate.passage], candidate);
        }
        let ranks = graph.rank(&candidates.iter().map(|candidate| candidate.bearing).collect::<Vec<_>>());
        let needed = if wanted.in_pairs { MENTIONED.1 } else { MENTIONED.0 };
        let supported = best >= SUPPORTED && wanted.share(&mentioned) >= needed;
        Self { candidates, graph, ranks, supported }
    }

    /// The units to quote, best first: in the question's language where any bears on it; prose, or, when no prose does,
    /// rows and code. None when the passages do not speak of the question.
    pub(super) fn choose(&self, language: Language, limits: Limits) -> Vec<usize> {
        if !self.supported {
            return Vec::new();
        }
        let speaks = |one: &usize| {
            let unit = &self.candidates[*one].unit;
            Language::of_text(if unit.text.is_empty() { "" } else { &unit.text }).is_none_or(|own| own == language)
        };
        let all: Vec<usize> = (0..self.candidates.len()).filter(|one| self.candidates[*one].bearing > 0.0).collect();
        let own: Vec<usize> = all.iter().copied().filter(speaks).collect();
        for pool in [own, all] {
            let (asides, prose): (Vec<usize>, Vec<usize>) =
                pool.into_iter().partition(|one| self.candidates[*one].unit.is_aside);
            for kind in [prose, asides] {
                let chosen = self.choose_among(&kind, limits);
                if !chosen.is_empty() {
                    return chosen;
                }
            }
        }
        Vec::new()
    }

    fn choose_among(&self, pool: &[usize], limits: Limits) -> Vec<usize> {
        let (mut count, mut chars) = (0, 0);
        let mut said: Vec<&HashSet<String>> = Vec::new();
        self.graph.choose(&self.ranks, pool, |one| {
            let Candidate { unit, terms, .. } = &self.candidates[one];
            let length = unit.chars();
            let is_new = said.iter().all(|other| {
                let common = terms.intersection(other).count() as f64;
                common < SAME * terms.len().min(other.len()) as f64
            });
            let fits = is_new && (count == 0 || count < limits.sentences && chars + length <= limits.chars);
            if fits {
                count += 1;
                chars += length;
                said.push(terms);
            }
            fits
        })
    }
}

/// The question's terms, each with how much of its subject it carries.
struct Wanted {
    terms: Vec<(String, f64)>,
    /// Some are pairs of characters.
    in_pairs: bool,
}

impl Wanted {
    fn of(question: &str, lexer: &mut Lexer) -> Self {
        let terms = lexer.query_terms(question);
        let mixed = terms.iter().any(|term| term.chars().any(is_cjk));
        Self {
            in_pairs: mixed,
            terms: terms.into_iter().map(|term| (weight(&term, mixed), term)).map(|(w, term)| (term, w)).collect(),
        }
    }

    /// The share of the question that some words carry.
    fn share(&self, known: &HashSet<String>) -> f64 {
        let all: f64 = self.terms.iter().map(|(_, weight)| weight).sum();
        let held: f64 = self.terms.iter().filter(|(term, _)| known.contains(term)).map(|(_, weight)| weight).sum();
        if all > 0.0 { held / all } else { 0.0 }
    }

    /// How much a unit bears on the question: its share of the question's rarer terms, with a little for its titles' and
    /// for coming from a better passage, as the search knows the rarity of words in all documents.
    fn bearing(&self, graph: &Graph, terms: &[String], titles: &HashSet<String>, of: &Candidate) -> f64 {
        // Terms that no unit has still tell something when a title has them.
        const TITLE_ONLY_IDF: f64 = 1.0;
        const TITLE_SHARE: f64 = 0.5;
        let own: f64 =
            self.terms.iter().filter(|(term, _)| terms.contains(term)).map(|(term, w)| w * graph.idf(term)).sum();
        let above: f64 = self
            .terms
            .iter()
            .filter(|(term, _)| titles.contains(term) && !terms.contains(term))
            .map(|(term, w)| w * graph.idf(term).max(TITLE_ONLY_IDF) * TITLE_SHARE)
            .sum();
        let unit = &of.unit;
        let leads_elsewhere = unit.code.is_empty()
            && (unit.text.ends_with([':', '：', '?', '？']) || units::announces(&unit.text) || refers(&unit.text));
        let says_little = terms.len() < 3;
        let form = if leads_elsewhere || says_little { 0.4 } else { 1.0 };
        let place = 1.0 + 1.5 / (1.0 + of.passage as f64);
        // Long sentences share more words by chance.
        let length = 1.0 + (1.0 + terms.len() as f64 / 20.0).ln();
        (own + above) * form * place / length
    }
}

/// How much of a question's subject a term carries.
fn weight(term: &str, mixed: bool) -> f64 {
    if term.chars().any(is_cjk) {
        match term.chars().filter(|c| FUNCTION_CHARS.contains(*c)).count() {
            0 => 1.0,
            1 if term.chars().count() > 1 => 0.4,
            _ => 0.1,
        }
    } else if term.chars().all(|c| c.is_ascii_digit()) {
        0.5
    } else if mixed {
        // A foreign word in a Chinese sentence is a name or a technical word.
        1.5
    } else {
        1.0
    }
}

/// Whether a sentence only sends the reader elsewhere.
fn refers(sentence: &str) -> bool {
    ["See ", "see ", "參見", "請參閱", "请参阅", "參考", "詳見", "細節參見", "For more"]
        .iter()
        .any(|begin| sentence.starts_with(begin))
}
