//! What can be typed. Flags that are settings are only collected here: their values are checked where all settings are,
//! and their variables are read there, too.

mod serve;

pub use serve::ServeArgs;

use callboard::settings::Overrides;
use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  callboard demo                                   see it work: no account, no network, nothing to set up
  callboard run \"What is in these notes?\" --docs ~/notes
  callboard serve --store sqlite:./callboard.db    take tasks over HTTP until SIGTERM
  callboard show 0198f2c4-…                        what became of a task

Exit codes: 0 done, 1 task failed, 2 usage, 3 no such task, 4 cancelled, 64 bad setting, 69 server or store
unavailable, 70 internal fault, 130/143 ended at once by a second Ctrl-C/SIGTERM.";

/// Teams of LLM agents as supervised actors over a durable task store.
#[derive(Debug, Parser)]
#[command(name = "callboard", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask the project's own documents a question, and watch four agents answer it
    Demo(DemoArgs),
    /// Take tasks over HTTP until SIGTERM or Ctrl-C
    Serve(ServeArgs),
    /// Do one task here and now, and print the answer with its sources
    Run(RunArgs),
    /// Measure whole tasks through the real stack; prints one line of JSON
    Bench(BenchArgs),
    /// Show a task: its steps, attempts, errors and answer
    Show(ShowArgs),
    /// List tasks, newest first
    Tasks(TasksArgs),
    /// Cancel a task
    Cancel(CancelArgs),
    /// Print a task's log, and follow it as it grows
    Events(EventsArgs),
    /// Write a store as JSON lines, to keep or to move
    Export(ExportArgs),
    /// Take the JSON lines of an export into a store
    Import(ImportArgs),
    /// Remove finished tasks from a store that no server has open
    Gc(GcArgs),
    /// Look at the settings and try everything that they name, before a server does
    Check(CheckArgs),
    /// Write, check or show a team's file: who works here, with which prompts, and what a task passes
    #[command(subcommand)]
    Team(TeamCommand),
    /// Print what a shell needs to complete this command line
    Completions(CompletionsArgs),
    /// List the agents that are alive
    Agents(ListArgs),
    /// Show the supervision tree: who runs, who was restarted, what failed last
    Tree(ListArgs),
}

/// What every command with agents of its own can choose.
#[derive(Debug, Default, Args)]
pub struct TeamArgs {
    /// Where tasks are kept: memory:, sqlite:PATH or redis://HOST [CALLBOARD_STORE]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Folder of documents to search; without it the project's own [CALLBOARD_DOCS]
    #[arg(long, value_name = "DIR")]
    pub docs: Option<String>,
    /// The team's file; without it the default team of four [CALLBOARD_TEAM]
    #[arg(long, value_name = "FILE")]
    pub team: Option<String>,
    /// Who answers: extractive (quotes the documents) or mock [CALLBOARD_PROVIDER]
    #[arg(long, value_name = "NAME")]
    pub provider: Option<String>,
    /// What a commit to sqlite waits for: relaxed or strict [CALLBOARD_DURABILITY]
    #[arg(long, value_name = "MODE")]
    pub durability: Option<String>,
    /// How long each call of the mock takes, such as 50ms [CALLBOARD_MOCK_LATENCY]
    #[arg(long, value_name = "DURATION")]
    pub mock_latency: Option<String>,
    /// Which calls of the mock fail, such as evaluate:error@2 [CALLBOARD_MOCK_SCRIPT]
    #[arg(long, value_name = "SCRIPT")]
    pub mock_script: Option<String>,
    /// Steps each agent runs at once [CALLBOARD_SLOTS]
    #[arg(long, value_name = "N")]
    pub slots: Option<String>,
    /// A TOML file of settings [CALLBOARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is logged to standard error, such as info or callboard=debug [CALLBOARD_LOG]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

impl TeamArgs {
    /// The settings that were typed.
    pub fn overrides(&self) -> Overrides {
        typed([
            ("store", &self.store),
            ("docs", &self.docs),
            ("team", &self.team),
            ("provider", &self.provider),
            ("durability", &self.durability),
            ("mock_latency", &self.mock_latency),
            ("mock_script", &self.mock_script),
            ("slots", &self.slots),
            ("log", &self.log),
        ])
    }
}

fn typed<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> Overrides {
    flags.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
}

/// `demo`.
#[derive(Debug, Args)]
#[command(after_help = "\
Everything runs inside this process, with tasks in memory (a --store is used when given): nothing is left behind.
Steps are shown on standard error, the answer on standard output.

Examples:
  callboard demo
  callboard demo \"How does a step get retried?\"
  callboard demo \"What did we decide in May?\" --docs ./minutes")]
