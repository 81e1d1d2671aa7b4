//! A served process answers from the documents as they are now: what is added to its folder is found without a restart,
//! what is taken away is not, whatever the format.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::time::Instant;
use support::{PATIENCE, Server};

async fn ask(server: &Server, question: &str) -> String {
    let body = json!({"objective": question});
    let answer = server.client.post(format!("{}/task?wait=60", server.url)).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["status"], "succeeded", "{answer}");
    answer["final_output"]["text"].as_str().unwrap().to_owned()
}

/// Asks until the answer is as it should be.
async fn ask_until(server: &Server, question: &str, is_right: impl Fn(&str) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = ask(server, question).await;
        if is_right(&answer) {
            return;
        }
        assert!(Instant::now() < until, "{question}: {answer}");
    }
}

#[tokio::test]
async fn the_folder_is_followed_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("harbour.md", "# Harbour\n\nThe ferry to Kinmen leaves at seven.\n");
    let server = Server::start(&["--store", "memory:", "--docs", folder.path().to_str().unwrap()]);
    let question = "When does the ferry leave for Kinmen?";
    assert!(ask(&server, question).await.contains("leaves at seven"));

    write("harbour.md", "# Harbour\n\nThe ferry to Kinmen leaves at nine.\n");
    ask_until(&server, question, |answer| answer.contains("leaves at nine") && !answer.contains("seven")).await;
    write("tower.html", "<html><body><h1>Tower</h1><p>The lighthouse keeper is called Mei-Ling.</p></body></html>");
    ask_until(&server, "What is the lighthouse keeper called?", |answer| answer.contains("Mei-Ling")).await;
    fs::remove_file(folder.path().join("harbour.md")).unwrap();
    ask_until(&server, question, |answer| !answer.contains("nine")).await;
}
