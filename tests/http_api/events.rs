//! The event stream: whole, resumed at any point, followed live, and told when the log got shorter.

use crate::fixture::{Setup, World, failure, with_world};
use callboard::http::ApiOptions;
use callboard::messages::StepOutcome;
use serde_json::{Value, json};
use std::time::Duration;

/// One event as a client sees it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    id: u64,
    event: String,
    data: Value,
}

/// A client of the stream, which can be dropped anywhere.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(world: &World, id: &str, last: Option<u64>) -> Self {
        let mut request = world.client.get(format!("{}/task/{id}/events", world.base));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next block, comments and all; none at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn next(&mut self) -> Option<Seen> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                lines.collect::<Vec<_>>().join("\n")
            };
            if let Ok(id) = field("id").split('-').next().unwrap_or_default().parse() {
                let data = serde_json::from_str(&field("data")).unwrap();
                return Some(Seen { id, event: field("event"), data });
            }
        }
    }

    async fn rest(mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
        }
        seen
    }
}

#[test]
fn an_ended_tasks_log_comes_whole_and_then_ends() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.report("t-1", StepOutcome::FatalFailure(failure())).await;
        let seen = Stream::open(world, "t-1", None).await.rest().await;
        let shown: Vec<_> =
            seen.iter().map(|seen| json!({"id": seen.id, "event": seen.event, "data": seen.data})).collect();
        insta::assert_snapshot!("events_failed", crate::fixture::pretty(&json!(shown)));
    });
}

#[test]
fn a_resumed_stream_has_no_gap_and_no_repeat() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        world.finish("t-1").await;
        let whole = Stream::open(world, "t-1", None).await.rest().await;
        let kinds: Vec<_> = whole.iter().map(|seen| seen.event.as_str()).collect();
        assert_eq!(kinds.last(), Some(&"task_succeeded"));
        assert!(whole.iter().enumerate().all(|(at, seen)| seen.id == at as u64 + 1), "{kinds:?}");
        // Every point once, then random ones several times over.
        let mut random = fastrand::Rng::with_seed(7);
        for first in 0..=whole.len() {
            let (mut seen, mut stop) = (Vec::new(), first);
            while seen.len() < whole.len() {
                let mut stream = Stream::open(world, "t-1", seen.last().map(|seen: &Seen| seen.id)).await;
                while seen.len() < stop {
                    seen.push(stream.next().await.unwrap());
                }
                stop = (seen.len() + random.usize(0..4)).min(whole.len());
            }
            assert_eq!(seen, whole);
        }
        let after = format!("/task/t-1/events?after={}", whole.len() - 1);
        assert_eq!(world.get(&after).await.text.matches("id: ").count(), 1);
        let after = format!("/task/t-1/events?after={}", whole.len());
        assert_eq!(world.get(&after).await.text.matches("id: ").count(), 0);
    });
}

#[test]
fn a_reader_that_keeps_coming_back_misses_nothing_of_a_running_task() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let reading = async {
            let mut random = fastrand::Rng::with_seed(11);
            let mut seen: Vec<Seen> = Vec::new();
            while seen.last().is_none_or(|seen| seen.event != "task_succeeded") {
                let mut stream = Stream::open(world, "t-1", seen.last().map(|seen| seen.id)).await;
                for _ in 0..random.usize(0..5) {
                    // None after the last event.
                    let Some(event) = stream.next().await else { break };
                    seen.push(event);
                }
            }
            seen
        };
        let working = async {
            for _ in 0..20 {
                world.report("t-1", StepOutcome::Lost(callboard::task::Loss::AgentRestarted)).await;
                world.get("/health").await;
            }
            world.finish("t-1").await;
        };
        let (seen, ()) = futures_util::join!(reading, working);
        assert!(seen.len() > 40 && seen.iter().enumerate().all(|(at, seen)| seen.id == at as u64 + 1));
    });
}