pub struct DemoArgs {
    /// The question
    #[arg(value_name = "OBJECTIVE", default_value = "What happens to a task when the process is killed?")]
    pub objective: String,
    /// Split it over processes of this machine: Redis, a gateway, two masters, a worker for each agent
    #[arg(long, conflicts_with = "store")]
    pub distributed: bool,
    #[command(flatten)]
    pub team: TeamArgs,
}

/// `run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Everything runs inside this process, with tasks in memory unless --store says otherwise; CALLBOARD_STORE is for
servers. Steps are shown on standard error, the answer on standard output. Ctrl-C cancels the task.

Examples:
  callboard run \"Which ports does the master use?\" --docs ./docs
  callboard run \"Summarise\" --context '{\"audience\": \"operators\"}' --json | jq .final_output.text
  callboard run \"Be quick\" --deadline 10s --priority high")]
pub struct RunArgs {
    /// What is wanted, in your words
    #[arg(value_name = "OBJECTIVE")]
    pub objective: String,
    /// A JSON object of what the agents should know
    #[arg(long, value_name = "JSON", value_parser = json_object)]
    pub context: Option<Map<String, Value>>,
    /// How long the task may take, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub deadline: Option<Duration>,
    /// How urgent it is
    #[arg(long, value_parser = ["low", "normal", "high"])]
    pub priority: Option<String>,
    /// Print the whole PipelineResponse as JSON, and nothing else
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub team: TeamArgs,
}

fn json_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("it is no JSON object ({error})"))
}

/// How a benchmark reaches the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Via {
    /// By messages, inside the process.
    Process,
    /// Over keep-alive connections.
    Http,
    /// The same, to a system that is split over processes: Redis, a gateway, a master, a worker for each agent.
    Split,
}

/// `bench`.
#[derive(Debug, Args)]
#[command(after_help = "\
Runs whole four-step tasks in a closed loop and reads every answer back by its task's id. The store is a fresh sqlite
file in a temporary folder; --store memory:, sqlite:PATH (a path that does not exist yet) or redis://HOST (a server
of which nobody else has need: what is written stays there, under a prefix of its own) choose another. The provider
is mock and --slots equals --concurrency unless given. The log goes to standard error as in `serve`.

Examples:
  callboard bench --tasks 2000 --concurrency 64 2>/dev/null
  callboard bench --via http --store memory: --log off
  callboard bench --via split --log off
  callboard bench --via split --workers 100 --concurrency 10000 --tasks 20000 --log off
  callboard bench --at-once 1000
  callboard bench --queued 100000 --log off
  callboard bench --finished 1000000 --log off")]
pub struct BenchArgs {
    /// How many tasks are measured
    #[arg(long, value_name = "N", default_value = "1000")]
    pub tasks: NonZeroUsize,
    /// How many are under way at once
    #[arg(long, value_name = "C", default_value = "32")]
    pub concurrency: NonZeroU32,
    /// How tasks are handed in
    #[arg(long, value_enum, default_value = "process")]
    pub via: Via,
    /// Instead: so many tasks, all under way at once
    #[arg(long, value_name = "N", conflicts_with_all = ["tasks", "concurrency"])]
    pub at_once: Option<NonZeroU32>,
    /// Instead: so many tasks queued while no agent goes on, then all of them done
    #[arg(long, value_name = "N", conflicts_with_all = ["tasks", "via", "at_once"])]
    pub queued: Option<NonZeroUsize>,
    /// Instead: listing, reading and submitting beside so many finished tasks, against the same beside 1,000
    #[arg(long, value_name = "N", conflicts_with_all = ["tasks", "via", "at_once", "queued"])]
    pub finished: Option<NonZeroUsize>,
    /// Workers of a split system, each a process; by default one for each kind of agent
    #[arg(long, value_name = "N", requires = "via", conflicts_with_all = ["queued", "finished"])]
    pub workers: Option<NonZeroUsize>,
    #[command(flatten)]
    pub team: TeamArgs,
}

