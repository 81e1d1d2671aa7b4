//! The examples do what they say: each is compiled into this test and run, over the documents that come with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[allow(dead_code, clippy::print_stdout, reason = "the example's own main is for its users")]
#[path = "../examples/custom_agent.rs"]
mod custom_agent;

use callboard::agents::AgentError;
use callboard::testkit::{Alone, Scripted, TestCompany, always, earlier, passage, work};
use custom_agent::{Bookkeeper, answer};
use serde_json::json;

#[test]
fn the_custom_agent_adds_up_what_the_documents_say() {
    let travel = answer("How much did travel cost?").unwrap();
    assert_eq!(travel.text(), "EUR 403.60 in 4 entries.");
    let value = travel.value();
    assert_eq!((&value["cents"], &value["profile"]), (&json!(40_360), &json!("bookkeeper")));
    let citations = value["citations"].as_array().unwrap();
    assert!(citations.iter().any(|cited| cited["file"] == "march.md" && cited["line"] == 5), "{citations:?}");
    assert_eq!(answer("What did the office cost?").unwrap().text(), "EUR 327.45 in 2 entries.");
    assert!(answer("how much?").unwrap_err().to_string().contains("does not name what was paid for"));
}

#[tokio::test]
async fn the_custom_agent_takes_amounts_only_from_lines_that_are_asked_for() {
    let found = [passage("a.md", 3, "- travel, EUR 1.05\n- office, EUR 7.00\n- travel, no receipt\n- Travel, EUR 2.1")];
    let mut work = work("evaluate", "What did travel cost?");
    work.earlier.push(earlier("retrieve", json!({"text": "one passage", "passages": found})));
    let output = Alone::default().perform(&Bookkeeper, &work).await.unwrap();
    assert_eq!((&output["text"], &output["citations"][0]["line"]), (&json!("EUR 1.05 in 1 entries."), &json!(3)));
    work.objective = "why?".into();
    let refused = Alone::default().perform(&Bookkeeper, &work).await;
    assert!(matches!(refused, Err(AgentError::Fatal(_))), "{refused:?}");
}

#[test]
fn the_custom_agent_works_in_a_team_whose_searches_fail_now_and_then() {
    let search = Scripted::default().line(always().every(3).fails()).line(always().says("nothing found"));
    TestCompany::default().agent("retrieve", search).agent("evaluate", Bookkeeper).without("finalize").run(
        async |company| {
            let mut tasks = Vec::new();
            for nth in 0..9 {
                tasks.push(company.ask(&format!("t-{nth}"), "What did travel cost?").await);
            }
            for task in &tasks {
                assert_eq!(company.answer(task).await.text(), "EUR 0.00 in 0 entries.");
                company.log(task).await.step("evaluate").attempts(1).crashes(0);
            }
            company.audit().await.holds(&tasks).clean();
        },
    );
}
