//! The ranking of sentences: centrality in the graph of their likeness, drawn towards a question, and a choice without
//! near repeats. Numbers in, numbers out; what the sentences say and where they come from is the caller's.

use std::collections::HashMap;

/// How much of a sentence's rank comes from its likeness to others; the rest is its bearing on the question.
const DAMPING: f64 = 0.4;
/// Enough for the ranks to settle at this damping.
const ROUNDS: usize = 20;
/// How much the choice prefers rank over newness.
const RANK_OVER_NEWNESS: f64 = 0.75;
/// From this likeness on, two sentences say the same.
const SAME: f64 = 0.72;
/// A sentence with less than this part of the best one's rank is not worth quoting.
const WORTH: f64 = 0.3;

/// Sentences as weighted term vectors.
pub(super) struct Graph {
    /// Per sentence, terms by number with their weights, ordered by number, of length one.
    vectors: Vec<Vec<(usize, f64)>>,
    numbers: HashMap<String, usize>,
    idf: Vec<f64>,
}

impl Graph {
    /// The graph of some sentences, each given by its terms.
    pub(super) fn new(sentences: &[Vec<String>]) -> Self {
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let counted: Vec<Vec<(usize, f64)>> = sentences
            .iter()
            .map(|terms| {
                let mut found: Vec<usize> = terms
                    .iter()
                    .map(|term| {
                        let next = numbers.len();
                        *numbers.entry(term.clone()).or_insert(next)
                    })
                    .collect();
                found.sort_unstable();
                found.chunk_by(|one, other| one == other).map(|same| (same[0], same.len() as f64)).collect()
            })
            .collect();
        let mut in_sentences = vec![0.0_f64; numbers.len()];
        for (term, _) in counted.iter().flatten() {
            in_sentences[*term] += 1.0;
        }
        let all = sentences.len() as f64;
        let idf: Vec<f64> = in_sentences.into_iter().map(|some| (1.0 + all / some).ln()).collect();
        let vectors = counted.into_iter().map(|terms| unit(terms, &idf)).collect();
        Self { vectors, numbers, idf }
    }

    /// How rare a term is among the sentences; 0 when none has it.
    pub(super) fn idf(&self, term: &str) -> f64 {
        self.numbers.get(term).map_or(0.0, |number| self.idf[*number])
    }

    /// How alike two sentences are, 0 to 1.
    fn likeness(&self, one: usize, other: usize) -> f64 {
        let (mut left, mut right) = (self.vectors[one].as_slice(), self.vectors[other].as_slice());
        let mut sum = 0.0;
        while let ([(term, weight), left_rest @ ..], [(other_term, other_weight), right_rest @ ..]) = (left, right) {
            match term.cmp(other_term) {
                std::cmp::Ordering::Less => left = left_rest,
                std::cmp::Ordering::Greater => right = right_rest,
                std::cmp::Ordering::Equal => {
                    sum += weight * other_weight;
                    (left, right) = (left_rest, right_rest);
                }
            }
        }
        sum
    }

    /// The rank of each sentence, given how much each bears on the question. The ranks' sum is at most 1.
    pub(super) fn rank(&self, bearing: &[f64]) -> Vec<f64> {
        let total: f64 = bearing.iter().sum();
        if total <= 0.0 {
            return vec![0.0; self.vectors.len()];
        }
        let pull: Vec<f64> = bearing.iter().map(|some| some / total).collect();
        let size = self.vectors.len();
        let edges: Vec<Vec<f64>> = (0..size)
            .map(|one| (0..size).map(|other| if one == other { 0.0 } else { self.likeness(one, other) }).collect())
            .collect();
        let degrees: Vec<f64> = edges.iter().map(|row| row.iter().sum()).collect();
        let mut ranks = pull.clone();
        for _ in 0..ROUNDS {
            ranks = (0..size)
                .map(|to| {
                    let from_others = (0..size).filter(|from| degrees[*from] > 0.0);
                    let flow: f64 = from_others.map(|from| ranks[from] * edges[from][to] / degrees[from]).sum();
                    (1.0 - DAMPING) * pull[to] + DAMPING * flow
                })
                .collect();
        }
        ranks
    }

    /// The sentences to quote, best first: high in rank, unlike one another, and accepted by `fits`, which is asked
    /// once for each and may keep count.
    pub(super) fn choose(
        &self,
        ranks: &[f64],
        candidates: &[usize],
        mut fits: impl FnMut(usize) -> bool,
    ) -> Vec<usize> {
        let best = candidates.iter().map(|candidate| ranks[*candidate]).fold(0.0, f64::max);
        let mut open: Vec<usize> =
            candidates.iter().copied().filter(|candidate| ranks[*candidate] >= best * WORTH && best > 0.0).collect();
        let mut chosen: Vec<usize> = Vec::new();
        while !open.is_empty() {
            let nearest = |one: usize| chosen.iter().map(|other| self.likeness(one, *other)).fold(0.0, f64::max);
            open.retain(|candidate| nearest(*candidate) < SAME);
            let value = |one: usize| RANK_OVER_NEWNESS * ranks[one] / best - (1.0 - RANK_OVER_NEWNESS) * nearest(one);
            // Of equals the earlier one: the maximum of a reversed list is the first.
            let next =
                open.iter().enumerate().rev().max_by(|(_, one), (_, other)| value(**one).total_cmp(&value(**other)));
            let Some((position, _)) = next else { break };
            let next = open.remove(position);
            if fits(next) {
                chosen.push(next);
            }
        }
        chosen
    }
}

fn unit(terms: Vec<(usize, f64)>, idf: &[f64]) -> Vec<(usize, f64)> {
    let weighted: Vec<(usize, f64)> = terms.into_iter().map(|(term, count)| (term, count * idf[term])).collect();
    let length = weighted.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
    weighted.into_iter().map(|(term, weight)| (term, weight / length)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(sentences: &[&str]) -> Graph {
        let terms: Vec<Vec<String>> =
            sentences.iter().map(|text| text.split(' ').map(str::to_owned).collect()).collect();
        Graph::new(&terms)
    }

    #[test]
    fn bearing_leads_and_likeness_breaks_the_tie() {
        let graph = graph(&["lease master death", "lease master renew", "lease unrelated words", "colour of paint"]);
        let ranks = graph.rank(&[1.0, 1.0, 1.0, 0.0]);
        assert!(ranks[0] > ranks[2] && ranks[1] > ranks[2], "those that share two terms support each other: {ranks:?}");
        assert!(ranks[3] < ranks[2] / 10.0);
        assert_eq!(graph.rank(&[0.0; 4]), [0.0; 4]);
    }

    #[test]
    fn near_repeats_and_what_does_not_fit_are_left_out() {
        let graph =
            graph(&["a lease runs five seconds", "a lease runs five full seconds", "masters renew leases", "b c"]);
        let ranks = [0.4, 0.3, 0.2, 0.01];
        assert_eq!(graph.choose(&ranks, &[0, 1, 2, 3], |_| true), [0, 2]);
        assert_eq!(graph.choose(&ranks, &[0, 1, 2, 3], |one| one != 0), [1, 2]);
        assert!(graph.choose(&ranks, &[], |_| true).is_empty());
    }

    #[test]
    fn rare_terms_weigh_more() {
        let graph = graph(&["task lease", "task step", "task event"]);
        assert!(graph.idf("lease") > graph.idf("task"));
        assert_eq!(graph.idf("absent"), 0.0);
    }
}
