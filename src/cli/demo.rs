//! `callboard demo`: the whole thing without any preparation, with a word about what is to be seen. Everything it shows
//! is real: the agents, the store, the HTTP API.

mod distributed;

use super::answer::answer;
use super::args::DemoArgs;
use super::ask::{Question, ask, verdict};
use super::client::Client;
use super::environment::{Environment, Talk};
use super::exit::{Exit, Outcome};
use super::host::{hosted, on_a_thread, settings};
use super::output::{note, print};
use super::wire::{Agents, Output};
use tokio_util::sync::CancellationToken;

/// Runs it.
pub fn demo(args: &DemoArgs, environment: &Environment) -> Outcome {
    if args.distributed {
        let output = distributed::distributed(args, environment)?;
        return print(&answer(&output));
    }
    let settings = settings(&args.team, Vec::new(), environment, Talk::Quiet)?;
    let place = format!("its store is {}", settings.store);
    let objective = args.objective.clone();
    let output = hosted(settings, move |host, interrupted| {
        let client = host.client.clone();
        on_a_thread(move || show(client, objective, place, interrupted))
    })?;
    print(&answer(&output))?;
    note("\nNext: ask your own documents with `callboard run \"your question\" --docs DIR`,");
    note("or keep it running with `callboard serve` and look at it with `callboard tasks` and `callboard tree`.");
    Ok(())
}

async fn show(
    client: Client,
    objective: String,
    place: String,
    interrupted: CancellationToken,
) -> Result<Output, Exit> {
    let team = client.get::<Agents>(&["agents"]).await?.read;
    note(&format!("A company of {} supervised agents runs in this process; {place}.\n", team.agents.len()));
    for line in super::agents::lines(&team) {
        note(&format!("  {line}"));
    }
    note(&format!("\nThe question: {}\n", super::clean::clean_line(&objective)));
    let answer = ask(&client, &Question { objective, ..Question::default() }, &interrupted).await?.read;
    note("");
    verdict(&answer)?;
    Ok(answer.final_output.unwrap_or_default())
}
