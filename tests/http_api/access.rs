//! Keys and tenants.

use crate::fixture::{Answer, Setup, World, with_world};
use callboard::http::SiteOptions;
use reqwest::Method;
use serde_json::json;
use std::sync::{Arc, Mutex};

fn guarded() -> Setup {
    let keys = "acme-key=acme,globex-key=globex".parse().unwrap();
    Setup { site: SiteOptions { keys: Some(keys), ..SiteOptions::default() }, ..Setup::default() }
}

async fn call(world: &World, method: Method, path: &str, key: &str) -> Answer {
    let request = world.client.request(method, format!("{}{path}", world.base)).bearer_auth(key);
    Answer::of(request.send().await.unwrap()).await
}

#[test]
fn without_a_key_only_the_probes_answer() {
    with_world(guarded(), async |world: &World| {
        let routes = [
            (Method::POST, "/task"),
            (Method::GET, "/task/t-1"),
            (Method::DELETE, "/task/t-1"),
            (Method::GET, "/task/t-1/result"),
            (Method::GET, "/task/t-1/events"),
            (Method::GET, "/tasks"),
            (Method::GET, "/agents"),
            (Method::GET, "/supervision"),
            (Method::GET, "/metrics"),
        ];
        for (method, path) in routes {
            let request = world.client.request(method.clone(), format!("{}{path}", world.base));
            let answer = Answer::of(request.send().await.unwrap()).await;
            answer.assert_error(401, "unauthorized");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"callboard\""));
            for wrong in ["wrong", "acme-key2", "acme", ""] {
                call(world, method.clone(), path, wrong).await.assert_error(401, "unauthorized");
            }
        }
        assert_eq!(world.get("/health").await.json(), json!({"status": "ok"}));
        assert_eq!(world.get("/ready").await.status, 200);
    });
}

#[test]
fn a_large_body_without_a_key_gets_its_answer() {
    with_world(guarded(), async |world: &World| {
        for _ in 0..10 {
            world.post("/task", vec![b' '; 2 * 1024 * 1024]).await.assert_error(401, "unauthorized");
        }
    });
}

#[test]
fn a_tenant_sees_its_own_tasks_only() {
    with_world(guarded(), async |world: &World| {
        let body = r#"{"task_id":"t-1","objective":"why?"}"#;
        let submit =
            async |key: &str| Answer::of(world.post_of("/task", body).bearer_auth(key).send().await.unwrap()).await;
        assert_eq!(submit("acme-key").await.status, 202);
        assert_eq!(call(world, Method::GET, "/task/t-1", "acme-key").await.status, 200);
        for (method, path) in [
            (Method::GET, "/task/t-1"),
            (Method::GET, "/task/t-1/result"),
            (Method::GET, "/task/t-1/events"),
            (Method::DELETE, "/task/t-1"),
        ] {
            call(world, method, path, "globex-key").await.assert_error(404, "not_found");
        }
        // An id is one task's over all tenants.
        submit("globex-key").await.assert_error(409, "conflict");
        let listed = async |key: &str| call(world, Method::GET, "/tasks", key).await.json()["tasks"].clone();
        assert_eq!(listed("acme-key").await.as_array().unwrap().len(), 1);
        assert_eq!(listed("globex-key").await, json!([]));
    });
}

#[test]
fn a_key_may_be_the_password_of_http_basic() {
    with_world(guarded(), async |world: &World| {
        let request = world.client.get(format!("{}/tasks", world.base)).basic_auth("anybody", Some("acme-key"));
        assert_eq!(request.send().await.unwrap().status(), 200);
        let request = world.client.get(format!("{}/tasks", world.base)).basic_auth("acme-key", Some("x"));
        assert_eq!(request.send().await.unwrap().status(), 401);
    });
}

#[test]
fn a_request_is_logged_without_its_secrets() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // For the whole process: the server logs from threads of its own.
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter("info,callboard=debug")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    with_world(guarded(), async |world: &World| {
        let body = r#"{"task_id":"t-logged","objective":"confidential"}"#;
        world.post_of("/task?key=query", body).bearer_auth("acme-key").send().await.unwrap();
        call(world, Method::GET, "/task/t-logged/result", "wrong-key").await;
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line =
        |part: &str| log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part} in {log}"));
    let taken = line(r#"task="t-logged""#);
    for part in [r#"method="POST""#, r#"route="/task""#, "status=202", "ms="] {
        assert!(taken.contains(part), "{taken}");
    }
    assert!(line("status=401").contains(r#"route="/task/{id}/result""#));
    for secret in ["acme-key", "wrong-key", "confidential", "query"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn strangers_do_not_see_each_other_in_the_tree() {
    with_world(guarded(), async |world: &World| {
        let tree = call(world, Method::GET, "/supervision", "acme-key").await.json();
        let children = tree["children"].as_array().unwrap();
        assert!(children.iter().filter(|child| child["kind"] == "task").all(|child| child["name"] == "(a task)"));
        assert!(children.iter().any(|child| child["name"] == "master"));
    });
}
