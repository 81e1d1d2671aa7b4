//! For testing teams and agents: scripted models, a clock that tests move, failures on purpose, and assertions over what
//! happened. Callboard's own tests are made with it; nothing that runs in earnest knows this room.
//!
//! | file | what it holds |
//! |---|---|
//! | `alone` | one agent by itself: [`Alone`], [`work`], [`earlier`], [`passage`] |
//! | `scripted` | a model, or an agent, that does what a script says: [`Scripted`], [`when`], [`always`] |
//! | `company` | a whole Callboard in memory, in a time that passes by itself: [`TestCompany`], [`Company`] |
//! | `clock` | [`TestClock`] |
//! | `faults`, `faulty_store` | a store that fails on purpose: [`StoreFaults`], [`FaultyStore`] |
//! | `log` | assertions over one task: [`Log`], [`StepLog`] |
//! | `audit` | what must hold for a whole store: [`Audit`] |
//!
//! A test of one's own agent in a whole team, without a model, a network or a moment's sleep:
//!
//! ```
//! use callboard::agents::{Agent, AgentError, BoxFuture, Output, Reading, Think};
//! use callboard::messages::Work;
//! use callboard::task::Json;
//! use callboard::testkit::{Scripted, TestCompany, when};
//! use std::time::Duration;
//!
//! struct Shouter;
//!
//! impl Agent for Shouter {
//!     fn perform<'a>(&'a self, work: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
//!         Box::pin(async move {
//!             let answer = Reading::all(&work.earlier).pop().unwrap_or_default();
//!             Output::of(work, "shouter").text(answer.text.to_uppercase()).json()
//!         })
//!     }
//! }
//!
//! let model = Scripted::default()
//!     .line(when("evaluate").nth(1).fails())
//!     .line(when("evaluate").says("forty-two").after(Duration::from_secs(240)));
//! TestCompany::default().model(model).agent("finalize", Shouter).run(async |company| {
//!     let task = company.submit("t-1").await;
//!     assert_eq!(company.answer(&task).await.text(), "FORTY-TWO");
//!     let log = company.log(&task).await;
//!     log.succeeded().step("evaluate").attempts(2).failures(1).no_result_counted_twice().gapless();
//!     company.audit().await.clean();
//! });
//! ```
#![expect(
    clippy::panic,
    clippy::expect_used,
    reason = "what is asserted fails by panicking, and so does a broken set-up"
)]

mod alone;
mod audit;
mod clock;
mod company;
mod faults;
mod faulty_store;
mod log;
mod scripted;

pub use alone::{Alone, earlier, passage, work};
pub use audit::Audit;
pub use clock::TestClock;
pub use company::{Company, PATIENCE, TestCompany};
pub use faults::{Call, Outage, StoreFaults, Trouble};
pub use faulty_store::FaultyStore;
pub use log::{Log, StepLog};
pub use scripted::{Cue, Line, Scripted, always, when};