/// Where a client command finds its server.
#[derive(Debug, Args)]
#[command(after_help = "The API key, where one is needed, is read from CALLBOARD_API_KEY.")]
pub struct ServerArgs {
    /// The server [CALLBOARD_SERVER, default http://127.0.0.1:8000]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// Print the server's answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// `agents` and `tree`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  callboard events 0198f2c4-… --follow             until the task ends
  callboard events 0198f2c4-… --json | jq .kind    one JSON object a line")]
pub struct EventsArgs {
    /// The task's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Wait for the events to come, until the task ends
    #[arg(long)]
    pub follow: bool,
    /// Only the events above this number
    #[arg(long, value_name = "N", default_value = "0")]
    pub after: u64,
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Which store a command works on while no server does.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The store: sqlite:PATH or redis://HOST [CALLBOARD_STORE]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// A TOML file of settings [CALLBOARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl StoreArgs {
    /// The settings that were typed.
    pub fn overrides(&self) -> Overrides {
        typed([("store", &self.store)])
    }
}

/// `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
The store must not be in use: stop its server first, or copy the live file with sqlite3's .backup and export the copy.
Each task comes whole: its state, log, payloads and traces; then shared context and budgets. The last line counts the
others, so that a cut-off file is recognised.

Examples:
  callboard export --store sqlite:./callboard.db --out tasks.jsonl
  callboard export --status failed --since 2026-11-01T00:00:00Z | jq -c .task.state.key")]
pub struct ExportArgs {
    /// Only these tasks; all when none is named
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// The file to write; standard output when left out
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Only this tenant's
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only those: queued, running, waiting_for_agent, succeeded, failed or cancelled
    #[arg(long)]
    pub status: Option<String>,
    /// Only those accepted at this moment or later, such as 2026-11-24T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    pub since: Option<std::time::SystemTime>,
    /// Only those accepted before this moment
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    pub until: Option<std::time::SystemTime>,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
What the store has already is left alone, so an import that was broken off can be run again. A task that differs from
the store's of the same id is refused. Open tasks go on in the new store.

Examples:
  callboard import tasks.jsonl --store sqlite:./new.db
  callboard import tasks.jsonl --dry-run")]
pub struct ImportArgs {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only say what would become of each record
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `gc`.
#[derive(Debug, Args)]
#[command(after_help = "\
A server does this by itself with the settings retain_for and retain_tasks. Open tasks are never removed.

Examples:
  callboard gc --older-than 30days --dry-run
  callboard gc --keep 10000 --store sqlite:./callboard.db")]
pub struct GcArgs {
    /// Those that ended longer ago than this, such as 30days
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub older_than: Option<Duration>,
    /// Those beyond the so many that ended last
    #[arg(long, value_name = "N")]
    pub keep: Option<u64>,
    /// Only this tenant's
    #[arg(long)]
    pub tenant: Option<String>,
    /// Only count them
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes what `serve` takes. Exit codes: 0 all is well, 64 a setting is wrong, 69 something that it names cannot be had.

Examples:
  callboard check
  CALLBOARD_STORE=sqlite:/data/tasks.db callboard check --json | jq .checks")]
pub struct CheckArgs {
    /// Print one JSON object: the checks, and every setting with where it comes from
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// `team`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
docs/teams.md describes every key. A server takes the file with --team or CALLBOARD_TEAM, and reads it again on SIGHUP.

Examples:
  callboard team init ./team                       team.toml and the prompts of the default team, to be changed
  callboard team check ./team/team.toml
  callboard run \"What is in here?\" --team ./team/team.toml --docs ~/notes")]
pub enum TeamCommand {
    /// Write the default team's file and its prompts into a folder, to begin with
    Init(TeamInitArgs),
    /// Read a team's file, its prompts and its folders as a server would, and say what is wrong where
    Check(TeamFileArgs),
    /// Show a team's agents and stages: of a file, of the settings, or of a server
    Show(TeamShowArgs),
}

/// `team init`.
#[derive(Debug, Args)]
pub struct TeamInitArgs {
    /// The folder; it is made where it is missing
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
    /// Overwrite files that are there already
    #[arg(long)]
    pub force: bool,
}

/// `team check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it can be used, 64 something in it is wrong.")]
pub struct TeamFileArgs {
    /// The team's file; that of the settings when left out
    #[arg(value_name = "FILE")]
    pub file: Option<String>,
    /// Print one JSON object: problems and warnings, each with file and line
    #[arg(long)]
    pub json: bool,
    /// A TOML file of settings [CALLBOARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `team show`.
#[derive(Debug, Args)]
pub struct TeamShowArgs {
    /// The team's file; that of the settings when left out
    #[arg(value_name = "FILE")]
    pub file: Option<String>,
    /// Instead: the team that this server works with now
    #[arg(long, value_name = "URL", conflicts_with = "file")]
    pub server: Option<String>,
    /// Print it as JSON, as GET /team does
    #[arg(long)]
    pub json: bool,
    /// A TOML file of settings [CALLBOARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  callboard completions bash > /etc/bash_completion.d/callboard
  callboard completions fish > ~/.config/fish/completions/callboard.fish")]
pub struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}

/// `tasks`.
#[derive(Debug, Args)]
#[command(after_help = "\
A search looks at some thousand tasks at a time, newest first: --all goes on to the oldest.

Examples:
  callboard tasks --status failed
  callboard tasks --agent agent-review --since 2026-11-24T00:00:00Z --all
  callboard tasks --text invoice --json | jq -r '.tasks[].task_id'")]
pub struct TasksArgs {
    /// Only those: queued, running, waiting_for_agent, succeeded, failed or cancelled
    #[arg(long)]
    pub status: Option<String>,
    /// Only those that this agent was given a step of
    #[arg(long, value_name = "ID")]
    pub agent: Option<String>,
    /// Only those accepted at this moment or later, such as 2026-11-24T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    pub since: Option<std::time::SystemTime>,
    /// Only those accepted before this moment
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    pub until: Option<std::time::SystemTime>,
    /// Only those whose objective contains this, whatever the case
    #[arg(long, value_name = "WORDS")]
    pub text: Option<String>,
    /// How many on a page
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u32).range(1..=200))]
    pub limit: u32,
    /// All pages, not only the first
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub server: ServerArgs,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings_and_nothing_else_does() {
        let Command::Serve(args) = parsed("callboard serve --listen [::1]:0 --insecure --docs d --task-wait 5") else {
            panic!("not serve");
        };
        let expected = [("listen", "[::1]:0"), ("task_wait", "5"), ("insecure", "true"), ("docs", "d")];
        assert_eq!(args.overrides(), expected.map(|(name, value)| (name, value.to_owned())));
        let Command::Serve(args) = parsed("callboard serve") else { panic!("not serve") };
        assert!(args.overrides().is_empty());
    }

    #[test]
    fn a_runs_choices_are_checked_on_the_spot() {
        let refused = |line: &[&str]| Cli::try_parse_from(line).unwrap_err().exit_code();
        for wrong in [
            &["callboard", "run"][..],
            &["callboard", "run", "x", "--context", "[]"],
            &["callboard", "run", "x", "--deadline", "soon"],
            &["callboard", "run", "x", "--priority", "urgent"],
            &["callboard", "tasks", "--limit", "0"],
            &["callboard", "bench", "--tasks", "0"],
        ] {
            assert_eq!(refused(wrong), 2, "{wrong:?}");
        }
        let Command::Run(args) = parsed("callboard run x --deadline 1m --context {\"a\":1}") else { panic!("not run") };
        assert_eq!((args.deadline, args.context.unwrap()["a"].as_u64()), (Some(Duration::from_secs(60)), Some(1)));
    }

    #[test]
    fn the_help_names_every_command_and_the_exit_codes() {
        let help = Cli::command().render_long_help().to_string();
        for word in ["demo", "serve", "run", "bench", "show", "tasks", "cancel", "agents", "tree", "69 server"] {
            assert!(help.contains(word), "{word}");
        }
    }
}
