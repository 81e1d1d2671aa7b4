//! `callboard demo --distributed`: the same question, to a company that is split over processes of this machine: handed in
//! at one master, watched at the other.

use super::super::args::DemoArgs;
use super::super::ask::{Question, ask_at};
use super::super::environment::{Environment, Talk};
use super::super::exit::Exit;
use super::super::host;
use super::super::output::note;
use super::super::signals::Signals;
use super::super::split::{Shape, Split, workers};
use super::super::wire::Output;
use callboard::team::Team;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Masters of the demonstration.
const MASTERS: usize = 2;

/// Starts them, asks, and ends them.
pub fn distributed(args: &DemoArgs, environment: &Environment) -> Result<Output, Exit> {
    // The settings are looked at here first: a fault is told once, and not by eight processes.
    let settings = host::settings(&args.team, Vec::new(), environment, Talk::Quiet)?;
    let team = Team::of(&settings).map_err(callboard::node::StartError::from)?;
    let shape = Shape {
        masters: MASTERS,
        workers: workers(&team),
        choices: args.team.overrides(),
        config: args.team.config.clone(),
    };
    host::in_a_runtime(show(shape, args.objective.clone()))?
}

async fn show(shape: Shape, objective: String) -> Result<Output, Exit> {
    let mut signals = Signals::listen()?;
    let began = Instant::now();
    let split = tokio::select! {
        split = Split::start(&shape) => split?,
        signal = signals.next() => signal.exit_at_once(),
    };
    note(&format!("A company split over processes, all there after {:.1} s:\n", began.elapsed().as_secs_f64()));
    for member in split.seen() {
        note(&format!("  {:<22} pid {:<8} {}", member.name, member.pid, member.place));
    }
    note(&format!(
        "\nThe question, to master 1, watched at master {MASTERS}: {}\n",
        super::super::clean::clean_line(&objective)
    ));
    let interrupted = CancellationToken::new();
    let answer = {
        let (first, last) = (&split.clients()[0], &split.clients()[MASTERS - 1]);
        let question = Question { objective, ..Question::default() };
        let asking = ask_at(first, last, &question, &interrupted);
        tokio::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            _ = signals.next() => {
                interrupted.cancel();
                asking.await
            }
        }
    };
    split.end().await;
    let answer = answer?.read;
    note("");
    super::super::ask::verdict(&answer)?;
    Ok(answer.final_output.unwrap_or_default())
}
