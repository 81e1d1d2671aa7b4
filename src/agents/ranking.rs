//! The order of passages that match: BM25's score, raised for holding more of the question and for holding it in one
//! place, and what says the same as a better one left out. It knows terms and scores, no index.

use crate::messages::Passage;
use crate::text::terms::Lexer;
use std::collections::{HashMap, HashSet};

/// How much holding all of a question's terms raises a score.
const COVERAGE: f32 = 0.5;
/// How much holding the question's neighbours as neighbours does.
const NEARNESS: f32 = 0.5;
/// Terms at most so far apart are neighbours.
const NEAR: usize = 3;
/// Two passages of which one holds this share of the other's terms say the same.
const SAME: f32 = 0.8;
/// A hit with less than this part of the best one's score is chance.
const WORTH: f32 = 0.25;

/// What a question's terms are worth.
pub(super) struct Wanted {
    terms: Vec<(String, f32)>,
    total: f32,
}

impl Wanted {
    /// Terms in the question's order, with their rarity.
    pub(super) fn new(terms: Vec<(String, f32)>) -> Self {
        let total = terms.iter().map(|(_, rarity)| rarity).sum::<f32>().max(f32::MIN_POSITIVE);
        Self { terms, total }
    }
}

/// A passage that matches.
pub(super) struct Candidate<'a> {
    passage: &'a Passage,
    score: f32,
    /// Where each term stands, by the number of terms before it.
    places: HashMap<String, Vec<usize>>,
    heading_terms: HashSet<String>,
}

impl<'a> Candidate<'a> {
    /// A passage with its score.
    pub(super) fn new(passage: &'a Passage, score: f32, lexer: &mut Lexer) -> Self {
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, term) in lexer.terms(&passage.text).into_iter().enumerate() {
            places.entry(term).or_default().push(at);
        }
        let heading_terms = passage.heading.iter().flat_map(|heading| lexer.terms(heading)).collect();
        Self { passage, score, places, heading_terms }
    }

    /// The share of the question that the passage and its headings hold, rare terms counting more.
    fn coverage(&self, wanted: &Wanted) -> f32 {
        let held = |term: &&(String, f32)| self.places.contains_key(&term.0) || self.heading_terms.contains(&term.0);
        wanted.terms.iter().filter(held).map(|(_, rarity)| rarity).sum::<f32>() / wanted.total
    }

    /// The share of the question's neighbouring terms that are neighbours here too.
    fn nearness(&self, wanted: &Wanted) -> f32 {
        let (mut near, mut all) = (0.0, 0.0);
        for pair in wanted.terms.windows(2) {
            let [(one, one_worth), (other, other_worth)] = pair else { continue };
            let worth = one_worth.min(*other_worth);
            all += worth;
            if let (Some(ones), Some(others)) = (self.places.get(one), self.places.get(other))
                && ones.iter().any(|one| others.iter().any(|other| *other != *one && one.abs_diff(*other) <= NEAR))
            {
                near += worth;
            }
        }
        if all > 0.0 { near / all } else { 0.0 }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let (fewer, more) = if self.places.len() <= other.places.len() { (self, other) } else { (other, self) };
        let common = fewer.places.keys().filter(|term| more.places.contains_key(*term)).count() as f32;
        // A short passage may stand in a longer one by chance, and the longer one says more.
        let all = (fewer.places.len() + more.places.len()) as f32 - common;
        fewer.passage.text == more.passage.text || all > 0.0 && common / all >= SAME
    }
}

/// The best passages in their order.
pub(super) fn ranked<'a>(wanted: &Wanted, mut candidates: Vec<Candidate<'a>>, most: usize) -> Vec<&'a Passage> {
    for candidate in &mut candidates {
        let raised = COVERAGE * candidate.coverage(wanted) + NEARNESS * candidate.nearness(wanted);
        candidate.score *= 1.0 + raised;
    }
    let place = |candidate: &Candidate<'a>| (candidate.passage.file.clone(), candidate.passage.line);
    // Equal scores have one order, whatever the index looks like inside.
    candidates.sort_by(|one, other| other.score.total_cmp(&one.score).then_with(|| place(one).cmp(&place(other))));
    let best = candidates.first().map_or(0.0, |candidate| candidate.score);
    let mut chosen: Vec<Candidate<'a>> = Vec::new();
    for next in candidates.into_iter().take_while(|candidate| candidate.score >= best * WORTH) {
        if chosen.len() == most {
            break;
        }
        if !chosen.iter().any(|other| other.says_the_same(&next)) {
            chosen.push(next);
        }
    }
    chosen.into_iter().map(|candidate| candidate.passage).collect()
}
