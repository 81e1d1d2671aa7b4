//! Callboard runs teams of LLM agents as supervised actors over a durable task store.
//!
//! | room | what it holds |
//! |---|---|
//! | [`task`] | the pure core: a task's life as a state machine |
//! | [`messages`] | every typed message between actors |
//! | [`store`] | the only memory: memory, SQLite |
//! | [`llm`] | the models: one file per provider |
//! | [`agents`] | what an agent does for a capability |
//! | [`actors`] | the actors, and what holds them up |
//! | [`http`] | the public API |
//! | [`node`] | one process: what starts, in which order, and how it ends |
//! | [`settings`] | everything that can be chosen |
//! | [`telemetry`] | log and metrics |
//! | `text` | words, sentences and Markdown, for searching and quoting |
//!
//! Dependencies point one way: `task` knows nobody; `messages` knows `task`; `store`, `llm` and `agents` know those;
//! `actors` know them; `http` knows `messages`, the actors' references and the store's reading side; `node` knows all.
//!
//! The library is what the program `callboard` is made of, and can be run inside another program:
//!
//! ```
//! use callboard::actors::run;
//! use callboard::messages::{CallContext, Submit};
//! use callboard::node::{Callboard, Serve, default_team};
//! use callboard::settings::load;
//! use callboard::task::{Json, Options, Request, Status, Submission, TaskId, TaskKey, Tenant};
//! use std::{collections::HashMap, time::Duration};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let choices = vec![("store", "memory:".to_owned()), ("provider", "mock".to_owned())];
//! let settings = load(None, &HashMap::new(), &choices)?;
//! run(async {
//!     let callboard = Callboard::start(&settings, default_team(&settings)?, Serve::Nothing).await?;
//!     let submission = Submission {
//!         key: TaskKey { tenant: Tenant::default(), id: TaskId::parse("first")? },
//!         id_given: true,
//!         idempotency_key: None,
//!         request: Request { objective: "why?".into(), context: Json::from_text("{}".to_owned())? },
//!         options: Options::default(),
//!     };
//!     let patience = Duration::from_secs(30);
//!     let taken = callboard.submit().ask(Submit(submission), CallContext::default(), patience).await??;
//!     let key = taken.task.key.clone();
//!     let mut wake = callboard.store().wake(&key);
//!     let task = loop {
//!         // Read first: what happened before `wake` was made does not wake.
//!         let task = callboard.store().load(&key).await?.ok_or("it is gone")?;
//!         if task.end.is_some() {
//!             break task;
//!         }
//!         wake.changed().await?;
//!     };
//!     assert_eq!(task.status(), Status::Succeeded);
//!     callboard.stop(patience).await?;
//!     Ok(())
//! })?
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod actors;
pub mod agents;
pub mod http;
pub mod llm;
pub mod messages;
pub mod node;
pub mod settings;
pub mod store;
pub mod task;
pub mod telemetry;
mod text;