#[test]
fn a_stream_follows_a_task_as_it_goes() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let following = Stream::open(world, "t-1", None).await.rest();
        let working = async {
            world.until_watchers_are(1.0).await;
            world.finish("t-1").await;
        };
        let (seen, ()) = futures_util::join!(following, working);
        assert!(seen.iter().enumerate().all(|(at, seen)| seen.id == at as u64 + 1));
        let outputs: Vec<_> = seen.iter().filter(|seen| seen.event == "step_succeeded").collect();
        assert_eq!(outputs.len(), 3);
        assert_eq!(outputs[2].data["output"]["text"], "evaluated");
        assert_eq!(outputs[2].data["sub_id"], "t-1-P3");
        world.until_watchers_are(0.0).await;
    });
}

#[test]
fn a_large_output_with_line_ends_comes_whole() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let text = "o".repeat(10_000);
        let output = format!("{{\n\"text\":\r\n\"{text}\"}}");
        let output = callboard::task::Json::from_text(output).unwrap();
        world.report("t-1", StepOutcome::Succeeded(output)).await;
        let seen = Stream::open(world, "t-1", Some(3)).await.next().await.unwrap();
        assert_eq!((seen.event.as_str(), &seen.data["output"]["text"]), ("step_succeeded", &json!(text)));
    });
}

#[test]
fn a_long_log_comes_in_pages() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        for _ in 0..45 {
            world.report("t-1", StepOutcome::Lost(callboard::task::Loss::AgentRestarted)).await;
        }
        world.finish("t-1").await;
        let seen = Stream::open(world, "t-1", None).await.rest().await;
        assert!(seen.len() > 64 && seen.iter().enumerate().all(|(at, seen)| seen.id == at as u64 + 1));
    });
}

#[test]
fn a_reader_beyond_the_log_is_told_so_and_reads_on() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let mut stream = Stream::open(world, "t-1", Some(99)).await;
        let told = stream.next().await.unwrap();
        assert_eq!((told.event.as_str(), told.id), ("log_truncated", 0));
        assert_eq!(told.data, json!({"after": 99, "last": 3}));
        for number in 1..=3 {
            assert_eq!(stream.next().await.unwrap().id, number, "it begins again");
        }
        world.succeed("t-1", "analyzed").await;
        assert_eq!(stream.next().await.unwrap().id, 4);
    });
}

#[test]
fn a_reader_of_another_history_is_told_so_though_its_number_is_there() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let mut first = Stream::open(world, "t-1", Some(2)).await;
        assert_eq!(first.block().await.unwrap(), "retry: 2000");
        let block = first.block().await.unwrap();
        let id = block.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
        let seen = async |id: &str| {
            let request = world.client.get(format!("{}/task/t-1/events", world.base)).header("last-event-id", id);
            let mut stream = Stream { response: request.send().await.unwrap(), text: String::new() };
            stream.next().await.unwrap()
        };
        world.succeed("t-1", "analyzed").await;
        assert_eq!(seen(id).await.id, 4, "of this history: it goes on");
        let told = seen("3-17").await;
        assert_eq!((told.event.as_str(), &told.data["after"]), ("log_truncated", &json!(3)));
    });
}

#[test]
fn a_silent_stream_gives_signs_of_life() {
    let options = ApiOptions { heartbeat: Duration::from_millis(1), ..ApiOptions::default() };
    with_world(Setup { options, ..Setup::default() }, async |world: &World| {
        world.submit("t-1").await;
        let mut stream = Stream::open(world, "t-1", Some(3)).await;
        assert_eq!(stream.block().await.unwrap(), "retry: 2000");
        assert_eq!(stream.block().await.unwrap(), ": alive");
        assert_eq!(stream.block().await.unwrap(), ": alive");
    });
}

#[test]
fn a_client_that_leaves_ends_its_stream() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let stream = Stream::open(world, "t-1", None).await;
        world.until_watchers_are(1.0).await;
        drop(stream);
        world.until_watchers_are(0.0).await;
    });
}

#[test]
fn a_drain_ends_streams_so_that_clients_go_elsewhere() {
    with_world(Setup::default(), async |world: &World| {
        world.submit("t-1").await;
        let stream = Stream::open(world, "t-1", None).await;
        world.stop.stop(Duration::from_secs(600));
        assert_eq!(stream.rest().await.len(), 3);
    });
}
