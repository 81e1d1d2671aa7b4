//! Every refusal: the right status, the envelope, and never a 5xx for what is the caller's doing.

use crate::fixture::{Answer, Setup, World, with_world};
use callboard::http::{ApiOptions, SiteOptions};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

/// The largest body, in bytes, where nobody chose.
fn body_limit() -> usize {
    SiteOptions::default().max_body_bytes
}

#[test]
fn bad_bodies_are_refused() {
    with_world(Setup::default(), async |world: &World| {
        let deep = "[".repeat(500_000);
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("not json", 400),
            (deep.as_str(), 422),
            (&format!(r#"{{"objective":{deep}"#), 422),
            (&format!(r#"{{"objective":"x","context":{{"a":{deep}"#), 422),
            (&format!(r#"{{"objective":"x","context":{{"a":{deep}{}}}}}"#, "]".repeat(500_000)), 422),
            ("[]", 422),
            ("{}", 422),
            (r#"{"objective":""}"#, 422),
            (r#"{"objective":"x","task_id":"a"}"#, 422),
            (r#"{"objective":"x","context":"y"}"#, 422),
            (r#"{"objective":"x","options":{"deadline_ms":1e18}}"#, 422),
            (r#"{"objective":"x","options":{"deadline_ms":9007199254740993}}"#, 422),
            (r#"{"objective":"x","options":{"colour":"red"}}"#, 422),
        ] {
            let answer = world.post("/task", body.to_owned()).await;
            answer.assert_error(status, "validation_error");
        }
        assert_eq!(world.get("/tasks").await.json()["tasks"], json!([]));
    });
}

#[test]
fn a_large_body_is_too_large_and_the_largest_is_not() {
    with_world(Setup::default(), async |world: &World| {
        world.post("/task", vec![b' '; 3 * 1024 * 1024]).await.assert_error(413, "validation_error");
        let body = |length: usize| {
            let frame = r#"{"objective":""}"#.len();
            format!(r#"{{"objective":"{}"}}"#, "x".repeat(length - frame))
        };
        world.post("/task", body(body_limit() + 1)).await.assert_error(413, "validation_error");
        assert_eq!(world.post("/task", body(body_limit())).await.status, 202);
        // Of unknown length.
        let chunks = (0..48).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024]));
        let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        world.post("/task", stream).await.assert_error(413, "validation_error");
    });
}

#[test]
fn a_body_that_announces_too_much_is_not_read() {
    with_world(Setup::default(), async |world: &World| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let addr = world.base.strip_prefix("http://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        let head = b"POST /task HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
        socket.write_all(head).await.unwrap();
        let mut answer = vec![0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"HTTP/1.1 413");
    });
}

#[test]
fn bad_headers_and_queries_are_refused() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        for (path, field) in [
            ("/tasks?cursor=nonsense", "cursor"),
            ("/tasks?cursor=c1-", "cursor"),
            ("/tasks?cursor=7", "cursor"),
            ("/tasks?limit=0", "limit"),
            ("/tasks?limit=201", "limit"),
            ("/tasks?limit=-1", "limit"),
            ("/tasks?status=lost", "status"),
            ("/tasks?stat=failed", "stat"),
            ("/tasks?status=failed&status=running", "status"),
            ("/tasks?state=lost", "state"),
            ("/tasks?since=yesterday", "since"),
            ("/tasks?until=1700000000", "until"),
            ("/tasks?agent=a", "agent"),
            ("/tasks?tenant=", "tenant"),
            ("/tasks?text=%20", "text"),
            (&format!("/tasks?text={}", "%E4%BB%BB".repeat(201)), "text"),
            ("/task/t-1/events?after=x", "after"),
            ("/task/t-1/events?after=-1", "after"),
        ] {
            let answer = world.get(path).await;
            answer.assert_error(422, "validation_error");
            assert_eq!(answer.json()["details"]["field"], field);
        }
        assert_eq!(world.get(&format!("/tasks?text={}", "%E4%BB%BB".repeat(200))).await.status, 200);
        for wait in ["x", "-1", "301", "1e300"] {
            let answer = world.post(&format!("/task?wait={wait}"), r#"{"objective":"x"}"#).await;
            answer.assert_error(422, "validation_error");
        }
        let request = world.post_of("/task", r#"{"objective":"x"}"#).header("idempotency-key", "");
        Answer::of(request.send().await.unwrap()).await.assert_error(422, "validation_error");
        let request = world.client.get(format!("{}/task/t-1/events", world.base)).header("last-event-id", "abc");
        Answer::of(request.send().await.unwrap()).await.assert_error(422, "validation_error");
        let request = world.client.get(format!("{}/task/t-1/events?after=x", world.base)).header("last-event-id", "1");
        Answer::of(request.send().await.unwrap()).await.assert_error(422, "validation_error");
    });
}

#[test]
fn what_is_not_there_is_not_found() {
    with_world(Setup::default(), async |world: &World| {
        for path in [
            "/",
            "/nowhere",
            "/task/unknown",
            "/task/unknown/result",
            "/task/unknown/events",
            "/task/unknown/nothing",
            "/task/x",
            "/task/%ff%fe",
            "/task/a%00b",
            "/task/a%0ab/result",
        ] {
            world.get(path).await.assert_error(404, "not_found");
        }
        let long = format!("/task/{}", "x".repeat(201));
        world.get(&long).await.assert_error(404, "not_found");
    });
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    with_world(Setup::default(), async |world: &World| {
        for (method, path, allow) in [
            (Method::GET, "/task", "POST"),
            (Method::PUT, "/task/t-1", "GET, DELETE"),
            (Method::POST, "/task/t-1/result", "GET"),
            (Method::DELETE, "/task/t-1/events", "GET"),
            (Method::POST, "/tasks", "GET"),
            (Method::POST, "/agents", "GET"),
            (Method::POST, "/supervision", "GET"),
            (Method::POST, "/health", "GET"),
            (Method::PATCH, "/ready", "GET"),
            (Method::DELETE, "/metrics", "GET"),
        ] {
            let request = world.client.request(method, format!("{}{path}", world.base));
            let answer = Answer::of(request.send().await.unwrap()).await;
            answer.assert_error(405, "validation_error");
            assert_eq!(answer.header("allow"), Some(allow), "{path}");
        }
    });
}

#[test]
fn full_is_said() {
    with_world(Setup { max_open: 1, ..Setup::default() }, async |world: &World| {
        assert_eq!(world.submit("t-1").await.status, 202);
        let full = world.submit("t-2").await;
        full.assert_error(429, "overloaded");
        assert_eq!(full.header("retry-after"), Some("3"));
    });
    with_world(Setup { master_bound: 0, ..Setup::default() }, async |world: &World| {
        world.submit("t-1").await.assert_error(429, "overloaded");
    });
}

#[test]
fn our_own_faults_are_ours_and_keep_their_secrets() {
    let options = ApiOptions { answer_within: Duration::from_millis(20), ..ApiOptions::default() };
    with_world(Setup { options, ..Setup::default() }, async |world: &World| {
        world.post("/task", r#"{"objective":"hang"}"#).await.assert_error(503, "timeout");
    });
    with_world(Setup::default(), async |world: &World| {
        for (objective, status, code) in [
            ("crash", 503, "crashed"),
            ("lose the store", 503, "internal_error"),
            ("drain", 503, "overloaded"),
            ("break", 500, "internal_error"),
        ] {
            let answer = world.post("/task", json!({"objective": objective}).to_string()).await;
            answer.assert_error(status, code);
            assert!(!answer.text.contains("secret"), "{}", answer.text);
        }
    });
}

#[test]
fn a_lost_store_is_said_everywhere() {
    with_world(Setup::default(), async |world: &World| {
        use callboard::store::Store;
        world.submit("t-1").await;
        world.store.close().await.unwrap();
        for path in ["/task/t-1", "/task/t-1/result", "/task/t-1/events", "/tasks", "/agents", "/ready"] {
            world.get(path).await.assert_error(503, "internal_error");
        }
        assert_eq!(world.get("/health").await.status, 200);
        assert_eq!(world.get("/metrics").await.status, 200);
    });
}

#[test]
fn nothing_that_a_client_sends_is_a_fault_of_ours() {
    with_world(Setup::default(), async |world: &World| {
        let mut random = fastrand::Rng::with_seed(3);
        let good = r#"{"task_id":"t-1","objective":"why?","context":{"a":[1,"\u00e9"]},"options":{"deadline_ms":500,
            "priority":"low","budget":{"scopes":["s"],"max_tokens":5}}}"#;
        let pieces =
            ["%00", "%", "..", "/", "?", "&", "=", "wait", "cursor", "c1-ff", "limit", "-1", "9e9", "task", "t-1"];
        for _ in 0..400 {
            let mut body = good.as_bytes().to_vec();
            for _ in 0..random.usize(0..4) {
                let at = random.usize(0..body.len());
                body[at] = random.u8(..);
            }
            let path: String = (0..random.usize(0..6)).map(|_| *random.choice(&pieces).unwrap()).collect();
            let path = if random.bool() { format!("/task?{path}") } else { format!("/{path}") };
            let method = random.choice([Method::GET, Method::POST, Method::POST, Method::DELETE, Method::PUT]).unwrap();
            let request = world.client.request(method, format!("{}{path}", world.base)).body(body.clone());
            let answer = Answer::of(request.send().await.unwrap()).await;
            let body = String::from_utf8_lossy(&body);
            assert!(answer.status < 500, "{path}: {} for {body}", answer.text);
            if answer.status >= 300 {
                let code = answer.json()["code"].as_str().unwrap().to_owned();
                answer.assert_error(answer.status, &code);
            }
        }
    });
}

#[test]
fn what_is_no_http_costs_one_connection_only() {
    with_world(Setup::default(), async |world: &World| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let addr = world.base.strip_prefix("http://").unwrap();
        for garbage in [
            &b"\0\x01\x02\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /task HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        ] {
            let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
            socket.write_all(garbage).await.unwrap();
            let mut answer = Vec::new();
            // It may close or reset; both are fine.
            let _ = socket.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
        }
        assert_eq!(world.get("/health").await.status, 200);
    });
}
