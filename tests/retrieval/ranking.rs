//! How well the search ranks: recall@5, nDCG@10 and MRR over the judged questions.

use crate::set::{Language, Question, Quotes, bare};
use callboard::agents::Retriever;
use callboard::messages::Passage;

/// How deep the ranking is looked at.
const DEPTH: usize = 10;
/// How many passages a step's output can hold.
const SHOWN: usize = 5;

/// Means over a language's answerable questions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// The share of a question's answering quotes (grade 2) that the first five passages hold.
    pub recall_at_5: f64,
    /// Discounted gain of the first ten passages (2^grade - 1, log2 discount) against the best order of what was judged.
    pub ndcg_at_10: f64,
    /// One over the rank of the first passage that holds an answering quote.
    pub mrr: f64,
    /// The share of questions with an answering quote among the first five passages.
    pub success_at_5: f64,
}

/// What a ranking is worth to one question.
pub fn judge(question: &Question, ranking: &[Passage], quotes: &Quotes) -> Figures {
    let mut open: Vec<usize> = (0..question.answered_by.len()).collect();
    let (mut gains, mut spare) = (Vec::new(), Vec::new());
    let (mut found_in_5, mut first) = (0, None);
    for (rank, passage) in ranking.iter().take(DEPTH).enumerate() {
        let text = bare(&passage.text);
        let held = |judgement: &usize| {
            let judgement = &question.answered_by[*judgement];
            quotes.holds(&text, passage.file.as_ref() == judgement.file, judgement)
        };
        let (met, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|judgement| held(judgement));
        open = rest;
        let mut grades: Vec<u8> = met.iter().map(|judgement| question.answered_by[*judgement].grade).collect();
        grades.sort_unstable();
        if grades.contains(&2) {
            first = first.or(Some(rank));
        }
        if rank < SHOWN {
            found_in_5 += grades.iter().filter(|grade| **grade == 2).count();
        }
        // What one passage holds together is one thing to find: its best grade counts, in the ideal order too.
        gains.push(grades.pop().map_or(0.0, gain));
        spare.extend(grades);
    }
    let mut ideal: Vec<f64> = question.answered_by.iter().map(|judgement| gain(judgement.grade)).collect();
    for grade in spare {
        if let Some(at) = ideal.iter().position(|some| *some == gain(grade)) {
            ideal.remove(at);
        }
    }
    ideal.sort_by(|one, other| other.total_cmp(one));
    let answering = question.answered_by.iter().filter(|judgement| judgement.grade == 2).count();
    Figures {
        recall_at_5: found_in_5 as f64 / answering as f64,
        ndcg_at_10: discounted(&gains) / discounted(&ideal),
        mrr: first.map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0)),
        success_at_5: if first.is_some_and(|rank| rank < SHOWN) { 1.0 } else { 0.0 },
    }
}

fn gain(grade: u8) -> f64 {
    f64::from((1_u32 << grade) - 1)
}

fn discounted(gains: &[f64]) -> f64 {
    gains.iter().take(DEPTH).enumerate().map(|(rank, gain)| gain / (rank as f64 + 2.0).log2()).sum()
}

/// Searches for every answerable question; prints what was missed and gives the means per language.
pub async fn measure(questions: &[Question], retriever: &Retriever, quotes: &Quotes) -> Vec<(Language, Figures)> {
    let mut all = Vec::new();
    for language in Language::ALL {
        let asked: Vec<_> =
            questions.iter().filter(|question| question.language == language && question.is_answerable()).collect();
        let mut sum = Figures::default();
        for question in &asked {
            let ranking = retriever.search(&question.question, DEPTH).await.unwrap();
            let one = judge(question, &ranking, quotes);
            if one.success_at_5 == 0.0 {
                println!("not in the first {SHOWN} ({}): {}", question.id, question.question);
                for passage in ranking.iter().take(3) {
                    let begin: String = passage.text.split_whitespace().collect::<Vec<_>>().join(" ");
                    println!("    {}:{} {}", passage.file, passage.line, begin.chars().take(90).collect::<String>());
                }
            }
            sum.recall_at_5 += one.recall_at_5;
            sum.ndcg_at_10 += one.ndcg_at_10;
            sum.mrr += one.mrr;
            sum.success_at_5 += one.success_at_5;
        }
        let count = asked.len() as f64;
        let mean = Figures {
            recall_at_5: sum.recall_at_5 / count,
            ndcg_at_10: sum.ndcg_at_10 / count,
            mrr: sum.mrr / count,
            success_at_5: sum.success_at_5 / count,
        };
        println!(
            "RANKING {language}: {} questions, recall@5 {:.3}, nDCG@10 {:.3}, MRR {:.3}, success@5 {:.3}",
            asked.len(),
            mean.recall_at_5,
            mean.ndcg_at_10,
            mean.mrr,
            mean.success_at_5
        );
        all.push((language, mean));
    }
    all
}

#[test]
fn a_perfect_ranking_is_worth_one_and_order_counts() {
    let question: Question = serde_json::from_str(
        r#"{"id":"x","language":"en","question":"?","answered_by":[
            {"file":"a.md","quote":"first answer here","grade":2},
            {"file":"a.md","quote":"second answer there","grade":2},
            {"file":"b.md","quote":"something that helps","grade":1}]}"#,
    )
    .unwrap();
    let quotes = Quotes::of(std::slice::from_ref(&question));
    let passage = |file: &str, text: &str| Passage::new(file, 1, text);
    let both = passage("a.md", "A first answer here, a second answer there.");
    let helps = passage("b.md", "Something that helps.");
    let chance = passage("c.md", "Nothing.");
    let best = judge(&question, &[both.clone(), helps.clone()], &quotes);
    assert_eq!((best.recall_at_5, best.ndcg_at_10, best.mrr, best.success_at_5), (1.0, 1.0, 1.0, 1.0));
    let late = judge(&question, &[chance.clone(), helps.clone(), both.clone()], &quotes);
    assert!(late.ndcg_at_10 < 0.7 && late.mrr < 0.34, "{late:?}");
    let twice = judge(&question, &[both.clone(), both, helps], &quotes);
    assert!(twice.ndcg_at_10 < 1.0, "the same words again are worth nothing");
    assert_eq!(judge(&question, &[chance], &quotes).ndcg_at_10, 0.0);
}
