//! An agent of one's own in the default team: a bookkeeper, which adds up the amounts in the passages that the retriever
//! found. It is exact where a model would guess, says what it added, and cites each line.
//!
//! ```sh
//! cargo run --example custom_agent -- "How much did travel cost?"
//! ```

use callboard::actors::run;
use callboard::agents::{Agent, AgentError, BoxFuture, Output, Reading, Think};
use callboard::messages::{Passage, Work};
use callboard::node::{Answer, Callboard, Serve};
use callboard::settings::Settings;
use callboard::task::Json;
use callboard::team::{Team, TeamMember};
use std::error::Error;
use std::time::Duration;

/// The documents that come with this example.
const EXPENSES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/expenses");
/// Shorter words of a question, such as "how" and "much", say nothing about what is asked for.
const LEAST_LETTERS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let question = std::env::args().nth(1).unwrap_or_else(|| "How much did travel cost?".to_owned());
    println!("{}", answer(&question)?);
    Ok(())
}

/// Starts the team in this process, asks it one question, and stops it.
pub fn answer(question: &str) -> Result<Answer, Box<dyn Error>> {
    let settings = Settings::with(&[("store", "memory:"), ("docs", EXPENSES)])?;
    run(async {
        let mut team = Team::of(&settings)?;
        // The bookkeeper evaluates. Without a writer the last stage is skipped, and its sum is the answer.
        team.members.retain(|member| !["evaluate", "finalize"].contains(&member.capabilities[0].as_str()));
        team.members.push(TeamMember::new("bookkeeper", "evaluate", Bookkeeper)?);
        let callboard = Callboard::start(&settings, team, Serve::Nothing).await?;
        let answer = callboard.ask(question).await;
        callboard.stop(Duration::from_secs(5)).await?;
        Ok(answer?)
    })?
}

/// Adds up what was spent on what a question names.
pub struct Bookkeeper;

impl Agent for Bookkeeper {
    fn perform<'a>(&'a self, work: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async move {
            let subjects = subjects(&work.objective);
            if subjects.is_empty() {
                let message =
                    format!("{:?} does not name what was paid for: ask for example what travel cost", work.objective);
                return Err(AgentError::fatal(message));
            }
            let entries: Vec<_> = passages(work).iter().flat_map(|passage| entries(passage, &subjects)).collect();
            let cents: u64 = entries.iter().map(|entry| entry.cents).sum();
            let sources: Vec<_> = entries.iter().map(|entry| entry.source.clone()).collect();
            Output::of(work, "bookkeeper")
                .text(format!("{} in {} entries.", euros(cents), entries.len()))
                .field("cents", cents)
                .citations(&sources)
                .json()
        })
    }
}

/// One line with an amount.
struct Entry {
    cents: u64,
    source: Passage,
}

/// What earlier steps found.
fn passages(work: &Work) -> Vec<Passage> {
    Reading::all(&work.earlier).into_iter().flat_map(|reading| reading.passages).collect()
}

/// The words of a question that say what it is about.
fn subjects(question: &str) -> Vec<String> {
    let words = question.split(|c: char| !c.is_alphabetic()).filter(|word| word.chars().count() >= LEAST_LETTERS);
    words.map(str::to_lowercase).collect()
}

/// The lines of a passage that name a subject and an amount.
fn entries(passage: &Passage, subjects: &[String]) -> Vec<Entry> {
    let lines = (passage.line..).zip(passage.text.lines());
    let asked_for = |line: &str| subjects.iter().any(|subject| line.to_lowercase().contains(subject));
    let entry = |(line, text): (u32, &str)| {
        let cents = cents(text)?;
        Some(Entry { cents, source: Passage { line, text: text.into(), ..passage.clone() } })
    };
    lines.filter(|(_, text)| asked_for(text)).filter_map(entry).collect()
}

/// The amount at the end of a line, such as `EUR 48.20`.
fn cents(line: &str) -> Option<u64> {
    let (_, amount) = line.rsplit_once("EUR ")?;
    let (euros, cents) = amount.trim_end().split_once('.')?;
    Some(euros.parse::<u64>().ok()? * 100 + cents.parse::<u64>().ok().filter(|_| cents.len() == 2)?)
}

fn euros(cents: u64) -> String {
    format!("EUR {}.{:02}", cents / 100, cents % 100)
}
