//! What is wrong with a team's file: all of it at once, each problem with its file and line and what to do about it.

use std::fmt;
use std::sync::Arc;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and the remedy.
    pub fault: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// Why a team cannot be used: at least one problem, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamFileError {
    /// All of them.
    pub problems: Vec<Problem>,
}

impl TeamFileError {
    /// All of these, in order; each once.
    pub(super) fn of(mut problems: Vec<Problem>) -> Self {
        // Those of one file stay together: a prompt's file has lines of its own.
        problems.sort_by(|one, other| (&one.place.file, one.place.line).cmp(&(&other.place.file, other.place.line)));
        problems.dedup();
        Self { problems }
    }
}

impl fmt::Display for TeamFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => only.fmt(f),
            several => {
                write!(f, "{} things are wrong with the team:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for TeamFileError {}
