//! Clients that keep a number of tasks in flight, as patient users would: each hands its task in until it is accepted,
//! asks for the answer until there is one, and goes to another master when one does not answer.

use crate::backstage::backstage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;

/// How long a client waits for one answer before it asks another master.
const ANSWER: Duration = Duration::from_secs(4);
/// What it pauses before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than any task takes on the slowest machine: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// Now, in milliseconds since 1970.
pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// What became of one task, as its client saw it.
#[derive(Debug, Clone)]
pub struct Told {
    pub id: String,
    /// In milliseconds since 1970.
    pub submitted_ms: u64,
    /// When it was answered for.
    pub ended_ms: u64,
    pub fate: Fate,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    Succeeded,
    /// It ended otherwise.
    Ended(Value),
    /// It was accepted, and then there was no such task.
    Lost,
    /// It did not end.
    Open(String),
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Told>>>,
}

struct Shared {
    masters: Vec<String>,
    http: reqwest::Client,
    is_over: AtomicBool,
    ended: AtomicUsize,
}

impl Load {
    /// So many clients, each with one task at a time.
    pub fn begin(masters: Vec<String>, clients: usize) -> Self {
        let http = reqwest::Client::builder().timeout(ANSWER).connect_timeout(ANSWER).build().unwrap();
        let shared = Shared { masters, http, is_over: AtomicBool::new(false), ended: AtomicUsize::new(0) };
        let shared = Arc::new(shared);
        let clients = (0..clients).map(|number| backstage().spawn(client(shared.clone(), number))).collect();
        Self { shared, clients }
    }

    /// Waits until so many more tasks have ended: things go on.
    pub async fn more(&self, tasks: usize) {
        let wanted = self.shared.ended.load(Ordering::Relaxed) + tasks;
        let until = Instant::now() + PATIENCE;
        while self.shared.ended.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < until, "no task ends any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Hands in no more, and waits until what was handed in has ended.
    pub async fn end(self) -> Vec<Told> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let mut told = Vec::new();
        for client in self.clients {
            told.extend(client.await.unwrap());
        }
        told
    }
}

async fn client(shared: Arc<Shared>, number: usize) -> Vec<Told> {
    let mut told = Vec::new();
    while !shared.is_over.load(Ordering::Relaxed) {
        let id = format!("task-{number}-{}", told.len());
        let submitted_ms = now_ms();
        let fate = see_through(&shared, &id).await;
        told.push(Told { id, submitted_ms, ended_ms: now_ms(), fate });
        shared.ended.fetch_add(1, Ordering::Relaxed);
    }
    told
}

/// Hands one task in and waits for its end.
async fn see_through(shared: &Shared, id: &str) -> Fate {
    let until = Instant::now() + PATIENCE;
    let mut master = fastrand::usize(..);
    let mut last = String::new();
    let mut accepted = false;
    while Instant::now() < until {
        let base = &shared.masters[master % shared.masters.len()];
        let request = if accepted {
            shared.http.get(format!("{base}/task/{id}/result?wait=2"))
        } else {
            shared.http.post(format!("{base}/task")).json(&json!({"task_id": id, "objective": "why?"}))
        };
        match answer(request).await {
            Ok((200 | 202, _)) if !accepted => accepted = true,
            Ok((200, result)) if result["status"] == "succeeded" => return Fate::Succeeded,
            Ok((200, result)) => return Fate::Ended(result),
            Ok((202, _)) => {}
            Ok((404, _)) if accepted => return Fate::Lost,
            other => {
                last = format!("{base}: {other:?}");
                master = master.wrapping_add(1);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Fate::Open(last)
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, Value), String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status().as_u16();
    Ok((status, response.json().await.map_err(|error| format!("{status} {error:?}"))?))
}
