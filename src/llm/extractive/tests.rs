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

async fn ask(capability: &str, question: &str, passages: &[(&str, u32, &str)]) -> Answer {
    Extractive::new().complete(&call(capability, question, passages)).await.unwrap()
}

/// The quoted sentences of an answer with their numbers.
fn quotes(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let languages = [Language::English, Language::Chinese];
    let own: Vec<&str> = languages.iter().flat_map(|one| [one.note(), one.quoted_as_they_are()]).collect();
    let code = |line: &&str| !line.starts_with("    ");
    for line in text.lines().filter(|line| !own.contains(line)).filter(code) {
        let mut rest = line.strip_prefix("See also: ").or(line.strip_prefix("另見：")).unwrap_or(line);
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
    assert!(answer.text.ends_with(Language::English.note()));
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
        assert!(answer.text.starts_with("Not found in the documents"), "{}", answer.text);
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
async fn a_chinese_question_is_answered_in_chinese_from_first_to_last_word() {
    let passages = [
        ("en.md", 1, "Tasks are kept when the master crashes: 任務 stay."),
        ("zh.md", 4, "主控程序當機時任務不會遺失！"),
    ];
    let answer = ask("finalize", "主控程序當機時，任務會遺失嗎？", &passages).await;
    assert_eq!(
        answer.text.as_ref(),
        "主控程序當機時任務不會遺失！ [1]\n（摘錄式回答：句子直接引自文件，沒有使用語言模型）"
    );
    assert_eq!(answer.citations[0].file.as_ref(), "zh.md");
    let refused = ask("finalize", "台北今天會下雨嗎？", &passages).await;
    assert!(refused.text.starts_with("文件中找不到答案：") && refused.citations.is_empty(), "{}", refused.text);
    assert!(ask("evaluate", "任務會遺失嗎？", &[]).await.text.starts_with("文件中找不到答案："));
    let analysis = ask("analyze", "任務會遺失嗎？", &[]).await;
    assert!(analysis.text.starts_with("Search terms: 任務會遺失嗎\n（摘錄式提供者："), "{}", analysis.text);
}

#[tokio::test]
async fn documents_in_another_language_are_quoted_as_they_are_and_that_is_said() {
    let passages = [("en.md", 1, "The hostname is stored in /etc/hostname.")];
    let answer = ask("finalize", "hostname 存在哪裡", &passages).await;
    let quoted = format!("{}\nThe hostname is stored in /etc/hostname. [1]\n", Language::Chinese.quoted_as_they_are());
    assert!(answer.text.starts_with(&quoted), "{}", answer.text);
}

#[tokio::test]
async fn a_command_is_quoted_whole_below_the_sentence_that_announces_it() {
    let passage =
        "You can set the default editor by the following.\n\n```\n$ sudo update-alternatives --config editor\n```\n";
    let answer = ask("finalize", "How do I set the default editor?", &[("a.md", 1, passage)]).await;
    let quoted =
        "You can set the default editor by the following. [1]\n    $ sudo update-alternatives --config editor\n(";
    assert!(answer.text.starts_with(quoted), "{}", answer.text);
    let alone =
        ask("finalize", "update-alternatives editor", &[("a.md", 1, "```\nupdate-alternatives --config editor\n```")]);
    let alone = alone.await;
    assert!(
        alone.text.starts_with("The documents give: [1]\n    update-alternatives --config editor\n"),
        "{}",
        alone.text
    );
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
        assert!(quotes.iter().map(|(sentence, _)| sentence.chars().count()).sum::<usize>() <= limits.chars);
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
            let refusals = ["Not found in the documents", "文件中找不到答案"];
            prop_assert!(refusals.iter().any(|refusal| answer.text.starts_with(refusal)), "{}", answer.text);
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
