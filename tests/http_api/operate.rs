//! What operators and their tools ask for, load, and stopping.

use crate::fixture::{NOW, Setup, World, pretty, with_world};
use callboard::http::{Server, ServerOptions, TeamStage, TeamView};
use callboard::messages::{AgentRecord, Declaration};
use callboard::store::Store;
use callboard::task::{AgentId, Capability, Incarnation, Limits};
use serde_json::{Value, json};
use std::time::Duration;

fn record(name: &'static str, capability: &'static str) -> AgentRecord {
    let declaration = Declaration {
        agent: AgentId::trusted(name),
        incarnation: Incarnation::trusted("i1"),
        capabilities: vec![Capability::trusted(capability)],
        slots: 4,
        profile: "prompt".into(),
        description: Some("reads closely".into()),
        url: Some("http://agent:secret@10.0.0.7:5000/".into()),
        foreign: false,
        reads_stages: false,
    };
    AgentRecord { declaration, last_heartbeat: NOW, load: 0.25, active: 1, replaced: Vec::new() }
}

#[test]
fn live_agents_are_listed_without_their_secrets() {
    with_world(Setup::default(), async |world: &World| {
        world.store.put_agent(record("analyst", "analyze"), 30_000).await.unwrap();
        insta::assert_snapshot!("agents", pretty(&world.get("/agents").await.json()));
    });
}

#[test]
fn missing_agents_degrade_readiness_and_do_not_end_it() {
    let stage = |capability, optional| {
        let limits = Limits::default();
        TeamStage { capability: Capability::trusted(capability), optional, limits }
    };
    let stages = vec![stage("analyze", false), stage("retrieve", false), stage("finalize", true)];
    let team = TeamView { stages, ..TeamView::default() };
    with_world(Setup { team, ..Setup::default() }, async |world: &World| {
        world.store.put_agent(record("analyst", "analyze"), 30_000).await.unwrap();
        let ready = world.get("/ready").await;
        assert_eq!(ready.status, 200);
        let degraded = json!({"status": "degraded", "missing_capabilities": ["retrieve"]});
        assert_eq!(ready.json(), degraded);
        world.store.put_agent(record("librarian", "retrieve"), 30_000).await.unwrap();
        assert_eq!(world.get("/ready").await.json()["status"], "ready");
    });
}

#[test]
fn the_tree_is_shown() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let mut tree = world.get("/supervision").await.json();
        settle(&mut tree);
        insta::assert_snapshot!("supervision", pretty(&tree));
    });
}

/// Takes out what differs between runs.
fn settle(view: &mut Value) {
    view["started_at_ms"] = json!("[moment]");
    if let Some(children) = view.get_mut("children").and_then(Value::as_array_mut) {
        children.iter_mut().for_each(settle);
    }
}

#[test]
fn the_metrics_are_prometheus_text() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.submit("t-1").await;
        world.get("/task/unknown").await;
        world.get("/task/other").await;
        let answer = world.get("/metrics").await;
        assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
        let lines: Vec<_> = answer.text.lines().collect();
        for line in [
            r#"callboard_http_requests_total{method="GET",route="/task/{id}",status="404"} 2"#,
            r#"callboard_http_requests_total{method="POST",route="/task",status="202"} 2"#,
            "callboard_open_tasks 1",
            "callboard_watchers 0",
            "callboard_store_commits_total 1",
            r#"callboard_actor_restarts_total{kind="master"} 0"#,
            r#"callboard_actors{kind="master",state="running"} 1"#,
        ] {
            assert!(lines.contains(&line), "no {line} in {}", answer.text);
        }
        assert_eq!(lines.iter().filter(|line| **line == "# EOF").count(), 1);
        assert_eq!(lines.last(), Some(&"# EOF"));
    });
}

#[test]
fn a_drain_refuses_new_tasks_and_still_answers() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.readiness.drain();
        world.submit("t-2").await.assert_error(503, "overloaded");
        world.get("/ready").await.assert_error(503, "overloaded");
        let answer = world.get("/task/t-1").await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(world.get("/health").await.status, 200);
    });
}

#[test]
fn a_stop_does_not_wait_for_a_client_beyond_its_grace() {
    with_world(Setup::default(), async |world: &World| {
        use tokio::io::AsyncWriteExt;
        let addr = world.base.strip_prefix("http://").unwrap();
        let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
        socket.write_all(b"POST /task HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
        world.submit("t-1").await;
        // The fixture stops the server without grace, and waits until it has ended.
        std::mem::forget(socket);
    });
}

#[test]
fn a_drain_answers_who_waits() {
    with_world(Setup::default(), async |world: &World| {
        let waiting = world.post("/task?wait=300", r#"{"task_id":"t-1","objective":"why?"}"#);
        let draining = async {
            world.until_watchers_are(1.0).await;
            world.stop.stop(Duration::from_secs(600));
        };
        let (answer, ()) = futures_util::join!(waiting, draining);
        assert_eq!((answer.status, &answer.json()["status"]), (202, &json!("running")));
        assert_eq!(answer.header("connection"), Some("close"));
    });
}

#[test]
fn a_taken_address_is_refused() {
    with_world(Setup::default(), async |world: &World| {
        let addr = world.base.strip_prefix("http://").unwrap().parse().unwrap();
        let options = ServerOptions { addr, ..ServerOptions::default() };
        let error = Server::bind(world.services.clone(), &options).err().expect("the address is taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    });
}

#[test]
fn a_thousand_callers_at_once_are_all_answered() {
    with_world(Setup { max_open: 10_000, master_bound: 10_000, ..Setup::default() }, async |world: &World| {
        let calls = (0..1000).map(|n| async move { world.submit(&format!("t-{n}")).await.status });
        let statuses = futures_util::future::join_all(calls).await;
        assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 1000);
    });
}
