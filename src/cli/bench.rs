//! `callboard bench`: whole tasks through the real stack, counted and timed, as one line of JSON. The figures hold for
//! this machine and this moment, which is why the disk is measured along with them.

mod drive;
mod measure;
mod scale;
mod split;

use super::args::{BenchArgs, Via};
use super::environment::{Environment, Talk};
use super::exit::{Code, Exit, Outcome};
use super::host::{Host, hosted, on_a_thread, settings};
use super::output::{note, print};
use callboard::settings::{Settings, StoreUrl};
use callboard::store::{Stats, Store};
use drive::{Driven, OBJECTIVE, Way, drive};
use measure::{cpu_time, fsync_rate, peak_rss_mb, quantile_ms, rounded};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// The most tasks that are run before the clock starts.
const WARM_UP: usize = 32;

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    pace: Pace,
    cpu_us_per_task: f64,
    /// The clients share the process, so their part is in there; over HTTP that part is large.
    cpu_includes_client: bool,
    peak_rss_mb: Option<f64>,
    commits_per_task: f64,
    fsyncs_per_task: f64,
    /// One writer that syncs 256 bytes at a time, in the store's folder; none without a disk.
    fsync_rate_per_s: Option<f64>,
    #[serde(flatten)]
    choices: Choices,
}

