//! Reading tasks back, one and many, and cancelling them.

use crate::fixture::{Setup, World, failure, pretty, with_world};
use callboard::messages::StepOutcome;
use callboard::task::{Json, Loss};
use serde_json::json;

#[test]
fn a_task_is_read_whole() {
    with_world(Setup::default(), async |world: &World| {
        let body = json!({"task_id": "t-1", "objective": "why?", "context": {"a": 1},
            "options": {"priority": "high", "deadline_ms": 60_000, "budget": {"max_tokens": 100}}});
        world.post("/task", body.to_string()).await;
        world.report("t-1", StepOutcome::Lost(Loss::AgentRestarted)).await;
        insta::assert_snapshot!("whole_running", pretty(&world.get("/task/t-1").await.json()));
        world.finish("t-1").await;
        insta::assert_snapshot!("whole_succeeded", pretty(&world.get("/task/t-1").await.json()));
    });
}

#[test]
fn a_result_is_there_once_the_task_has_ended() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.succeed("t-1", "analyzed").await;
        let early = world.get("/task/t-1/result").await;
        assert_eq!((early.status, &early.json()["final_output"]), (202, &json!(null)));
        world.succeed("t-1", "retrieved").await;
        world.succeed("t-1", "evaluated").await;
        let result = world.get("/task/t-1/result").await;
        assert_eq!(result.status, 200);
        insta::assert_snapshot!("result", pretty(&result.json()));
    });
}

#[test]
fn a_result_can_be_waited_for() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        assert_eq!(world.get("/task/t-1/result?wait=0.01").await.status, 202);
        let finish = async {
            world.until_watchers_are(1.0).await;
            world.finish("t-1").await;
        };
        let (result, ()) = futures_util::join!(world.get("/task/t-1/result?wait=300"), finish);
        assert_eq!((result.status, &result.json()["status"]), (200, &json!("succeeded")));
        world.get("/task/t-1/result?wait=forever").await.assert_error(422, "validation_error");
        world.get("/task/t-2/result?wait=1").await.assert_error(404, "not_found");
    });
}

#[test]
fn a_failed_task_says_why() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.succeed("t-1", "analyzed").await;
        world.report("t-1", StepOutcome::FatalFailure(failure())).await;
        let result = world.get("/task/t-1/result").await;
        assert_eq!(result.status, 200);
        insta::assert_snapshot!("result_failed", pretty(&result.json()));
        insta::assert_snapshot!("whole_failed", pretty(&world.get("/task/t-1").await.json()));
    });
}

#[test]
fn a_task_without_agents_waits_visibly() {
    with_world(Setup { agents: &[], ..Setup::default() }, async |world: &World| {
        assert_eq!(world.submit("t-1").await.json()["status"], "waiting_for_agent");
        let step = &world.get("/task/t-1").await.json()["steps"][0];
        assert_eq!((&step["status"], &step["agent_absent"]), (&json!("queued"), &json!(true)));
    });
}

#[test]
fn large_outputs_come_back_whole() {
    with_world(Setup::default(), async |world: &World| {
        let (context, text) = ("c".repeat(10_000), "o".repeat(10_000));
        let body = json!({"task_id": "t-1", "objective": "why?", "context": {"c": context}});
        world.post("/task", body.to_string()).await;
        // Written with line ends, as a foreign worker may.
        let output = format!("{{\n\"text\":\r\n\"{text}\"}}");
        world.report("t-1", StepOutcome::Succeeded(Json::from_text(output).unwrap())).await;
        let whole = world.get("/task/t-1").await.json();
        assert_eq!((&whole["context"]["c"], &whole["steps"][0]["output"]["text"]), (&json!(context), &json!(text)));
        let stage = &world.get("/task/t-1/result").await.json()["stages"][0];
        assert_eq!(stage["output"]["text"], text);
    });
}

#[test]
fn a_cancelled_task_stays_cancelled_and_an_ended_one_cannot_be() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.succeed("t-1", "analyzed").await;
        let cancelled = world.delete("/task/t-1").await;
        assert_eq!(cancelled.status, 200);
        insta::assert_snapshot!("cancelled", pretty(&cancelled.json()));
        let again = world.delete("/task/t-1").await;
        assert_eq!((again.status, again.json()), (200, cancelled.json()));
        assert_eq!(world.get("/task/t-1").await.json()["steps"][1]["attempts"][0]["outcome"], "cancelled");
        world.submit("t-2").await;
        world.finish("t-2").await;
        world.delete("/task/t-2").await.assert_error(409, "conflict");
        world.delete("/task/t-3").await.assert_error(404, "not_found");
    });
}

