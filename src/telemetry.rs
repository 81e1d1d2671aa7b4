//! What the program tells about itself: its log, and the counts behind the metrics. It observes and never steers.

use crate::task::{AttemptEnd, ErrorCode, Event, EventKind, Task};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::io::IsTerminal;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// What has been counted since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Tasks taken.
    pub tasks_accepted: Counter,
    /// Tasks that succeeded.
    pub tasks_succeeded: Counter,
    /// Tasks that failed.
    pub tasks_failed: Counter,
    /// Tasks that were cancelled.
    pub tasks_cancelled: Counter,
    /// Attempts assigned.
    pub attempts_placed: Counter,
    /// Attempts that ended without success.
    pub attempts_failed: Counter,
    /// Finished tasks that were removed because they had been kept long enough.
    pub tasks_removed: Counter,
    /// Times that a step had to wait for a slot or an agent.
    pub steps_queued: Counter,
}

impl Counters {
    /// Counts what a commit made true.
    pub fn committed(&self, events: &[Event]) {
        for event in events {
            let counter = match &event.kind {
                EventKind::Accepted { .. } => &self.tasks_accepted,
                EventKind::TaskSucceeded { .. } => &self.tasks_succeeded,
                EventKind::TaskFailed { .. } => &self.tasks_failed,
                EventKind::TaskCancelled { .. } => &self.tasks_cancelled,
                EventKind::StepPlaced { .. } => &self.attempts_placed,
                EventKind::AttemptEnded { .. } => &self.attempts_failed,
                EventKind::StepQueued { .. } => &self.steps_queued,
                _ => continue,
            };
            counter.inc();
        }
    }

    /// Shows the counts at `/metrics`, under these names with `_total` behind. The registry brings the prefix.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("tasks_accepted", "Tasks taken", &self.tasks_accepted),
            ("tasks_succeeded", "Tasks that succeeded", &self.tasks_succeeded),
            ("tasks_failed", "Tasks that failed", &self.tasks_failed),
            ("tasks_cancelled", "Tasks that were cancelled", &self.tasks_cancelled),
            ("tasks_removed", "Finished tasks removed by the retention settings", &self.tasks_removed),
            ("attempts_placed", "Attempts assigned to agents", &self.attempts_placed),
            ("attempts_failed", "Attempts that ended without success", &self.attempts_failed),
            ("steps_queued", "Times that a step waited for a slot or an agent", &self.steps_queued),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

/// Writes a commit's events to the log: what goes wrong as warnings, what is left out or cancelled as information, the
/// rest for whoever looks closely (two lines for every task that goes well cost it a fifth of its time). Objectives, outputs and the texts of failures stay out of it: they may hold what nobody should
/// read there, and `GET /task/{id}` has them.
pub fn log_events(task: &Task, events: &[Event]) {
    let id = task.key.id.as_str();
    let tenant = task.key.tenant.as_str();
    for event in events {
        let kind = event.kind.name();
        match &event.kind {
            EventKind::TaskFailed { failure } => {
                tracing::warn!(task = id, tenant, code = ?failure.code, "{kind}");
            }
            EventKind::AttemptEnded { step, attempt, end } => {
                let (spec, state) = task.step(*step);
                let agent = state.attempt(*attempt).map(|attempt| attempt.agent.as_str());
                tracing::warn!(task = id, tenant, step = %spec.id, agent, attempt = attempt.0, end = how(end), code = ?code(end), "{kind}");
            }
            EventKind::StepFailed { step, failure } => {
                let step = &task.plan.step(*step).id;
                tracing::warn!(task = id, tenant, %step, code = ?failure.code, "{kind}");
            }
            EventKind::StepSkipped { step, .. } => {
                tracing::info!(task = id, tenant, step = %task.plan.step(*step).id, "{kind}");
            }
            EventKind::TaskCancelled { .. } => tracing::info!(task = id, tenant, "{kind}"),
            EventKind::StepPlaced { step, attempt, agent, reason, .. } => {
                let step = &task.plan.step(*step).id;
                tracing::debug!(task = id, tenant, %step, %agent, attempt = attempt.0, %reason, "{kind}");
            }
            EventKind::StepSucceeded { step, attempt, agent, .. } => {
                let step = &task.plan.step(*step).id;
                tracing::debug!(task = id, tenant, %step, %agent, attempt = attempt.0, "{kind}");
            }
            EventKind::StepQueued { step, .. } | EventKind::StepBackedOff { step, .. } => {
                tracing::debug!(task = id, tenant, step = %task.plan.step(*step).id, "{kind}");
            }
            EventKind::Accepted { .. } | EventKind::TaskSucceeded { .. } => {
                tracing::debug!(task = id, tenant, "{kind}")
            }
            EventKind::Planned { .. } => {}
        }
    }
}

fn how(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Failed(_) => "failed",
        AttemptEnd::Fatal(_) => "failed for good",
        AttemptEnd::TimedOut => "timed out",
        AttemptEnd::Crashed(_) => "crashed",
        AttemptEnd::Lost(loss) => loss.name(),
        AttemptEnd::Superseded => "superseded",
    }
}

fn code(end: &AttemptEnd) -> Option<ErrorCode> {
    match end {
        AttemptEnd::Failed(failure) | AttemptEnd::Fatal(failure) | AttemptEnd::Crashed(failure) => Some(failure.code),
        _ => None,
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// One JSON object a line, for machines.
    Json,
    /// For a person at a terminal.
    Plain,
}

/// Writes out what the log still holds when it is dropped: keep it until the program ends.
#[derive(Debug)]
pub struct LogGuard {
    _writer: WorkerGuard,
}

/// Starts the log, to standard error. A thread of its own writes it, so that a slow terminal or pipe stops no actor; when
/// 128,000 lines wait, further ones are dropped. A second start in one process changes nothing.
///
/// # Errors
/// When the filter is not one, such as `info` or `callboard=debug`.
pub fn start_log(filter: &str, form: LogForm) -> Result<LogGuard, ParseError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    // Whoever was first stays: tests start several nodes in one process.
    let _ = match form {
        LogForm::Json => log.json().flatten_event(true).try_init(),
        LogForm::Plain => log.with_target(false).with_ansi(is_coloured()).try_init(),
    };
    Ok(LogGuard { _writer: guard })
}

/// Colours are for a terminal whose user has not said no: <https://no-color.org>.
fn is_coloured() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