/// How many, and how fast.
#[derive(Debug, Serialize)]
struct Pace {
    tasks: usize,
    errors: usize,
    elapsed_s: f64,
    tasks_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Pace {
    fn of(driven: &Driven) -> Self {
        let elapsed = driven.elapsed.as_secs_f64();
        let mut latencies = driven.latencies.clone();
        latencies.sort_unstable();
        Self {
            tasks: driven.tasks(),
            errors: driven.errors,
            elapsed_s: rounded(elapsed),
            tasks_per_s: rounded(driven.latencies.len() as f64 / elapsed),
            p50_ms: quantile_ms(&latencies, 0.50),
            p99_ms: quantile_ms(&latencies, 0.99),
            max_ms: quantile_ms(&latencies, 1.0),
        }
    }

    /// Says it to people; fails when a task went wrong, with why the first did.
    fn verdict(&self, cpu_us_per_task: f64, failure: Option<String>) -> Outcome {
        note(&format!(
            "{} tasks in {} s: {} tasks/s, p50 {} ms, p99 {} ms, {cpu_us_per_task} µs of processor per task, {} errors",
            self.tasks, self.elapsed_s, self.tasks_per_s, self.p50_ms, self.p99_ms, self.errors
        ));
        match failure {
            None => Ok(()),
            Some(why) => {
                let message = format!("{} of {} tasks went wrong, the first: {why}", self.errors, self.tasks);
                Err(Exit::new(Code::Failure, message))
            }
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
struct Choices {
    via: &'static str,
    concurrency: u32,
    slots: u32,
    store: &'static str,
    durability: String,
    provider: String,
    mock_latency_ms: f64,
    mock_script: String,
    http_workers: usize,
    log: String,
    objective_bytes: usize,
    steps_per_task: u32,
    warm_up_tasks: usize,
    build: &'static str,
    version: &'static str,
}

/// Runs it.
pub fn bench(mut args: BenchArgs, environment: &Environment) -> Outcome {
    if let Some(at_once) = args.at_once {
        args.concurrency = at_once;
        args.tasks = at_once.try_into().map_err(Exit::internal)?;
    }
    if args.workers.is_some() && args.via != Via::Split {
        return Err(Exit::new(Code::Settings, "--workers are those of a split system: add --via split"));
    }
    if args.via == Via::Split {
        return split::bench(&args, environment);
    }
    let place = Place::choose(args.team.store.as_deref())?;
    // What was typed may be the short form.
    args.team.store = Some(place.store.clone());
    if args.queued.is_some() || args.finished.is_some() {
        return scale::scale(&args, environment);
    }
    let mut beneath = vec![("provider", "mock".to_owned()), ("slots", args.concurrency.to_string())];
    beneath.push(apart());
    let settings = settings(&args.team, beneath, environment, Talk::Usual)?;
    let choices = choices(&args, &settings);
    let (tasks, concurrency, via) = (args.tasks.get(), args.concurrency.get(), args.via);
    let folder = place.folder.clone();
    let (report, failure) = hosted(settings, move |host, interrupted| {
        let bench =
            Bench { way: way(via, host), store: Arc::clone(host.callboard.store()), tasks, concurrency, folder };
        bench.run(choices, interrupted)
    })?;
    let line = serde_json::to_string(&report).map_err(Exit::internal)?;
    print(&line)?;
    report.pace.verdict(report.cpu_us_per_task, failure)
}

/// What a benchmark needs of its host.
struct Bench {
    way: Way,
    store: Arc<dyn Store>,
    tasks: usize,
    concurrency: u32,
    folder: Option<PathBuf>,
}

impl Bench {
    /// Measures; gives the report, and why the first of the tasks that went wrong did.
    async fn run(self, choices: Choices, interrupted: CancellationToken) -> Result<(Report, Option<String>), Exit> {
        let measured = interrupted.run_until_cancelled(self.measure(choices)).await;
        measured.unwrap_or_else(|| Err(Exit::new(Code::Failure, "interrupted: there is nothing to report")))
    }

    async fn measure(&self, choices: Choices) -> Result<(Report, Option<String>), Exit> {
        let fsync_rate_per_s = match self.folder.clone() {
            Some(folder) => {
                Some(tokio::task::spawn_blocking(move || fsync_rate(&folder)).await.map_err(Exit::internal)??)
            }
            None => None,
        };
        self.drive(choices.warm_up_tasks).await?;
        let (cpu, stats) = (cpu_time(), self.store.stats());
        let driven = self.drive(self.tasks).await?;
        let cpu = cpu_time().saturating_sub(cpu);
        let report = report(&driven, cpu, since(stats, self.store.stats()), fsync_rate_per_s, choices);
        Ok((report, driven.first_error))
    }

    async fn drive(&self, tasks: usize) -> Result<Driven, Exit> {
        let (way, clients) = (self.way.clone(), self.concurrency);
        match &self.way {
            Way::Process { .. } => Ok(drive(way, tasks, clients).await),
            Way::Http(_) => on_a_thread(move || async move { Ok(drive(way, tasks, clients).await) }).await,
        }
    }
}

/// What keeps a benchmark's tasks apart from all others in a Redis server.
fn apart() -> (&'static str, String) {
    ("redis_prefix", format!("callboard-bench-{}:", uuid::Uuid::now_v7().simple()))
}

fn way(via: Via, host: &Host) -> Way {
    match via {
        Via::Process => {
            Way::Process { submit: host.callboard.submit().clone(), store: Arc::clone(host.callboard.store()) }
        }
        // A split system has no host; it is measured elsewhere.
        Via::Http | Via::Split => Way::Http(host.client.clone()),
    }
}

fn since(earlier: Stats, now: Stats) -> Stats {
    Stats {
        commits: now.commits.saturating_sub(earlier.commits),
        fsyncs: now.fsyncs.saturating_sub(earlier.fsyncs),
        ..now
    }
}

fn report(driven: &Driven, cpu: Duration, done: Stats, fsync_rate_per_s: Option<f64>, choices: Choices) -> Report {
    // Counts are far below 2^53.
    let tasks = driven.tasks() as f64;
    Report {
        pace: Pace::of(driven),
        cpu_us_per_task: rounded(cpu.as_secs_f64() * 1e6 / tasks),
        cpu_includes_client: true,
        peak_rss_mb: peak_rss_mb(),
        commits_per_task: rounded(done.commits as f64 / tasks),
        fsyncs_per_task: rounded(done.fsyncs as f64 / tasks),
        fsync_rate_per_s,
        choices,
    }
}

// === What is measured, and where ===

/// Where the store of a benchmark is: a place of its own, always new.
struct Place {
    store: String,
    /// Whose disk is measured.
    folder: Option<PathBuf>,
    /// Removed with everything in it at the end.
    _temporary: Option<TempDir>,
}

impl Place {
    fn choose(store: Option<&str>) -> Result<Self, Exit> {
        match store {
            None | Some("sqlite:") => Self::temporary(),
            Some(text) => Self::named(text),
        }
    }

    fn temporary() -> Result<Self, Exit> {
        let folder = tempfile::tempdir().map_err(|error| {
            Exit::new(Code::Unavailable, format!("no temporary folder: {error}; set TMPDIR, or choose --store memory:"))
        })?;
        let store = format!("sqlite:{}", folder.path().join("bench.db").display());
        Ok(Self { store, folder: Some(folder.path().to_owned()), _temporary: Some(folder) })
    }

    fn named(text: &str) -> Result<Self, Exit> {
        let settings = |fault: String| Exit::new(Code::Settings, format!("setting store: {fault}"));
        let url = text.parse::<StoreUrl>().map_err(|error| settings(error.to_string()))?;
        let folder = match &url {
            StoreUrl::Memory => None,
            StoreUrl::Sqlite(path) if path.exists() => {
                return Err(settings(format!(
                    "{} exists, and a benchmark would fill it with its own tasks: name a file that does not exist yet",
                    path.display()
                )));
            }
            StoreUrl::Redis(_) => None,
            StoreUrl::Sqlite(path) => {
                Some(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned())
            }
        };
        Ok(Self { store: text.to_owned(), folder, _temporary: None })
    }
}

fn choices(args: &BenchArgs, settings: &Settings) -> Choices {
    Choices {
        via: match args.via {
            Via::Process => "process",
            Via::Http => "http",
            Via::Split => "split",
        },
        concurrency: args.concurrency.get(),
        slots: settings.slots,
        store: match settings.store {
            StoreUrl::Memory => "memory",
            StoreUrl::Sqlite(_) => "sqlite",
            StoreUrl::Redis(_) => "redis",
        },
        durability: format!("{:?}", settings.durability).to_lowercase(),
        provider: format!("{:?}", settings.models.provider).to_lowercase(),
        mock_latency_ms: rounded(settings.models.mock.latency.as_secs_f64() * 1e3),
        mock_script: settings.models.mock.script.to_string(),
        http_workers: settings.http_workers.get(),
        log: settings.log.clone(),
        objective_bytes: OBJECTIVE.len(),
        steps_per_task: 4,
        warm_up_tasks: WARM_UP.min(args.tasks.get()),
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        version: env!("CARGO_PKG_VERSION"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_benchmark_never_runs_over_somebodys_store() {
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().join("a.db");
        std::fs::write(&existing, "").unwrap();
        let refused = Place::choose(Some(&format!("sqlite:{}", existing.display()))).err().unwrap();
        assert_eq!(refused.code as u8, 64);
        assert!(refused.message.contains("does not exist yet"), "{}", refused.message);
        assert_eq!(Place::choose(Some("redis:x")).err().unwrap().code as u8, 64);
        assert_eq!(Place::choose(Some("memory:")).unwrap().folder, None);
        assert_eq!(Place::choose(Some("sqlite:new.db")).unwrap().folder, Some(".".into()));
    }

    #[test]
    fn the_short_form_means_a_folder_that_goes_with_it() {
        let place = Place::choose(Some("sqlite:")).unwrap();
        let folder = place.folder.clone().unwrap();
        assert!(folder.is_dir());
        drop(place);
        assert!(!folder.exists());
    }
}
