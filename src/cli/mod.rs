//! The command line: one file per command, and what they share. A command reads its arguments, does its work through the
//! library or the HTTP API, and says how it ended as an [`exit::Outcome`].
//!
//! | file | what it holds |
//! |---|---|
//! | `args` | what can be typed |
//! | `environment` | what the variables say, and the settings that come out of both |
//! | `exit` | the exit codes |
//! | `demo`, `run`, `bench` | commands that host everything themselves (`host`) |
//! | `serve` | the command that stays |
//! | `show`, `tasks`, `events`, `cancel`, `agents`, `tree` | clients of a server |
//! | `export`, `import`, `gc` | work on a store that no server has open (`store`) |
//! | `check` | what a server would need, tried |
//! | `team` | a team's file: written, checked, shown |
//! | `completions` | for shells |
//! | `client`, `sse`, `wire`, `follow` | how the API is spoken |
//! | `ask`, `progress`, `answer` | one question: handing it in, watching it, showing the answer |
//! | `output`, `clean`, `table` | how things are printed |
//! | `split` | a split system as processes of this machine |
//! | `signals` | Ctrl-C and SIGTERM |

pub mod agents;
pub mod args;
pub mod bench;
pub mod cancel;
pub mod check;
pub mod completions;
pub mod demo;
pub mod environment;
pub mod events;
pub mod exit;
pub mod export;
pub mod gc;
pub mod import;
pub mod run;
pub mod serve;
pub mod show;
pub mod tasks;
pub mod team;
pub mod tree;

mod answer;
mod ask;
mod clean;
mod client;
mod follow;
mod host;
mod output;
mod progress;
mod signals;
mod split;
mod sse;
mod store;
mod table;
mod wire;
