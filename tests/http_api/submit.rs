//! `POST /task`: taking, repeating, waiting.

use crate::fixture::{Answer, Setup, World, pretty, with_world};
use callboard::http::ApiOptions;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_task_is_taken_at_once() {
    with_world(Setup::default(), async |world: &World| {
        let answer = world.submit("t-1").await;
        assert_eq!((answer.status, answer.header("location")), (202, Some("/task/t-1")));
        insta::assert_snapshot!("taken", pretty(&answer.json()));
    });
}

#[test]
fn a_task_without_an_id_is_given_one() {
    with_world(Setup::default(), async |world: &World| {
        let answer = world.post("/task", r#"{"objective":"why?","unknown":1}"#).await;
        assert_eq!(answer.status, 202);
        let path = answer.header("location").unwrap().to_owned();
        assert_eq!(answer.json()["links"]["self"], path.as_str());
        assert_eq!(world.get(&path).await.status, 200);
    });
}

#[test]
fn any_content_type_will_do_when_it_is_json() {
    with_world(Setup::default(), async |world: &World| {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "nonsense"] {
            let request = world.post_of("/task", r#"{"objective":"why?"}"#).header("content-type", content_type);
            assert_eq!(request.send().await.unwrap().status(), 202);
        }
    });
}

#[test]
fn an_equal_submission_is_answered_like_the_first_and_another_is_a_conflict() {
    with_world(Setup::default(), async |world: &World| {
        let first = world.submit("t-1").await;
        let second = world.submit("t-1").await;
        assert_eq!((second.status, second.json()), (202, first.json()));
        world.post("/task", r#"{"task_id":"t-1","objective":"other"}"#).await.assert_error(409, "conflict");
        let named = async |objective: &str| {
            let body = json!({"objective": objective}).to_string();
            Answer::of(world.post_of("/task", body).header("idempotency-key", "k").send().await.unwrap()).await
        };
        let first = named("why?").await;
        assert_eq!(named("why?").await.json(), first.json());
        named("other").await.assert_error(409, "conflict");
        assert_eq!(world.metric("callboard_store_commits_total").await, 2.0);
    });
}

#[test]
fn who_asks_to_wait_gets_the_end() {
    with_world(Setup::default(), async |world: &World| {
        let body = r#"{"task_id":"t-1","objective":"why?"}"#;
        let waiting = world.post("/task?wait=300", body);
        let working = async {
            world.until_watchers_are(1.0).await;
            world.finish("t-1").await;
        };
        let (answer, ()) = futures_util::join!(waiting, working);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("succeeded")));
        assert_eq!(answer.json()["final_output"]["text"], "evaluated");
        let preferred = world.post_of("/task", body).header("prefer", "respond-async, wait=300");
        assert_eq!(preferred.send().await.unwrap().status(), 200);
        assert_eq!(world.post("/task", body).await.status, 202);
    });
}

#[test]
fn the_setting_makes_everybody_wait_and_keeps_the_predecessors_status() {
    let options = ApiOptions { task_wait: Duration::from_secs(300), ..ApiOptions::default() };
    with_world(Setup { options, ..Setup::default() }, async |world: &World| {
        let waiting = world.submit("t-1");
        let working = async {
            world.until_watchers_are(1.0).await;
            world.finish("t-1").await;
        };
        let (answer, ()) = futures_util::join!(waiting, working);
        assert_eq!(answer.status, 202);
        assert_eq!(answer.json()["stages"].as_array().unwrap().len(), 3);
        let impatient = world.post("/task?wait=0", r#"{"task_id":"t-2","objective":"why?"}"#).await;
        assert_eq!((impatient.status, &impatient.json()["status"]), (202, &json!("running")));
    });
}

#[test]
fn a_wait_that_ends_first_gets_the_state_so_far() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.succeed("t-1", "analyzed").await;
        let answer = world.post("/task?wait=0.01", r#"{"task_id":"t-1","objective":"why?"}"#).await;
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("running")));
        assert_eq!(answer.json()["stages"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn one_waiter_too_many_does_not_wait() {
    let options = ApiOptions { max_watchers: 0, ..ApiOptions::default() };
    with_world(Setup { options, ..Setup::default() }, async |world: &World| {
        assert_eq!(world.post("/task?wait=300", r#"{"task_id":"t-1","objective":"why?"}"#).await.status, 202);
        world.get("/task/t-1/events").await.assert_error(429, "overloaded");
    });
}

#[test]
fn a_client_that_leaves_takes_its_wait_with_it() {
    with_world(Setup::default(), async |world: &World| {
        let body = r#"{"task_id":"t-1","objective":"why?"}"#;
        {
            let waiting = std::pin::pin!(world.post("/task?wait=300", body));
            let seen = std::pin::pin!(world.until_watchers_are(1.0));
            let first = futures_util::future::select(waiting, seen).await;
            assert!(matches!(first, futures_util::future::Either::Right(_)));
        }
        world.until_watchers_are(0.0).await;
        assert_eq!(world.get("/task/t-1").await.json()["status"], "running");
    });
}

#[test]
fn a_short_question_has_a_short_answer() {
    with_world(Setup::default(), async |world: &World| {
        let body = json!({"task_id": "t-1", "objective": "x".repeat(200)}).to_string();
        world.post("/task", body).await;
        for _ in 0..3 {
            world.succeed("t-1", &"y".repeat(600)).await;
        }
        for path in ["/task/t-1", "/task/t-1/result"] {
            let bytes = world.get(path).await.text.len();
            assert!(bytes < 8 * 1024, "{path}: {bytes}");
        }
    });
}
