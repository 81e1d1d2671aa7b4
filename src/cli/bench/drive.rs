//! The load: a fixed number of tasks in flight, each followed by the next when its answer has been read back by its id. A
//! task counts only when that answer is there.

use super::super::client::Client;
use callboard::actors::ActorRef;
use callboard::messages::{CallContext, Submit};
use callboard::store::Store;
use callboard::task::{
    Json, Options, Payload, Request, StepState, Submission, Task, TaskId, TaskKey, TaskOutcome, Tenant,
};
use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What every task asks: 200 bytes, as long as questions usually are.
pub const OBJECTIVE: &str = "Say in two sentences what happens to the tasks that were accepted before the power went out, \
    which of their steps run again when the machine is back, and how the one who asked can tell that these did.";

/// How long one task may take.
const TASK_TIMEOUT: Duration = Duration::from_secs(600);
/// How long one message to the master may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the server is asked to wait for a task: less than the client bears silence.
const WAIT: Duration = Duration::from_secs(30);
/// The pause before a task that has not ended after that is looked at again.
const PAUSE: Duration = Duration::from_millis(50);
/// Clients at most, each with a connection; more tasks in flight are shared out among them.
const CLIENTS: u32 = 512;

/// How tasks are handed in and read back.
#[derive(Clone)]
pub enum Way {
    /// By messages, and from the store.
    Process {
        /// To the master.
        submit: ActorRef<Submit>,
        /// To read from.
        store: Arc<dyn Store>,
    },
    /// Over HTTP.
    Http(Client),
}

/// What came out.
#[derive(Debug, Default)]
pub struct Driven {
    /// Of the tasks that succeeded.
    pub latencies: Vec<Duration>,
    /// How many did not.
    pub errors: usize,
    /// Why the first of them did not.
    pub first_error: Option<String>,
    /// From the first submission to the last answer.
    pub elapsed: Duration,
}

impl Driven {
    /// All of them.
    pub fn tasks(&self) -> usize {
        self.latencies.len() + self.errors
    }
}

/// Runs so many tasks, of which so many are in flight at once.
pub async fn drive(way: Way, tasks: usize, in_flight: u32) -> Driven {
    let began = Instant::now();
    let (left, driven) = (Cell::new(tasks), RefCell::new(Driven::default()));
    let load = Load { way, left, driven };
    match &load.way {
        Way::Http(client) if in_flight > CLIENTS => {
            let share = |number| in_flight / CLIENTS + u32::from(number < in_flight % CLIENTS);
            join_all((0..CLIENTS).map(|number| load.several(client, share(number) as usize))).await;
        }
        _ => drop(join_all((0..in_flight).map(|_| load.one_by_one())).await),
    }
    Driven { elapsed: began.elapsed(), ..load.driven.into_inner() }
}

/// What all clients share.
struct Load {
    way: Way,
    /// How many tasks are still to be handed in.
    left: Cell<usize>,
    driven: RefCell<Driven>,
}

impl Load {
    /// Whether there is one more to hand in.
    fn takes_one(&self) -> bool {
        let rest = self.left.get().checked_sub(1);
        rest.inspect(|rest| self.left.set(*rest)).is_some()
    }

    fn done(&self, began: Instant, done: Result<(), String>) {
        let mut driven = self.driven.borrow_mut();
        match done {
            Ok(()) => driven.latencies.push(began.elapsed()),
            Err(why) => {
                driven.errors += 1;
                driven.first_error.get_or_insert(why);
            }
        }
    }

    /// A client with one task at a time.
    async fn one_by_one(&self) {
        while self.takes_one() {
            let began = Instant::now();
            self.done(began, in_time(self.way.task()).await);
        }
    }

    /// A client with several tasks in flight, and one connection: it waits for the oldest. When the answer of another comes
    /// meanwhile it is noticed late, so that they took at most what is reported.
    async fn several(&self, client: &Client, in_flight: usize) {
        let mut handed_in = VecDeque::new();
        loop {
            while handed_in.len() < in_flight && self.takes_one() {
                let began = Instant::now();
                match client.submit(&json!({"objective": OBJECTIVE}), Duration::ZERO).await {
                    Ok(answer) => handed_in.push_back((began, answer.read.task_id)),
                    Err(error) => self.done(began, Err(error.to_string())),
                }
            }
            let Some((began, id)) = handed_in.pop_front() else { return };
            self.done(began, in_time(read_over_http(client, &id)).await);
        }
    }
}

