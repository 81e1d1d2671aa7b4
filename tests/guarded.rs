//! Who may call the edges, and where those who register may send us: a token where other machines reach the listener, and
//! no address that no worker can have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::hands::Hands;
use support::{Server, callboard};

const CALLS: [(&str, &str); 8] = [
    ("POST", "/register"),
    ("DELETE", "/register/somebody"),
    ("POST", "/heartbeat"),
    ("POST", "/result"),
    ("POST", "/dispatch"),
    ("POST", "/work"),
    ("DELETE", "/work/t-1/t-1-P1"),
    ("POST", "/generate"),
];

fn declaration(url: &str) -> Value {
    json!({"agent_id": "worker-a", "url": url, "capabilities": ["paint"], "ag2_profile": "painter"})
}

async fn statuses(server: &Server, token: Option<&str>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for (method, path) in CALLS {
        let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.url)).body("{}");
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        if status >= 300 {
            assert!(body["code"].is_string() && body["message"].is_string(), "{path}: {body}");
        }
        statuses.push(status);
    }
    statuses
}

#[tokio::test]
async fn edges_ask_for_the_token_and_nothing_else_opens_them() {
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.env("CALLBOARD_INTERNAL_TOKEN", "t0ken").env("CALLBOARD_API_KEYS", "k1=acme");
    let server = Server::of(command);
    for wrong in [None, Some("wrong"), Some("k1"), Some("")] {
        assert_eq!(statuses(&server, wrong).await, [401; 8], "{wrong:?}");
    }
    // Let in, an empty body is what is wrong.
    assert_eq!(statuses(&server, Some("t0ken")).await, [422, 202, 422, 422, 422, 422, 200, 422]);
    // The token is no key.
    let answer = server.client.get(format!("{}/tasks", server.url)).bearer_auth("t0ken").send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn a_whole_callboard_that_is_open_to_others_has_its_edges_closed() {
    let mut command = callboard(&["serve", "--listen", "0.0.0.0:0", "--store", "memory:"]);
    command.env("CALLBOARD_API_KEYS", "k1=acme");
    let mut server = Server::of(command);
    server.url = server.url.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(statuses(&server, None).await, [401; 8]);
    assert_eq!(statuses(&server, Some("k1")).await, [401; 8]);
}

#[tokio::test]
async fn a_split_role_that_is_open_to_others_does_not_start_without_a_token() {
    let ends = |role: &str| {
        let colleagues = ["--master-url", "http://127.0.0.1:9", "--gateway-url", "http://127.0.0.1:9"];
        let mut command = callboard(&["serve", "--listen", "0.0.0.0:0", "--role", role]);
        let output = command.args(colleagues).env("CALLBOARD_API_KEYS", "k1=acme").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for role in ["master", "gateway", "worker", "gateway,worker"] {
        let (code, words) = ends(role);
        assert!(code == Some(64) && words.contains("CALLBOARD_INTERNAL_TOKEN"), "{role}: {code:?} {words}");
    }
}

#[tokio::test]
async fn nobody_registers_where_no_worker_can_be() {
    let server = Server::start(&["--store", "memory:"]);
    for url in [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]:80",
        "http://2852039166:80",
        "http://[fe80::1]:5000",
        "http://0.0.0.0:5000",
        "http://224.0.0.1:5000",
        "http://no-such-host.invalid:5000",
        "ftp://127.0.0.1:5000",
        "file:///etc/passwd",
        "127.0.0.1:5000",
    ] {
        let (status, body) = server.post("/register", &declaration(url)).await;
        assert_eq!((status, &body["details"]["field"]), (422, &json!("url")), "{url}: {body}");
    }
    let (_, agents) = server.get("/agents").await;
    assert!(!agents.to_string().contains("worker-a"), "{agents}");
}

#[tokio::test]
async fn only_the_networks_that_are_named_have_workers() {
    let mut command = callboard(&["serve", "--listen", "127.0.0.1:0", "--store", "memory:"]);
    command.env("CALLBOARD_WORKER_NETWORKS", "10.0.0.0/8");
    let server = Server::of(command);
    for url in ["http://127.0.0.1:5000", "http://localhost:5000", "http://[::1]:5000"] {
        let (status, body) = server.post("/register", &declaration(url)).await;
        assert!(
            status == 422 && body["message"].as_str().unwrap().contains("CALLBOARD_WORKER_NETWORKS"),
            "{url}: {body}"
        );
    }
    assert_eq!(server.post("/register", &declaration("http://10.1.2.3:5000")).await.0, 202);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let hands = Hands::listen();
    let redirecting = support::hands::answering(&format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/work\r\ncontent-length: 0\r\n\r\n",
        hands.url
    ));
    let server = Server::start(&["--store", "memory:"]);
    assert_eq!(server.post("/register", &declaration(&redirecting)).await.0, 202);
    let work = json!({"task_id": "t-1", "sub_id": "S1", "command": "paint"});
    server.post("/dispatch", &work).await;
    // The step fails for good, because its worker takes no work; nothing came where the redirect pointed.
    server.until("/task/t-1:S1", |_, body| body["status"] == "failed").await;
    assert!(hands.nothing_came());
}
