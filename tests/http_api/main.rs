//! The public API over a real socket: every route and every refusal, with a store in memory and a small master that
//! commits what the core decides. Agents are played by the tests, so that nothing here waits for a model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod events;
mod fixture;
mod master;
mod operate;
mod read;
mod refuse;
mod submit;
