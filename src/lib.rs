//! Callboard runs teams of LLM agents as supervised actors over a durable task store.
//!
//! | room | what it holds |
//! |---|---|
//! | [`task`] | the pure core: a task's life as a state machine |
//! | [`messages`] | every typed message between actors |
//! | [`store`] | the only memory: memory, SQLite |
//! | [`llm`] | the models: one file per provider, and what every call passes |
//! | [`agents`] | what an agent does for a capability |
//! | [`team`] | who works here and what a task passes: TOML files |
//! | [`actors`] | the actors, and what holds them up |
//! | [`http`] | the public API |
//! | [`node`] | one process: what starts, in which order, and how it ends |
//! | [`settings`] | everything that can be chosen |
//! | [`secret`] | texts that nobody may see |
//! | [`telemetry`] | log and metrics |
//! | [`testkit`] | for testing teams and agents |
//! | `text` | words, sentences and Markdown, for searching and quoting |
//!
//! Dependencies point one way: `task` knows nobody; `messages` knows `task`; `store`, `llm` and `agents` know those;
//! `actors` know them; `http` knows `messages`, the actors' references and the store's reading side; `node` knows all.
//!
//! The library is what the program `callboard` is made of, and can be run inside another program:
//!
//! ```
//! use callboard::actors::run;
//! use callboard::node::{Callboard, Serve};
//! use callboard::settings::Settings;
//! use callboard::team::Team;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Settings::with(&[("store", "memory:"), ("provider", "mock")])?;
//! run(async {
//!     let callboard = Callboard::start(&settings, Team::of(&settings)?, Serve::Nothing).await?;
//!     let answer = callboard.ask("why?").await?;
//!     println!("{answer}");
//!     # assert_eq!(answer.value()["metadata"]["command"], "finalize");
//!     callboard.stop(Duration::from_secs(5)).await?;
//!     Ok(())
//! })?
//! # }
//! ```
//!
//! One's own agent is one type: see [`agents::Agent`], `examples/custom_agent.rs`, and [`testkit`] for testing it.
#![forbid(unsafe_code)]

/// The page's code is compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
mod testing_page {}

/// So is this one's.
#[cfg(doctest)]
#[doc = include_str!("../docs/teams.md")]
mod teams_page {}

pub mod actors;
pub mod agents;
pub mod http;
pub mod llm;
pub mod messages;
pub mod node;
pub mod secret;
pub mod settings;
pub mod store;
pub mod task;
pub mod team;
pub mod telemetry;
pub mod testkit;
mod text;
