//! How it goes with very many tasks: so many queued while no agent goes on, or so many finished. What a user meets then
//! (list, read, submit) is timed over HTTP, one call at a time, beside the few and beside the many.

use super::super::args::BenchArgs;
use super::super::client::{Client, ClientError};
use super::super::environment::{Environment, Talk};
use super::super::exit::{Code, Exit, Outcome};
use super::super::host::{Host, hosted_with, settings};
use super::super::output::{note, print};
use super::drive::{OBJECTIVE, Way, drive, read_back, submit_one};
use super::measure::{quantile_ms, rounded, rss_mb};
use super::{Choices, WARM_UP, apart, choices};
use callboard::agents::{Agent, AgentError, Think};
use callboard::messages::Work;
use callboard::store::Store;
use callboard::task::{Json, TaskKey};
use callboard::team::TeamMember;
use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How many finished tasks are the few; half of all, where there are not many.
const FEW: usize = 1_000;
/// How often each call is timed; less often beside fewer tasks.
const CALLS: usize = 300;
/// How many tasks a listed page has.
const PAGE: &str = "50";
/// How often it is looked whether all have ended.
const PAUSE: Duration = Duration::from_millis(10);

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    scenario: &'static str,
    tasks: usize,
    /// Those that did not succeed, or whose answer cannot be read back.
    lost: usize,
    /// Taking them all: until each is accepted (queued), or has ended (finished).
    taken_s: f64,
    taken_per_s: f64,
    /// From the moment when the agents go on until the last one ends; none of `finished`.
    done_s: Option<f64>,
    done_per_s: Option<f64>,
    rss_before_mb: Option<f64>,
    rss_after_mb: Option<f64>,
    kib_per_task: Option<f64>,
    /// Beside the first few; none of `queued`.
    few: Option<Times>,
    many: Times,
    #[serde(flatten)]
    choices: Choices,
}

/// How long a user waits beside so many tasks.
#[derive(Debug, Serialize)]
struct Times {
    beside: usize,
    list_p50_ms: f64,
    list_p99_ms: f64,
    read_p50_ms: f64,
    read_p99_ms: f64,
    submit_p50_ms: f64,
    submit_p99_ms: f64,
}

/// Runs the scenario that was chosen.
pub fn scale(args: &BenchArgs, environment: &Environment) -> Outcome {
    let (scenario, tasks) = match (args.queued, args.finished) {
        (Some(tasks), _) => ("queued", tasks.get()),
        (_, finished) => ("finished", finished.map_or(FEW, usize::from)),
    };
    // A step that is held makes no progress and is nobody's fault.
    let beneath = vec![
        ("provider", "mock".to_owned()),
        ("slots", args.concurrency.to_string()),
        ("stall_timeout", "1h".to_owned()),
        ("step_timeout", "1h".to_owned()),
        ("max_open_tasks", (tasks + CALLS + WARM_UP).to_string()),
        apart(),
    ];
    let settings = settings(&args.team, beneath, environment, Talk::Usual)?;
    let choices = choices(args, &settings);
    let clients = args.concurrency.get();
    let (gate, open) = watch::channel(true);
    let hold = move |team: &mut [TeamMember]| {
        for member in team {
            member.agent = Arc::new(Held { agent: Arc::clone(&member.agent), open: open.clone() });
        }
    };
    let report = hosted_with(settings, hold, move |host, interrupted| {
        let way = Way::Process { submit: host.callboard.submit().clone(), store: Arc::clone(host.callboard.store()) };
        let crowd = Crowd { way, client: host.client.clone(), store: store(host), clients, gate };
        async move {
            let measured = async {
                if scenario == "queued" {
                    crowd.queued(tasks, choices).await
                } else {
                    crowd.finished(tasks, choices).await
                }
            };
            let measured = interrupted.run_until_cancelled(measured).await;
            measured.unwrap_or_else(|| Err(Exit::new(Code::Failure, "interrupted: there is nothing to report")))
        }
    })?;
    print(&serde_json::to_string(&report).map_err(Exit::internal)?)?;
    note(&report.sentence());
    match report.lost {
        0 => Ok(()),
        lost => Err(Exit::new(Code::Failure, format!("{lost} of {tasks} tasks went wrong"))),
    }
}

