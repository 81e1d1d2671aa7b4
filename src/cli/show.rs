//! `callboard show ID`: what became of a task, with every attempt, who had it and why. A text for people; `--json` gives
//! what the server says.

use super::answer::answer;
use super::args::ShowArgs;
use super::clean::{clean, clean_json, clean_line};
use super::client::Client;
use super::environment::Environment;
use super::exit::Outcome;
use super::host::client_command;
use super::output::print;
use super::wire::{ErrorBody, Output, Whole, WholeAttempt, WholeStep, between, span};

/// Runs it.
pub fn show(args: &ShowArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    client_command(async {
        let task = client.get::<Whole>(&["task", &args.id]).await?;
        print(&if args.server.json { clean_json(&task.text) } else { whole(&task.read) })
    })
}

fn whole(task: &Whole) -> String {
    let mut lines = vec![format!("task {}  {}", clean_line(&task.task_id), clean_line(&task.status))];
    lines.push(format!("  objective  {}", clean(task.objective.trim()).replace('\n', "\n             ")));
    lines.push(format!("  accepted   {}", clean_line(&task.accepted_at)));
    lines.push(match &task.ended_at {
        Some(at) => {
            let took = between(&task.accepted_at, at).map_or_else(String::new, |ms| format!(", after {}", span(ms)));
            format!("  ended      {}{took}", clean_line(at))
        }
        None => format!("  deadline   {}", clean_line(&task.deadline_at)),
    });
    if let Some(failure) = &task.error {
        lines.push(format!("  error      {}", error(failure)));
    }
    lines.push("\nSteps".to_owned());
    let width = task.steps.iter().map(|step| clean_line(&step.stage).chars().count()).max().unwrap_or(0);
    for shown in &task.steps {
        lines.push(format!("  {:width$}  {}", clean_line(&shown.stage), step(shown)));
        lines.extend(shown.attempts.iter().map(|attempt| format!("  {:width$}    {}", "", line(attempt))));
    }
    if let Some(output) = final_output(task) {
        lines.push(format!("\nAnswer\n{}", answer(&output)));
    }
    lines.join("\n")
}

fn step(step: &WholeStep) -> String {
    let detail = match (&step.error, &step.reason) {
        (Some(failure), _) => format!(": {}", error(failure)),
        (None, Some(reason)) => format!(": {}", clean_line(reason)),
        (None, None) if step.agent_absent => ": no agent for it is alive".to_owned(),
        (None, None) => String::new(),
    };
    format!("{}{detail}", clean_line(&step.status))
}

/// One attempt: who, why to that one, how it ended, how long it took.
fn line(attempt: &WholeAttempt) -> String {
    let took = attempt.ended_at.as_deref().and_then(|at| between(&attempt.placed_at, at));
    let took = took.map_or_else(String::new, |ms| format!(" in {}", span(ms)));
    let failure = attempt.error.as_ref().map_or_else(String::new, |failure| format!(": {}", error(failure)));
    let reason = clean_line(&attempt.reason);
    let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
    let (agent, outcome) = (clean_line(&attempt.agent_id), clean_line(&attempt.outcome).replace('_', " "));
    format!("attempt {}  {agent}{reason}  {outcome}{took}{failure}", attempt.attempt)
}

fn error(error: &ErrorBody) -> String {
    let code = if error.code.is_empty() { String::new() } else { format!(" [{}]", clean_line(&error.code)) };
    format!("{}{code}", clean_line(&error.message))
}

fn final_output(task: &Whole) -> Option<Output> {
    let last = task.steps.iter().find(|step| Some(&step.sub_id) == task.final_step.as_ref())?;
    serde_json::from_value(last.output.clone()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_task_reads_well() {
        let task = json!({
        "task_id": "t-1", "status": "succeeded", "objective": "why?\nand how?",
        "accepted_at": "2024-01-01T00:00:00.000Z", "deadline_at": "2024-01-01T01:00:00.000Z",
        "ended_at": "2024-01-01T00:00:01.500Z", "final_step": "t-1-P1",
        "steps": [
            {"sub_id": "t-1-P1", "stage": "evaluate", "status": "succeeded", "attempts": [
                {"attempt": 1, "agent_id": "agent-a", "reason": "least loaded", "placed_at": "2024-01-01T00:00:00Z",
                 "outcome": "retryable_failure", "ended_at": "2024-01-01T00:00:00.250Z",
                 "error": {"code": "internal_error", "message": "out\u{1b}[31m of luck"}},
                {"attempt": 2, "agent_id": "agent-b", "placed_at": "2024-01-01T00:00:01Z", "outcome": "succeeded",
                 "ended_at": "2024-01-01T00:00:01.5Z"}],
             "output": {"text": "Because [1].", "citations": [{"file": "a.md", "line": 3, "text": "because"}]}},
            {"sub_id": "t-1-P2", "stage": "finalize", "status": "skipped", "reason": "no agent for it"},
        ]});
        insta::assert_snapshot!(whole(&serde_json::from_value(task).unwrap()), @r"
        task t-1  succeeded
          objective  why?
                     and how?
          accepted   2024-01-01T00:00:00.000Z
          ended      2024-01-01T00:00:01.500Z, after 1500 ms

        Steps
          evaluate  succeeded
                      attempt 1  agent-a (least loaded)  retryable failure in 250 ms: out�[31m of luck [internal_error]
                      attempt 2  agent-b  succeeded in 500 ms
          finalize  skipped: no agent for it

        Answer
        Because [1].

        Sources
          [1] a.md:3  because
        ");
    }

    #[test]
    fn an_open_task_shows_its_deadline_and_why_it_waits() {
        let task = json!({
            "task_id": "t-2", "status": "waiting_for_agent", "objective": "x", "accepted_at": "a", "deadline_at": "d",
            "steps": [{"sub_id": "t-2-P1", "stage": "analyze", "status": "queued", "agent_absent": true}]});
        let text = whole(&serde_json::from_value(task).unwrap());
        assert!(text.contains("deadline   d") && text.contains("analyze  queued: no agent for it is alive"), "{text}");
    }
}