#[test]
fn ids_of_any_characters_have_a_path() {
    with_world(Setup::default(), async |world: &World| {
        let id = "a/b ?%任務#c";
        let answer = world.submit(id).await;
        let path = answer.header("location").unwrap();
        assert_eq!(world.get(path).await.json()["task_id"], id);
        assert_eq!(world.get(&format!("{path}/result")).await.json()["task_id"], id);
    });
}

#[test]
fn the_list_goes_page_by_page_without_gap_or_repeat() {
    with_world(Setup::default(), async |world: &World| {
        for n in 0..7 {
            world.submit(&format!("t-{n}")).await;
        }
        let mut seen = Vec::new();
        let mut path = "/tasks?limit=3".to_owned();
        loop {
            let page = world.get(&path).await.json();
            seen.extend(page["tasks"].as_array().unwrap().iter().map(|task| task["task_id"].clone()));
            // Newcomers do not shift the pages after the first.
            world.submit(&format!("later-{}", seen.len())).await;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/tasks?limit=3&cursor={cursor}");
        }
        assert_eq!(json!(seen), json!(["t-6", "t-5", "t-4", "t-3", "t-2", "t-1", "t-0"]));
    });
}

/// The ids that a query lists, over all its pages.
async fn listed(world: &World, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/tasks?{query}{cursor}")).await.json();
        let tasks = page["tasks"].as_array().unwrap_or_else(|| panic!("{page}"));
        ids.extend(tasks.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn the_list_can_be_searched_by_agent_time_and_text() {
    with_world(Setup::default(), async |world: &World| {
        let hour = 3_600_000;
        for (nth, objective) in ["Pay the invoice", "Why is the SKY blue?", "那張發票在哪裡"].iter().enumerate()
        {
            let body = json!({"task_id": format!("t-{nth}"), "objective": objective});
            assert_eq!(world.post("/task", body.to_string()).await.status, 202);
            world.clock.advance(hour);
        }
        let long = format!("{} and where is the invoice?", "blah ".repeat(100));
        world.post("/task", json!({"task_id": "t-3", "objective": long}).to_string()).await;
        world.succeed("t-1", "analyzed").await;
        for (query, ids) in [
            ("text=invoice", &["t-3", "t-0"][..]),
            ("text=INVOICE&limit=1", &["t-3", "t-0"]),
            ("text=sky%20blue", &["t-1"]),
            ("text=%E7%99%BC%E7%A5%A8", &["t-2"]),
            ("text=nowhere", &[]),
            ("agent=librarian", &["t-1"]),
            ("agent=analyst&limit=3", &["t-3", "t-2", "t-1", "t-0"]),
            ("agent=analyst&text=invoice&status=running", &["t-3", "t-0"]),
            ("agent=nobody", &[]),
            ("since=2026-01-01T01:00:00Z", &["t-3", "t-2", "t-1"]),
            ("until=2026-01-01T02:00:00Z", &["t-1", "t-0"]),
            ("since=2026-01-01T01:00:00Z&until=2026-01-01T02:00:00.001Z&limit=1", &["t-2", "t-1"]),
            ("tenant=default&text=sky", &["t-1"]),
            ("tenant=other", &[]),
        ] {
            assert_eq!(listed(world, query).await, ids, "{query}");
        }
    });
}

#[test]
fn a_search_looks_at_a_part_of_the_list_and_goes_on_from_there() {
    with_world(Setup { max_open: 10_000, agents: &[], ..Setup::default() }, async |world: &World| {
        world.post("/task", json!({"task_id": "needle", "objective": "the needle"}).to_string()).await;
        for nth in 0..5_000 {
            world.submit(&format!("t-{nth}")).await;
        }
        let first = world.get("/tasks?text=needle").await.json();
        assert_eq!(first["tasks"], json!([]));
        assert!(first["next_cursor"].is_string(), "{first}");
        assert_eq!(listed(world, "text=needle").await, ["needle"]);
    });
}

#[test]
fn the_list_can_be_narrowed_to_a_status() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.submit("t-2").await;
        world.finish("t-1").await;
        insta::assert_snapshot!("list", pretty(&world.get("/tasks").await.json()));
        for (query, ids) in [
            ("status=succeeded", json!(["t-1"])),
            ("state=running", json!(["t-2"])),
            ("status=running&state=running", json!(["t-2"])),
            ("status=running&state=succeeded", json!([])),
        ] {
            let page = world.get(&format!("/tasks?{query}")).await.json();
            let listed: Vec<_> = page["tasks"].as_array().unwrap().iter().map(|task| &task["task_id"]).collect();
            assert_eq!(json!(listed), ids);
        }
        assert_eq!(world.get("/tasks?status=failed").await.json(), json!({"tasks": [], "next_cursor": null}));
    });
}
