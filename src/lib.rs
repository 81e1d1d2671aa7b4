//! Callboard runs teams of LLM agents as supervised actors over a durable task store.
#![forbid(unsafe_code)]

pub mod actors;
pub mod agents;
pub mod http;
pub mod llm;
pub mod messages;
pub mod store;
pub mod task;
pub mod telemetry;
mod text;