fn store(host: &Host) -> Arc<dyn Store> {
    Arc::clone(host.callboard.store())
}

impl Report {
    fn sentence(&self) -> String {
        let Times { list_p99_ms, read_p99_ms, submit_p99_ms, .. } = self.many;
        let each = self.kib_per_task.map(|kib| format!(", {kib} KiB of memory each")).unwrap_or_default();
        let done = self.done_s.map(|done| format!(", all done {done} s after the agents went on")).unwrap_or_default();
        format!(
            "{} tasks {}{each}{done}; beside them p99 list {list_p99_ms} ms, read {read_p99_ms} ms, submit \
             {submit_p99_ms} ms; {} lost",
            self.tasks, self.scenario, self.lost
        )
    }
}

/// An agent that goes on only while the gate is open.
struct Held {
    agent: Arc<dyn Agent>,
    open: watch::Receiver<bool>,
}

impl Agent for Held {
    fn perform<'a>(&'a self, work: &'a Work, think: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async move {
            // Without its owner the gate stays as it is, and the process is about to end.
            let _ = self.open.clone().wait_for(|open| *open).await;
            self.agent.perform(work, think).await
        })
    }
}

/// Very many tasks, and those who look at them.
struct Crowd {
    way: Way,
    client: Client,
    store: Arc<dyn Store>,
    clients: u32,
    gate: watch::Sender<bool>,
}

impl Crowd {
    async fn queued(&self, tasks: usize, choices: Choices) -> Result<Report, Exit> {
        drive(self.way.clone(), WARM_UP, self.clients).await;
        self.gate.send_replace(false);
        let rss_before_mb = rss_mb();
        let began = Instant::now();
        let keys = self.submit(tasks).await?;
        let taken = began.elapsed();
        let rss_after_mb = rss_mb();
        let read: Vec<_> = keys.iter().step_by((tasks / CALLS).max(1)).map(|key| key.id.to_string()).collect();
        let many = self.times(tasks, &read).await?;
        let began = Instant::now();
        self.gate.send_replace(true);
        while self.store.stats().open_tasks > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let done = began.elapsed();
        // The calls that were timed handed tasks in as well.
        let ended = (tasks + calls(tasks)) as f64;
        Ok(Report {
            scenario: "queued",
            tasks,
            lost: self.lost(&keys).await,
            taken_s: rounded(taken.as_secs_f64()),
            taken_per_s: rounded(tasks as f64 / taken.as_secs_f64()),
            done_s: Some(rounded(done.as_secs_f64())),
            done_per_s: Some(rounded(ended / done.as_secs_f64())),
            rss_before_mb,
            rss_after_mb,
            kib_per_task: per_task(rss_before_mb, rss_after_mb, tasks),
            few: None,
            many,
            choices,
        })
    }

    async fn finished(&self, tasks: usize, choices: Choices) -> Result<Report, Exit> {
        let few = FEW.min(tasks / 2);
        let rest = tasks - few;
        let began = Instant::now();
        let first = drive(self.way.clone(), few, self.clients).await;
        let mut taken = began.elapsed();
        let oldest = self.page().await?;
        let beside_few = self.times(few, &oldest).await?;
        let rss_before_mb = rss_mb();
        let began = Instant::now();
        let others = drive(self.way.clone(), rest, self.clients).await;
        taken += began.elapsed();
        let rss_after_mb = rss_mb();
        // Half of what is read was touched last when there were few.
        let read = [self.page().await?, oldest].concat();
        let many = self.times(tasks, &read).await?;
        Ok(Report {
            scenario: "finished",
            tasks,
            lost: first.errors + others.errors,
            taken_s: rounded(taken.as_secs_f64()),
            taken_per_s: rounded(tasks as f64 / taken.as_secs_f64()),
            done_s: None,
            done_per_s: None,
            rss_before_mb,
            rss_after_mb,
            kib_per_task: per_task(rss_before_mb, rss_after_mb, rest),
            few: Some(beside_few),
            many,
            choices,
        })
    }

