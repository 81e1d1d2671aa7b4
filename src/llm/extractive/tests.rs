//! Tests of `extractive`.

use super::super::testing::call;
use super::*;
use crate::text::markup::plain;
use proptest::prelude::*;

const STORE: &str = "## The store\n\nThe store is the only memory. Masters are **stateless** over it: any may crash, and \
                     [nothing](x.md) accepted is lost.";
const LEASES: &str =
    "A lease runs for five seconds. Each heartbeat extends the lease, e.g. by one TTL. Colours are nice.";
const TABLE: &str = "| name | port |\n|---|---|\n| master | 8000 |\n| worker | 5000 |";

async fn ask(capability: &str, question: &str, passages: &[(&str, u32, &str)]) -> Generated {
    Extractive::new().generate(&call(capability, question, passages)).await.unwrap()
}

/// The quoted sentences of an answer with their numbers.
fn quotes(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| *line != NOTE) {
        let mut rest = line;
        while let Some((sentence, after)) = rest.split_once(" [") {
            let (number, after) = after.split_once(']').unwrap();
            found.push((sentence.trim().to_owned(), number.parse().unwrap()));
            rest = after;
        }
        assert!(rest.is_empty(), "uncited words: {rest}");
    }
    found
}

#[tokio::test]
async fn quotes_what_answers_and_cites_it() {
    let passages = [("a.md", 3, LEASES), ("store.md", 9, STORE)];
    let answer = ask("evaluate", "Is anything lost when masters crash?", &passages).await;
    assert_eq!(
        quotes(&answer.text)[0],
        ("Masters are stateless over it: any may crash, and nothing accepted is lost.".to_owned(), 1)
    );
    assert_eq!((answer.citations[0].file.as_ref(), answer.citations[0].line), ("store.md", 9));
    assert!(answer.text.ends_with(NOTE));
    assert!(!answer.text.contains("Colours"), "what has no bearing is not quoted: {}", answer.text);
}

#[tokio::test]
async fn citations_are_numbered_in_the_order_in_which_they_are_cited() {
    let passages = [("s.md", 1, STORE), ("l.md", 1, LEASES), ("t.md", 1, "The lease of a master is in the store.")];
    let answer = ask("evaluate", "How does a heartbeat extend a lease?", &passages).await;
    let quotes = quotes(&answer.text);
    assert_eq!(quotes[0].1, 1);
    assert!(quotes.is_sorted_by_key(|(_, number)| *number));
    assert_eq!(quotes.last().unwrap().1, answer.citations.len());
    assert_eq!(answer.citations[0].file.as_ref(), "l.md");
}

#[tokio::test]
async fn says_so_when_the_passages_hold_no_answer() {
    let passages = [("a.md", 3, LEASES), ("store.md", 9, STORE)];
    for question in ["Who painted the Mona Lisa?", "Which seconds hand watch did Napoleon wear?"] {
        let answer = ask("finalize", question, &passages).await;
        assert!(answer.text.contains("do not contain an answer"), "{}", answer.text);
        assert!(answer.citations.is_empty());
    }
}

#[tokio::test]
async fn without_passages_nothing_is_cited_and_that_is_said() {
    let analysis = ask("analyze", "How does the master renew its leases?", &[]).await;
    assert!(analysis.text.starts_with("Search terms: master, renew, leases\n"), "{}", analysis.text);
    assert!(analysis.text.contains("no documents were consulted"));
    let evaluation = ask("evaluate", "How does the master renew its leases?", &[]).await;
    assert!(evaluation.text.contains("nothing to quote"));
    assert!(analysis.citations.is_empty() && evaluation.citations.is_empty());
}

