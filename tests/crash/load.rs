//! Clients that keep a number of tasks in flight, as patient users would: each hands its task in until it is accepted,
//! asks for the answer until there is one, and goes to another master when one does not answer.

use crate::backstage::backstage;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::{JoinHandle, JoinSet};

/// How long a client waits for one answer before it asks another master.
const ANSWER: Duration = Duration::from_secs(4);
/// What it pauses before it asks again.
const PAUSE: Duration = Duration::from_millis(50);
/// Longer than any task takes on the slowest machine, also where Redis stands still for most of the time: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(600);

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
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    masters: Vec<String>,
    http: reqwest::Client,
    is_over: AtomicBool,
    told: Mutex<Vec<Told>>,
}

impl Load {
    /// So many clients, each with one task at a time.
    pub fn begin(masters: Vec<String>, clients: usize) -> Self {
        let shared = Shared::to(masters);
        let clients = (0..clients).map(|number| backstage().spawn(client(shared.clone(), number))).collect();
        Self { shared, clients }
    }

    /// So many tasks a second, whether those before have ended or not.
    pub fn at_rate(masters: Vec<String>, per_second: f64) -> Self {
        let shared = Shared::to(masters);
        let clients = vec![backstage().spawn(at_rate(shared.clone(), Duration::from_secs_f64(1.0 / per_second)))];
        Self { shared, clients }
    }

    /// How many tasks have ended.
    pub fn ended(&self) -> usize {
        self.shared.told.lock().len()
    }

    /// The tasks that ended after so many others.
    pub fn told_since(&self, before: usize) -> Vec<Told> {
        self.shared.told.lock()[before..].to_vec()
    }

    /// Waits until so many more tasks have ended: things go on.
    pub async fn more(&self, tasks: usize) {
        let wanted = self.ended() + tasks;
        let until = Instant::now() + PATIENCE;
        while self.ended() < wanted {
            assert!(Instant::now() < until, "no task ends any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Hands in no more, and waits until what was handed in has ended.
    pub async fn end(self) -> Vec<Told> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        std::mem::take(&mut *self.shared.told.lock())
    }
}

impl Shared {
    fn to(masters: Vec<String>) -> Arc<Self> {
        let http = reqwest::Client::builder().timeout(ANSWER).connect_timeout(ANSWER).build().unwrap();
        Arc::new(Self { masters, http, is_over: AtomicBool::new(false), told: Mutex::new(Vec::new()) })
    }

    async fn one(&self, id: String) {
        let submitted_ms = now_ms();
        let fate = see_through(self, &id).await;
        self.told.lock().push(Told { id, submitted_ms, ended_ms: now_ms(), fate });
    }
}

async fn client(shared: Arc<Shared>, number: usize) {
    for task in 0.. {
        if shared.is_over.load(Ordering::Relaxed) {
            return;
        }
        shared.one(format!("task-{number}-{task}")).await;
    }
}

async fn at_rate(shared: Arc<Shared>, pause: Duration) {
    let mut ticks = tokio::time::interval(pause);
    let mut clients = JoinSet::new();
    for task in 0.. {
        ticks.tick().await;
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        let shared = shared.clone();
        clients.spawn(async move { shared.one(format!("paced-{task}")).await });
        while let Some(ended) = clients.try_join_next() {
            ended.unwrap();
        }
    }
    clients.join_all().await;
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
