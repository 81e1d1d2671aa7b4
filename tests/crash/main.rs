//! Crashes that do not matter: a split system of real processes under load, hurt in every way that can be thought of, and
//! then looked through: what was accepted ended, each result counted once, nothing is left over, nobody is charged for
//! what others suffered.
//!
//! `CALLBOARD_CRASH_ROUNDS` sets how often each injury strikes (2 when unset), `CALLBOARD_CRASH_SEED` with which
//! schedule. Each test prints a line of the table in docs/reliability.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backstage;
mod bad_workers;
mod cast;
mod clocks;
mod failover;
mod kills;
mod load;
mod partitions;
mod pauses;
mod readers;
mod rolling;
mod rounds;
mod soak;
mod storms;
#[path = "../support/mod.rs"]
mod support;
mod truncation;
mod verdict;
mod wire;