async fn in_time(task: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let done = tokio::time::timeout(TASK_TIMEOUT, task).await;
    done.unwrap_or_else(|_| Err(format!("it did not end in {} s", TASK_TIMEOUT.as_secs())))
}

impl Way {
    /// One task, from its submission until its answer has been read back.
    async fn task(&self) -> Result<(), String> {
        match self {
            Self::Process { submit, store } => by_message(submit, &**store).await,
            Self::Http(client) => over_http(client).await,
        }
    }
}

/// What is looked at in an answer.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Hands one task in; gives its key once it is accepted.
pub async fn submit_one(submit: &ActorRef<Submit>) -> Result<TaskKey, String> {
    let submission = submission()?;
    let key = submission.key.clone();
    let context = CallContext { task: Some(key.clone()), ..CallContext::default() };
    let submitted = submit.ask(Submit(submission), context, ANSWER_TIMEOUT).await;
    submitted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(key)
}

async fn by_message(submit: &ActorRef<Submit>, store: &dyn Store) -> Result<(), String> {
    let key = submit_one(submit).await?;
    let mut wake = store.wake(&key);
    let task = loop {
        // Before the load, so that a change after it wakes.
        wake.borrow_and_update();
        match store.load(&key).await.map_err(|error| error.to_string())? {
            Some(task) if task.end.is_some() => break task,
            Some(_) => wake.changed().await.map_err(|_| "the store was closed".to_owned())?,
            None => return Err("the store does not know it".to_owned()),
        }
    };
    read_back(store, &task).await
}

fn submission() -> Result<Submission, String> {
    let id = TaskId::parse(&uuid::Uuid::now_v7().to_string()).map_err(|error| error.to_string())?;
    let context = Json::from_text("{}".to_owned()).map_err(|error| error.to_string())?;
    Ok(Submission {
        key: TaskKey { tenant: Tenant::default(), id },
        id_given: false,
        idempotency_key: None,
        request: Request { objective: OBJECTIVE.into(), context },
        options: Options::default(),
    })
}

/// The answer itself, wherever the store keeps it.
pub async fn read_back(store: &dyn Store, task: &Task) -> Result<(), String> {
    let outcome = task.end.as_ref().map(|end| &end.outcome);
    let Some(TaskOutcome::Succeeded(Some(last))) = outcome else { return Err(format!("it ended as {outcome:?}")) };
    let StepState::Succeeded { output, .. } = &task.step(*last).1.state else {
        return Err("its last step has no output".to_owned());
    };
    let output = match output {
        Payload::Inline(json) => Some(json.clone()),
        Payload::Stored { name, .. } => store.payload(&task.key, name).await.map_err(|error| error.to_string())?,
    };
    let text = output.as_ref().and_then(|json| serde_json::from_str::<Answer>(json.text()).ok());
    if text.is_some_and(|answer| !answer.text.is_empty()) { Ok(()) } else { Err("its answer is missing".to_owned()) }
}

async fn over_http(client: &Client) -> Result<(), String> {
    let body = json!({"objective": OBJECTIVE});
    let id = client.submit(&body, WAIT).await.map_err(|error| error.to_string())?.read.task_id;
    read_over_http(client, &id).await
}

async fn read_over_http(client: &Client, id: &str) -> Result<(), String> {
    loop {
        let answer = client.result_within(id, WAIT).await.map_err(|error| error.to_string())?.read;
        match (answer.status.as_str(), answer.final_output) {
            ("succeeded", Some(output)) if !output.text.is_empty() => return Ok(()),
            (status, _) if matches!(status, "succeeded" | "failed" | "cancelled") => {
                let why = answer.error.map_or_else(|| "its answer is missing".to_owned(), |error| error.message);
                return Err(format!("it ended as {status}: {why}"));
            }
            // More clients than the server lets wait, or a very slow task.
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objective_has_the_promised_size() {
        assert_eq!(OBJECTIVE.len(), 200);
    }
}
