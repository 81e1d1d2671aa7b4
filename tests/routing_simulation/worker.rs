//! The workers: what each of them truly is, which only the oracle may know.

/// How many steps each does at once.
pub const SLOTS: u32 = 4;
/// How long a step takes on most of them, on average, in milliseconds.
pub const USUAL_MS: f64 = 2_000.0;
/// How long it takes until work that nobody accepts is lost, in milliseconds.
pub const UNANSWERED_MS: u64 = callboard::task::UNACCEPTED_LEASE_MS;

/// One worker.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worker {
    /// How many times longer than usual a step takes.
    pub times_slower: f64,
    /// The share of its steps that fail, each after as long as it would have taken.
    pub failing: f64,
    /// It is reached, and answers nothing.
    pub is_deaf: bool,
}

const SOUND: Worker = Worker { times_slower: 1.0, failing: 0.0, is_deaf: false };

/// One is ten times slower than the others, and one fails half the time.
pub fn mixed() -> Vec<Worker> {
    let mut workers = vec![SOUND; 8];
    workers[2].times_slower = 10.0;
    workers[5].failing = 0.5;
    workers
}

/// One never answers.
pub fn with_a_deaf_one() -> Vec<Worker> {
    let mut workers = vec![SOUND; 8];
    workers[3].is_deaf = true;
    workers
}

impl Worker {
    /// How many steps it gets done in a millisecond, with all its slots.
    pub fn capacity(&self) -> f64 {
        if self.is_deaf { 0.0 } else { f64::from(SLOTS) * (1.0 - self.failing) / (USUAL_MS * self.times_slower) }
    }

    /// How long it takes until a step is done, when what failed is done again here.
    pub fn until_done_ms(&self) -> f64 {
        if self.is_deaf { f64::INFINITY } else { USUAL_MS * self.times_slower / (1.0 - self.failing) }
    }
}
