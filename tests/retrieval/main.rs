//! Promise: over real documents the search finds what answers a question. Measured on a judged set, described in
//! `tests/retrieval/README.md`; the figures are printed with `--nocapture`, and here only must not fall below floors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answering;
mod ranking;
mod set;

use callboard::agents::{Corpus, Retriever};
use set::{Language, Quotes};

#[tokio::test]
async fn judged_questions_are_answered() {
    let questions = set::questions();
    let quotes = Quotes::of(&questions);
    let retriever = Retriever::new(Corpus::open(set::documents()).unwrap());
    let size = retriever.prepare().await.unwrap();
    println!("{} documents, {} passages", size.documents, size.passages);
    let ranked = ranking::measure(&questions, &retriever, &quotes).await;
    for (language, figures) in ranked {
        let floor = match language {
            Language::En => 0.0,
            Language::Zh => 0.0,
        };
        assert!(figures.recall_at_5 >= floor, "{language}: {figures:?}");
    }
    answering::measure(&questions, &retriever, &quotes).await;
}
