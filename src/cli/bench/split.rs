//! `callboard bench --via split`: the same load on a split system, whose processes are counted one by one: what each role
//! takes of processor and memory, and what Redis is asked.

use super::super::args::BenchArgs;
use super::super::environment::{Environment, Talk};
use super::super::exit::{Code, Exit, Outcome};
use super::super::host::{in_a_runtime, settings};
use super::super::output::print;
use super::super::signals::Signals;
use super::super::split::{Shape, Split, workers};
use super::drive::{Driven, OBJECTIVE, Way, drive};
use super::measure::{Used, process_use, rounded};
use super::{Choices, Pace, WARM_UP};
use callboard::team::Team;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    pace: Pace,
    /// Over all processes of Callboard; neither Redis nor the client is in it.
    cpu_us_per_task: f64,
    redis_cpu_us_per_task: f64,
    roles: BTreeMap<String, RoleUse>,
    /// All that Redis carried out, inside its scripts too.
    redis_commands_per_task: f64,
    /// Scripts that it was asked to run, each a round trip; reading states and the feed is not among them.
    redis_scripts_per_task: f64,
    #[serde(flatten)]
    choices: Choices,
}

/// What one role takes; of several processes the sum.
#[derive(Debug, Default, Serialize)]
struct RoleUse {
    processes: u32,
    cpu_us_per_task: f64,
    idle_rss_mb: f64,
    peak_rss_mb: f64,
}

/// Runs it.
pub fn bench(args: &BenchArgs, environment: &Environment) -> Outcome {
    let slots = args.concurrency.get().to_string();
    let beneath = vec![("provider", "mock".to_owned()), ("slots", slots)];
    let looked_at = settings(&args.team, beneath.clone(), environment, Talk::Usual)?;
    let team = Team::of(&looked_at).map_err(callboard::node::StartError::from)?;
    let typed = args.team.overrides().into_iter().filter(|(name, _)| *name != "store");
    let kinds = workers(&team);
    let count = args.workers.map_or(kinds.len(), NonZeroUsize::get);
    let shape = Shape {
        masters: 1,
        workers: kinds.into_iter().cycle().take(count).collect(),
        choices: beneath.into_iter().chain(typed).collect(),
        config: args.team.config.clone(),
    };
    let choices = Choices { store: "redis", via: "split", ..super::choices(args, &looked_at) };
    let (report, failure) = in_a_runtime(measure(args, shape, choices))??;
    print(&serde_json::to_string(&report).map_err(Exit::internal)?)?;
    report.pace.verdict(report.cpu_us_per_task, failure)
}

async fn measure(args: &BenchArgs, shape: Shape, choices: Choices) -> Result<(Report, Option<String>), Exit> {
    let mut signals = Signals::listen()?;
    let split = tokio::select! {
        split = Split::start(&shape) => split?,
        signal = signals.next() => signal.exit_at_once(),
    };
    let measured = tokio::select! {
        measured = load(args, &split, choices) => measured,
        _ = signals.next() => Err(Exit::new(Code::Failure, "interrupted: there is nothing to report")),
    };
    split.end().await;
    measured
}

async fn load(args: &BenchArgs, split: &Split, choices: Choices) -> Result<(Report, Option<String>), Exit> {
    let idle = used(split);
    let way = || Way::Http(split.clients()[0].clone());
    drive(way(), choices.warm_up_tasks, args.concurrency.get()).await;
    let (before, asked) = (used(split), split.redis_counts().await?);
    let driven = drive(way(), args.tasks.get(), args.concurrency.get()).await;
    let (after, asked_since) = (used(split), split.redis_counts().await?);
    let report = report(&driven, choices, [&idle, &before, &after], [asked, asked_since]);
    Ok((report, driven.first_error))
}

/// What each process has used so far, in the order in which they were started.
fn used(split: &Split) -> Vec<(String, Used)> {
    let role = |name: &str| name.split(' ').next().unwrap_or(name).to_owned();
    split.seen().map(|seen| (role(seen.name), process_use(seen.pid))).collect()
}

fn report(driven: &Driven, choices: Choices, used: [&[(String, Used)]; 3], asked: [(u64, u64); 2]) -> Report {
    let [idle, before, after] = used;
    // Counts are far below 2^53.
    let tasks = driven.tasks() as f64;
    let mut roles: BTreeMap<String, RoleUse> = BTreeMap::new();
    for (((role, idle), (_, before)), (_, after)) in idle.iter().zip(before).zip(after) {
        let entry = roles.entry(role.clone()).or_default();
        entry.processes += 1;
        entry.cpu_us_per_task += after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / tasks;
        entry.idle_rss_mb = entry.idle_rss_mb.max(idle.rss_mb);
        entry.peak_rss_mb = entry.peak_rss_mb.max(after.peak_rss_mb);
    }
    for role in roles.values_mut() {
        role.cpu_us_per_task = rounded(role.cpu_us_per_task);
    }
    let redis = roles.remove("redis").unwrap_or_default();
    let per_task = |since: u64, earlier: u64| rounded(since.saturating_sub(earlier) as f64 / tasks);
    Report {
        pace: Pace::of(driven),
        cpu_us_per_task: rounded(roles.values().map(|role| role.cpu_us_per_task).sum()),
        redis_cpu_us_per_task: redis.cpu_us_per_task,
        roles,
        redis_commands_per_task: per_task(asked[1].0, asked[0].0),
        redis_scripts_per_task: per_task(asked[1].1, asked[0].1),
        choices: Choices { objective_bytes: OBJECTIVE.len(), warm_up_tasks: WARM_UP.min(driven.tasks()), ..choices },
    }
}
