//! The description of the API is true: it has every route and no other, real answers are as it says, its bounds are those
//! that the server keeps, and the page for people says the same without calling anybody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod schema;
#[path = "../support/mod.rs"]
mod support;

use reqwest::Method;
use schema::check;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use support::Server;

fn server() -> Server {
    Server::start(&["--store", "memory:", "--provider", "mock"])
}

/// A server with these settings, and the folder that holds their file.
fn with_settings(settings: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callboard.toml");
    fs::write(&file, format!("store = \"memory:\"\nprovider = \"mock\"\n{settings}\n")).unwrap();
    (Server::start(&["--config", file.to_str().unwrap()]), folder)
}

async fn document(server: &Server) -> Value {
    let (status, document) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    document
}

/// The methods of each path, upper case.
fn routes(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// The public routes that the source registers, by their paths: each call of `resource`, which is the only way to have
/// one. The edges between processes are no part of the public API, docs/distributed.md describes them; and the models' is
/// OpenAI's, who describes it.
fn registered() -> BTreeMap<String, BTreeSet<String>> {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "edge" && name != "openai") {
                    read(&path, text);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                text.push_str(code.split("#[cfg(test)]").next().unwrap());
            }
        }
    }
    let mut text = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut text);
    let other_ways =
        ["web::resource(", "web::scope(", ".route(\"", "#[get(", "#[post("].map(|way| text.matches(way).count());
    assert_eq!(other_ways, [1, 0, 0, 0, 0], "a route that is not registered by `resource`");
    let calls: Vec<_> = text.split("service(resource(\"").skip(1).collect();
    assert_eq!(calls.len(), text.matches(".service(").count(), "a route whose path is not written out");
    let quoted = |call: &str| {
        let parts: Vec<_> = call.splitn(4, '"').collect();
        (parts[0].to_owned(), parts[2].split(", ").map(str::to_owned).collect())
    };
    calls.into_iter().map(quoted).collect()
}