#[tokio::test]
async fn headings_are_context_and_rows_the_last_resort() {
    let under =
        ask("evaluate", "What about retries?", &[("r.md", 1, "## Retries\n\nThree in all, with a growing pause.")]);
    assert_eq!(quotes(&under.await.text), [("Three in all, with a growing pause.".to_owned(), 1)]);
    let row = ask("evaluate", "Which port does the worker have?", &[("p.md", 1, TABLE), ("a.md", 3, LEASES)]).await;
    assert!(quotes(&row.text).contains(&("worker | 5000".to_owned(), 1)), "{}", row.text);
    let prose = "The worker's port is 5000.";
    let both = ask("evaluate", "Which port does the worker have?", &[("p.md", 1, TABLE), ("q.md", 1, prose)]).await;
    assert_eq!(quotes(&both.text), [(prose.to_owned(), 1)]);
}

#[tokio::test]
async fn near_repeats_are_quoted_once() {
    let twice = "A lease runs for five seconds.\n\n- A **lease** runs for just five seconds.";
    let answer = ask("evaluate", "How long does a lease run?", &[("a.md", 1, LEASES), ("b.md", 1, twice)]).await;
    assert_eq!(answer.text.matches("five seconds").count(), 1, "{}", answer.text);
}

#[tokio::test]
async fn cjk_questions_are_answered_from_cjk_passages() {
    let passage = "## 儲存\n\n任務在提交之後才會回答。主控程序當機時任務不會遺失！天氣很好。";
    let answer = ask("evaluate", "主控程序當機時，任務會遺失嗎？", &[("zh.md", 4, passage)]).await;
    assert!(quotes(&answer.text).contains(&("主控程序當機時任務不會遺失！".to_owned(), 1)), "{}", answer.text);
    assert!(!answer.text.contains("天氣"));
}

#[tokio::test]
async fn finalize_says_less_than_evaluate_and_large_inputs_are_answered_alike() {
    let many: Vec<String> = (0..60)
        .map(|n| format!("Lease number {n} of worker w{n} is kept by {} for kind{n} of reason{n} and place{n}.", n * 7))
        .collect();
    let passages: Vec<_> = many.iter().map(|text| ("many.md", 1, text.as_str())).collect();
    assert!(many.iter().map(String::len).sum::<usize>() > INLINE_BYTES, "must take the blocking path");
    for (capability, limits) in [("evaluate", EVALUATE), ("finalize", FINALIZE)] {
        let answer = ask(capability, "Which lease is kept for which worker?", &passages).await;
        let quotes = quotes(&answer.text);
        assert_eq!(quotes.len(), limits.sentences);
        assert!(quotes.iter().map(|(sentence, _)| sentence.len()).sum::<usize>() <= limits.bytes);
        assert_eq!(answer, ask(capability, "Which lease is kept for which worker?", &passages).await);
    }
}

proptest! {
    /// The promise of this provider: whatever it quotes stands in the passage that it cites.
    #[test]
    fn only_sentences_of_the_passages_are_quoted(
        texts in prop::collection::vec(
            prop::collection::vec("(lease|master|store|worker|queue|任務|遺失|`a_b`|\\*\\*bold\\*\\*|e\\.g\\.|\\[x\\]\\(y\\)|\\[7\\])[.,!。]?( |\n|\n\n|\n- |\n## )", 1..30),
            1..6,
        ),
        question in "(lease|master|store|任務|遺失)( worker| queue| bold|遺失)?",
    ) {
        let texts: Vec<String> = texts.into_iter().map(|words| words.concat()).collect();
        let passages: Vec<Passage> =
            texts.iter().map(|text| Passage::new("f", 1, text.as_str())).collect();
        let answer = answer("evaluate", &question, &passages);
        if answer.citations.is_empty() {
            prop_assert!(answer.text.contains("do not contain an answer"));
        } else {
            let squeeze = |text: &str| text.replace(char::is_whitespace, "");
            for (sentence, number) in quotes(&answer.text) {
                let cited = &answer.citations[number - 1];
                // Markers at the beginnings of lines are no words; everything else must be there in this order.
                let source: String = cited.text.lines()
                    .map(|line| plain(line.trim_start_matches(['-', '#', ' ']))).collect();
                prop_assert!(squeeze(&source).contains(&squeeze(&sentence)), "{sentence:?} is not in {source:?}");
            }
        }
    }
}
