//! `callboard cancel ID`: ends a task, or says why it cannot. Cancelling twice is no error.

use super::args::CancelArgs;
use super::clean::{clean_json, clean_line};
use super::client::Client;
use super::environment::Environment;
use super::exit::Outcome;
use super::host::client_command;
use super::output::print;

/// Runs it.
pub fn cancel(args: &CancelArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    client_command(async {
        let answer = client.cancel(&args.id).await?;
        // What had ended otherwise was refused, so it is cancelled now, or was before.
        print(&if args.server.json {
            clean_json(&answer.text)
        } else {
            format!("task {} is {}", clean_line(&answer.read.task_id), clean_line(&answer.read.status))
        })
    })
}
