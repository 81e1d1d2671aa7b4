//! `callboard completions SHELL`: what a shell needs to complete this command line.

use super::args::{Cli, CompletionsArgs};
use super::exit::Outcome;
use super::output::print;
use clap::CommandFactory;

/// Runs it.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "callboard", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}
