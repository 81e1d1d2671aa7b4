//! `callboard run`: one task from the command line to its answer, with a Callboard of its own around it. The answer goes
//! to standard output, everything else to standard error.

use super::answer::answer;
use super::args::RunArgs;
use super::ask::{Question, ask, verdict};
use super::clean::clean_json;
use super::environment::{Environment, Talk};
use super::exit::Outcome;
use super::host::{hosted, on_a_thread, settings};
use super::output::{note, print};

/// Runs it.
pub fn run(args: RunArgs, environment: &Environment) -> Outcome {
    let settings = settings(&args.team, Vec::new(), environment, Talk::Quiet)?;
    let question = Question {
        objective: args.objective,
        context: args.context.unwrap_or_default(),
        deadline: args.deadline,
        priority: args.priority,
    };
    let ended = hosted(settings, move |host, interrupted| {
        let client = host.client.clone();
        on_a_thread(move || async move { ask(&client, &question, &interrupted).await })
    })?;
    let verdict = verdict(&ended.read);
    if args.json {
        print(&clean_json(&ended.text))?;
    } else if verdict.is_ok() {
        note("");
        print(&answer(&ended.read.final_output.unwrap_or_default()))?;
    }
    verdict
}
