//! The program `callboard`: reads the command line and the variables, hands over to the command, and reports how it
//! ended. What the commands do is in `cli`.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use cli::args::{Cli, Command};
use cli::environment::Environment;
use cli::exit::{Outcome, report};
use std::process::ExitCode;

/// Tasks are many small pieces that live for a moment; the C library's allocator takes a tenth more processor for them.
/// It does without huge pages, which would add 15 MB to an idle process.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => report(hand_over(cli.command, &Environment::of_process())),
        Err(error) => {
            // Help and version come this way, too. Nobody is left to tell that they cannot be printed.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

fn hand_over(command: Command, environment: &Environment) -> Outcome {
    match command {
        Command::Demo(args) => cli::demo::demo(&args, environment),
        Command::Serve(args) => cli::serve::serve(&args, environment),
        Command::Run(args) => cli::run::run(args, environment),
        Command::Bench(args) => cli::bench::bench(args, environment),
        Command::Show(args) => cli::show::show(&args, environment),
        Command::Tasks(args) => cli::tasks::tasks(&args, environment),
        Command::Cancel(args) => cli::cancel::cancel(&args, environment),
        Command::Events(args) => cli::events::events(&args, environment),
        Command::Export(args) => cli::export::export(&args, environment),
        Command::Import(args) => cli::import::import(&args, environment),
        Command::Gc(args) => cli::gc::gc(&args, environment),
        Command::Check(args) => cli::check::check(&args, environment),
        Command::Team(command) => cli::team::team(&command, environment),
        Command::Completions(args) => cli::completions::completions(&args),
        Command::Agents(args) => cli::agents::agents(&args, environment),
        Command::Tree(args) => cli::tree::tree(&args, environment),
    }
}
