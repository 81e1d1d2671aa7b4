//! What must hold once everything is quiet, found from the logs alone, and how long it took until things went on.

use crate::cast::Cast;
use crate::load::{Fate, Told};
use callboard::task::{AttemptEnd, EventKind};
use callboard::testkit::{Audit, Log};
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Something that befell the system.
#[derive(Debug, Clone)]
pub struct Injury {
    pub what: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// When it was over.
    pub over_ms: u64,
    /// Where the agents were reached whose process was hit.
    pub agents_at: Vec<u16>,
}

/// What is found.
pub struct Verdict {
    pub name: &'static str,
    seed: u64,
    injuries: usize,
    tasks: usize,
    /// Accepted, and gone.
    pub lost: Vec<String>,
    /// All that does not hold.
    pub faults: Vec<String>,
    /// Attempts that did not count, and were made again.
    again: usize,
    /// From each injury until each step that was hit by it was placed elsewhere, in milliseconds.
    placed_again: Vec<u64>,
    /// How long the tasks took that an injury met, in milliseconds; and the others.
    met: Vec<u64>,
    unmet: Vec<u64>,
}

/// How long a store may take to come to rest after the last answer.
const REST: Duration = Duration::from_secs(60);

impl Verdict {
    /// Looks through the store of a system to which nothing is sent any more.
    pub async fn of(name: &'static str, seed: u64, cast: &Cast, told: &[Told], injuries: &[Injury]) -> Self {
        let audit = at_rest(cast).await;
        let mut faults = audit.faults();
        let mut lost = Vec::new();
        for one in told {
            match &one.fate {
                Fate::Succeeded => {}
                Fate::Lost => lost.push(one.id.clone()),
                Fate::Ended(result) => faults.push(format!("{} ended as {result}", one.id)),
                Fate::Open(last) => faults.push(format!("{} did not end; last {last}", one.id)),
            }
        }
        faults.extend(audit.logs().iter().flat_map(unjust));
        let open = audit.logs().iter().filter(|log| log.task().end.is_none() || !log.faults().is_empty());
        faults.extend(open.map(|log| format!("{} goes on like this:\n{log}", log.task().key)));
        eprintln!("{name}: attempts that ended without counting: {:?}", ends(audit.logs()));
        let (met, unmet) = told.iter().partition::<Vec<_>, _>(|one| {
            injuries.iter().any(|injury| one.submitted_ms <= injury.over_ms && one.ended_ms >= injury.at_ms)
        });
        let took = |told: Vec<&Told>| sorted(told.iter().map(|one| one.ended_ms - one.submitted_ms).collect());
        let placed_again =
            injuries.iter().flat_map(|injury| audit.logs().iter().flat_map(|log| placed_again(log, injury)));
        Self {
            name,
            seed,
            injuries: injuries.len(),
            tasks: told.len(),
            lost,
            faults,
            again: audit.logs().iter().map(|log| log.count("attempt_ended")).sum(),
            placed_again: sorted(placed_again.collect()),
            met: took(met),
            unmet: took(unmet),
        }
    }

    /// Everything holds, and nothing is lost.
    #[track_caller]
    pub fn clean(&self) {
        assert!(self.lost.is_empty(), "seed {}: accepted and lost: {:?}", self.seed, self.lost);
        self.sound();
    }

    /// Everything holds for what is there.
    #[track_caller]
    pub fn sound(&self) {
        println!("{self}");
        assert!(self.faults.is_empty(), "seed {}:\n  {}", self.seed, self.faults.join("\n  "));
        assert!(self.injuries > 0 && !self.met.is_empty(), "nothing was hit");
    }
}

/// Waits until the store is quiet: what is told to a client is committed, and what follows from it may be under way.
async fn at_rest(cast: &Cast) -> Audit {
    let until = Instant::now() + REST;
    loop {
        // Anew each time: how many tasks are open is told when a store is opened.
        let audit = Audit::of(&cast.store().await).await.unwrap();
        if audit.faults().is_empty() || Instant::now() > until {
            return audit;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// What nobody may be charged for: no model fails here and no agent panics, and somebody who can do each stage is alive.
fn unjust(log: &Log) -> Vec<String> {
    let id = &log.task().key.id;
    let steps = log.task().steps.iter().zip(log.task().plan.steps());
    let charged = steps.filter(|(step, _)| step.failures > 0 || step.crashes > 0);
    let mut faults: Vec<_> = charged.map(|(_, spec)| format!("{id}: step {} is charged\n{log}", spec.id)).collect();
    if log.count("step_skipped") > 0 {
        faults.push(format!("{id}: a stage was left out\n{log}"));
    }
    faults
}

/// How often attempts ended in which way.
fn ends(logs: &[Log]) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for event in logs.iter().flat_map(Log::events) {
        if let EventKind::AttemptEnded { end, .. } = &event.kind {
            *ends.entry(format!("{end:?}")).or_default() += 1;
        }
    }
    ends
}

/// How long each step stayed where one of the agents hit had it: from the injury, or from when it was given it before the
/// injury was found out, until it was placed elsewhere.
fn placed_again(log: &Log, injury: &Injury) -> Vec<u64> {
    let was_hit = |agent: &str| injury.agents_at.iter().any(|at| agent.ends_with(&format!(":{at}")));
    let mut holder: Vec<Option<(String, u64)>> = vec![None; log.task().steps.len()];
    let mut waits: Vec<Option<u64>> = vec![None; log.task().steps.len()];
    let mut found = Vec::new();
    for event in log.events() {
        match &event.kind {
            EventKind::StepPlaced { step, agent, .. } => {
                found.extend(waits[step.position()].take().map(|since| event.at.0.saturating_sub(since)));
                holder[step.position()] = Some((agent.to_string(), event.at.0));
            }
            EventKind::AttemptEnded { step, end: AttemptEnd::Lost(_), .. } => {
                let ended_by_it = (injury.at_ms..=injury.over_ms).contains(&event.at.0);
                let held = holder[step.position()].take().filter(|(agent, _)| ended_by_it && was_hit(agent));
                waits[step.position()] = held.map(|(_, placed_at)| placed_at.max(injury.at_ms));
            }
            _ => {}
        }
    }
    found
}

/// From the least to the greatest.
pub fn sorted(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    values
}

/// The value below which this share of them lies.
fn share(sorted: &[u64], share: f64) -> u64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

/// The median, the 99th percentile and the greatest.
pub fn shares(sorted: &[u64]) -> String {
    if sorted.is_empty() {
        return "–".to_owned();
    }
    format!("{} / {} / {}", share(sorted, 0.5), share(sorted, 0.99), share(sorted, 1.0))
}

/// A line of the table in docs/reliability.md.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seed, injuries, tasks, again, .. } = self;
        let (lost, doubled) = (self.lost.len(), self.faults.iter().filter(|fault| fault.contains("twice")).count());
        let (placed, met, unmet) = (shares(&self.placed_again), shares(&self.met), shares(&self.unmet));
        write!(
            f,
            "| {name} | {injuries} | {tasks} | {lost} | {doubled} | {again} | {placed} | {met} | {unmet} | {seed} |"
        )
    }
}
