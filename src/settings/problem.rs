//! What is wrong with the settings: all of it at once, each problem with where it stands and what to do about it.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Nobody chose.
    Default,
    /// The file, at this line, from 1.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// One thing that is wrong. Neither text shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting, or none where the file itself is at fault.
    pub setting: Option<String>,
    /// Where its value stands.
    pub source: Source,
    /// What is wrong, and the remedy.
    pub fault: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.setting, &self.source) {
            (Some(name), Source::Flag) => write!(f, "setting {name} (on the command line): {}", self.fault),
            (Some(name), Source::Default) => write!(f, "setting {name}: {}", self.fault),
            (Some(name), source) => write!(f, "setting {name} ({source}): {}", self.fault),
            (None, source) => write!(f, "{source}: {}", self.fault),
        }
    }
}

/// Why settings cannot be used: at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// All of them.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problems[..] {
            [only] => only.fmt(f),
            several => {
                write!(f, "{} settings cannot be used:", several.len())?;
                several.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for SettingsError {}