#[tokio::test]
async fn the_document_has_every_route_and_no_other() {
    let server = server();
    let described = routes(&document(&server).await);
    assert_eq!(described, registered());
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md")).unwrap();
    for (path, methods) in &described {
        for method in methods {
            assert!(page.contains(&format!("`{method} {path}`")), "docs/api.md lacks {method} {path}");
        }
        let url = format!("{}{}", server.url, path.replace("{id}", "unknown"));
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = server.client.request(method.clone(), &url).send().await.unwrap();
            let is_described = methods.contains(method.as_str());
            assert_eq!(answer.status() != 405, is_described, "{method} {path}: {}", answer.status());
            if !is_described {
                let allow = answer.headers()["allow"].to_str().unwrap();
                let allowed: BTreeSet<_> = allow.split(", ").map(str::to_owned).collect();
                assert_eq!(&allowed, methods, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_document_says_changes_in_sight_only() {
    let mut document = document(&server()).await;
    document["info"]["version"] = json!("[version]");
    insta::assert_snapshot!("openapi", serde_json::to_string_pretty(&document).unwrap());
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = server();
    let document = document(&server).await;
    let body = json!({"task_id": "t-1", "objective": "why?", "context": {"a": 1}, "options": {"priority": "high",
        "budget": {"scopes": ["team"], "max_tokens": 1000}}});
    for (method, path, of, body, status) in [
        ("post", "/task?wait=60", "/task", Some(&body), 200),
        ("post", "/task", "/task", Some(&body), 202),
        ("post", "/task", "/task", Some(&json!({"task_id": "t-1", "objective": "other"})), 409),
        ("post", "/task", "/task", Some(&json!({})), 422),
        ("get", "/task/t-1", "/task/{id}", None, 200),
        ("get", "/task/unknown", "/task/{id}", None, 404),
        ("delete", "/task/t-1", "/task/{id}", None, 409),
        ("get", "/task/t-1/result", "/task/{id}/result", None, 200),
        ("get", "/task/t-1/result?wait=x", "/task/{id}/result", None, 422),
        ("get", "/tasks?limit=1", "/tasks", None, 200),
        ("get", "/tasks?limit=0", "/tasks", None, 422),
        ("get", "/agents", "/agents", None, 200),
        ("get", "/team", "/team", None, 200),
        ("get", "/supervision", "/supervision", None, 200),
        ("get", "/health", "/health", None, 200),
        ("get", "/ready", "/ready", None, 200),
    ] {
        let method_name = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
        let mut request = server.client.request(method_name, format!("{}{path}", server.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        let described = &document["paths"][of][method]["responses"][status.to_string()];
        for (name, _) in described["headers"].as_object().into_iter().flatten() {
            assert!(answer.headers().contains_key(name), "{method} {path} has no {name}");
        }
        let schema = &described["content"]["application/json"]["schema"];
        check(&document, schema, &answer.json().await.unwrap());
    }
}

#[tokio::test]
async fn tasks_and_events_are_as_described_however_they_end() {
    for (script, outcome) in [
        ("", "succeeded"),
        ("analyze:error@2", "succeeded"),
        ("retrieve:fatal", "failed"),
        ("evaluate:panic", "failed"),
        ("finalize:fatal", "succeeded"),
    ] {
        let (server, _folder) = with_settings(&format!("mock_script = \"{script}\"\nretry_pause = \"1ms\""));
        let document = document(&server).await;
        for id in ["t-1", "t-2"] {
            let (status, answer) = server.post("/task?wait=60", &json!({"task_id": id, "objective": "why?"})).await;
            assert_eq!((status, &answer["status"]), (200, &json!(outcome)), "{script}: {answer:#}");
            check(&document, &json!({"$ref": "#/components/schemas/PipelineResponse"}), &answer);
            let (_, whole) = server.get(&format!("/task/{id}")).await;
            check(&document, &json!({"$ref": "#/components/schemas/Task"}), &whole);
            let events = server.events(id).await;
            assert!(events.len() >= 4, "{events:?}");
            for (number, name, event) in events {
                assert_eq!((&event["seq"], &event["kind"]), (&json!(number), &json!(name)));
                check(&document, &json!({"$ref": "#/components/schemas/TaskEvent"}), &event);
            }
        }
    }
}

/// What is just within a numeric bound, and just past it.
fn around(field: &Value) -> Vec<(Value, bool)> {
    let mut tried = Vec::new();
    if let Some(least) = field["minimum"].as_u64() {
        tried.extend([(json!(least), true), (json!(least as i128 - 1), false)]);
    }
    if let Some(most) = field["maximum"].as_u64() {
        tried.extend([(json!(most), true), (json!(most + 1), false)]);
    }
    if let Some(least) = field["minLength"].as_u64() {
        tried.extend([(json!("x".repeat(least as usize)), true), (json!("x".repeat(least as usize - 1)), false)]);
    }
    if let Some(most) = field["maxLength"].as_u64() {
        tried.extend([(json!("任".repeat(most as usize)), true), (json!("任".repeat(most as usize + 1)), false)]);
    }
    if let Some(most) = field["maxItems"].as_u64() {
        let items = |count: u64| json!((0..count).map(|n| format!("s{n}")).collect::<Vec<_>>());
        tried.extend([(items(most), true), (items(most + 1), false)]);
    }
    for value in field["enum"].as_array().into_iter().flatten() {
        tried.extend([(value.clone(), true), (json!(format!("{}x", value.as_str().unwrap())), false)]);
    }
    tried
}

#[tokio::test]
async fn bounds_are_as_described() {
    let server = server();
    let document = document(&server).await;
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let mut tried = 0;
    for (of, place) in [("TaskObjective", ""), ("TaskOptions", "/options"), ("TaskBudget", "/options/budget")] {
        for (name, field) in schema(of)["properties"].as_object().unwrap() {
            let named = field["oneOf"][1]["$ref"].as_str().and_then(|path| path.rsplit('/').next());
            for (value, is_fine) in around(&named.map_or_else(|| field.clone(), schema)) {
                let mut body = json!({"objective": "why?", "options": {"budget": {}}});
                body.pointer_mut(place).unwrap()[name] = value;
                let (status, answer) = server.post("/task", &body).await;
                assert_eq!(status == 202, is_fine, "{body}: {status} {answer}");
                tried += 1;
            }
            if of != "TaskObjective" {
                continue;
            }
            let mut body = json!({"objective": "why?"});
            body[name] = Value::Null;
            let allows_null = field["oneOf"][0]["type"] == "null";
            assert_eq!(server.post("/task", &body).await.0 == 202, allows_null, "{body}");
        }
    }
    for parameter in document["paths"]["/tasks"]["get"]["parameters"].as_array().unwrap() {
        let name = parameter["name"].as_str().unwrap();
        for (value, is_fine) in around(&parameter["schema"]) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let url = reqwest::Url::parse_with_params(&format!("{}/tasks", server.url), [(name, &text)]).unwrap();
            let request = server.client.get(url);
            let status = request.send().await.unwrap().status();
            assert_eq!(status == 200, is_fine, "{name}={text}: {status}");
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[tokio::test]
async fn whether_keys_are_asked_for_is_said() {
    let open = document(&server()).await;
    assert_eq!(open["security"], json!([{}, {"bearer": []}, {"basic": []}]));
    let (server, _folder) = with_settings("api_keys = \"k1=acme,k2=globex\"");
    let guarded = document(&server).await;
    assert_eq!(guarded["security"], json!([{"bearer": []}, {"basic": []}]));
    for (path, methods) in routes(&guarded) {
        for method in methods {
            let operation = &guarded["paths"][&path][method.to_lowercase()];
            let request = server.client.request(method.parse().unwrap(), format!("{}{path}", server.url));
            let is_refused = request.send().await.unwrap().status() == 401;
            assert_eq!(operation["security"] != json!([{}]), is_refused, "{method} {path}");
            assert_eq!(operation["responses"].get("401").is_some(), is_refused, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn who_has_it_already_is_told_so() {
    let server = server();
    for path in ["/openapi.json", "/docs"] {
        let url = format!("{}{path}", server.url);
        let first = server.client.get(&url).send().await.unwrap();
        let etag = first.headers()["etag"].clone();
        let again = server.client.get(&url).header("if-none-match", &etag).send().await.unwrap();
        assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &etag));
        assert_eq!(again.text().await.unwrap(), "");
        let other = server.client.get(&url).header("if-none-match", "\"other\"").send().await.unwrap();
        assert_eq!(other.status(), 200);
    }
}

#[tokio::test]
async fn the_page_shows_every_route_and_calls_nobody() {
    let server = server();
    let answer = server.client.get(format!("{}/docs", server.url)).send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
    let page = answer.text().await.unwrap().replace("&#x2f;", "/");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let allowed = ["default-src", "style-src", "base-uri", "form-action", "frame-ancestors"];
    for directive in policy.split("; ") {
        let (name, value) = directive.split_once(' ').unwrap();
        assert!(allowed.contains(&name) && (value == "'none'" || value.starts_with("'sha256-")), "{directive}");
    }
    // The style is the one that the policy lets pass, and there is no other and no script.
    let style = page.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let digest = {
        use sha2::Digest as _;
        sha2::Sha256::digest(style)
    };
    use base64::Engine as _;
    assert!(policy.contains(&base64::engine::general_purpose::STANDARD.encode(digest)), "{policy}");
    for never in ["://", "<script", " style=", "@import", "url(", "<img", "<link", "<iframe", " src=", "onload="] {
        assert!(!page.contains(never), "the page has {never}");
    }
    let document = document(&server).await;
    for (path, methods) in routes(&document) {
        for method in methods {
            let heading = format!(">{method}</span> {path}</h3>");
            assert!(page.contains(&heading), "the page lacks {method} {path}");
        }
    }
    let anchors: BTreeSet<_> = page.split("id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for link in page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let is_there = link.strip_prefix('#').map_or(link == "/openapi.json", |anchor| anchors.contains(anchor));
        assert!(is_there, "{link} leads nowhere");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(anchors.contains(name.as_str()), "{name}");
    }
}