    /// Hands in so many tasks, and gives their keys.
    async fn submit(&self, tasks: usize) -> Result<Vec<TaskKey>, Exit> {
        let Way::Process { submit, .. } = &self.way else { return Err(Exit::internal("tasks come by message")) };
        let left = Cell::new(tasks);
        let keys = RefCell::new(Vec::with_capacity(tasks));
        let client = async || {
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                let key = submit_one(submit).await.map_err(|why| Exit::new(Code::Failure, why))?;
                keys.borrow_mut().push(key);
            }
            Ok::<_, Exit>(())
        };
        join_all((0..self.clients).map(|_| client())).await.into_iter().collect::<Result<(), _>>()?;
        Ok(keys.into_inner())
    }

    /// How many of them have no answer.
    async fn lost(&self, keys: &[TaskKey]) -> usize {
        let mut lost = 0;
        for key in keys {
            let answered = match self.store.load(key).await {
                Ok(Some(task)) => read_back(&*self.store, &task).await.is_ok(),
                _ => false,
            };
            lost += usize::from(!answered);
        }
        lost
    }

    /// The newest tasks' ids.
    async fn page(&self) -> Result<Vec<String>, Exit> {
        let page = self.client.tasks(&[("limit", PAGE.to_owned())]).await?;
        Ok(page.read.tasks.into_iter().map(|task| task.task_id).collect())
    }

    async fn times(&self, beside: usize, read: &[String]) -> Result<Times, Exit> {
        let list =
            timed(calls(beside), async |_| self.client.tasks(&[("limit", PAGE.to_owned())]).await.map(drop)).await?;
        if read.is_empty() {
            return Err(Exit::new(Code::Failure, "there is no task to read: ask for at least 2"));
        }
        let reading =
            timed(calls(beside), async |call| self.client.result(&read[call % read.len()]).await.map(drop)).await?;
        let body = json!({"objective": OBJECTIVE});
        let submit = timed(calls(beside), async |_| self.client.submit(&body, Duration::ZERO).await.map(drop)).await?;
        Ok(Times {
            beside,
            list_p50_ms: quantile_ms(&list, 0.5),
            list_p99_ms: quantile_ms(&list, 0.99),
            read_p50_ms: quantile_ms(&reading, 0.5),
            read_p99_ms: quantile_ms(&reading, 0.99),
            submit_p50_ms: quantile_ms(&submit, 0.5),
            submit_p99_ms: quantile_ms(&submit, 0.99),
        })
    }
}

fn calls(beside: usize) -> usize {
    CALLS.min(beside.max(1))
}

/// How long each of the calls took, sorted.
async fn timed(calls: usize, call: impl AsyncFn(usize) -> Result<(), ClientError>) -> Result<Vec<Duration>, Exit> {
    let mut took = Vec::with_capacity(calls);
    for number in 0..calls {
        let began = Instant::now();
        call(number).await?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    Ok(took)
}

fn per_task(before_mb: Option<f64>, after_mb: Option<f64>, tasks: usize) -> Option<f64> {
    let more = after_mb? - before_mb?;
    (tasks > 0).then(|| rounded(more * 1024.0 / tasks as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_among_the_tasks() {
        assert_eq!(per_task(Some(10.0), Some(12.0), 1024), Some(2.0));
        assert_eq!(per_task(Some(10.0), Some(12.0), 0), None);
        assert_eq!(per_task(None, Some(12.0), 1), None);
    }
}
