//! How the program ends: the exit codes, each with what scripts may conclude from it. Nothing here ends the process;
//! `main` does.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | the task failed, or whatever has no code of its own |
//! | 2 | the command line cannot be read |
//! | 3 | there is no such task |
//! | 4 | the task was cancelled |
//! | 64 | a setting is wrong; nothing was started |
//! | 69 | the server cannot be reached, or the store or the address is taken |
//! | 70 | a fault of this program |
//! | 130, 143 | ended at once by a second Ctrl-C or SIGTERM |

use super::client::ClientError;
use super::output::note;
use callboard::node::StartError;
use callboard::settings::SettingsError;
use std::process::ExitCode;

/// How a command ended.
pub type Outcome = Result<(), Exit>;

/// An exit code other than 0 and the clap's own 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The task failed, or whatever has no code of its own.
    Failure = 1,
    /// No such task.
    NotFound = 3,
    /// The task was cancelled.
    Cancelled = 4,
    /// A setting is wrong.
    Settings = 64,
    /// The server, the store or the address cannot be had.
    Unavailable = 69,
    /// A fault of this program.
    Internal = 70,
}

/// Why the program ends with another code than 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Exit {
    /// For scripts.
    pub code: Code,
    /// For people, on standard error.
    pub message: String,
}

impl Exit {
    /// An end with this code for this reason.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A fault of this program.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(Code::Internal, error.to_string())
    }
}

/// Says on standard error what went wrong, and gives the process's exit code.
pub fn report(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            note(&format!("error: {}", exit.message));
            ExitCode::from(exit.code as u8)
        }
    }
}

// === From the errors of others ===

impl From<SettingsError> for Exit {
    fn from(error: SettingsError) -> Self {
        Self::new(Code::Settings, error.to_string())
    }
}

impl From<StartError> for Exit {
    fn from(error: StartError) -> Self {
        let code = match error {
            StartError::Team(_) | StartError::Url(_) => Code::Settings,
            StartError::Store(_) | StartError::Listen { .. } => Code::Unavailable,
            StartError::Watchdog(_)
            | StartError::Thread(_)
            | StartError::Client(_)
            | StartError::Models(_)
            | StartError::Agents { .. } => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Settings(_) => Code::Settings,
            ClientError::Unreachable { .. } => Code::Unavailable,
            ClientError::Refused { status: 404, .. } => Code::NotFound,
            ClientError::Refused { status: 503, .. } => Code::Unavailable,
            ClientError::Refused { .. } | ClientError::Strange { .. } => Code::Failure,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16) -> Exit {
        ClientError::Refused { status, message: "no".into() }.into()
    }

    #[test]
    fn scripts_can_tell_the_ends_apart() {
        assert_eq!(refused(404).code as u8, 3);
        assert_eq!(refused(503).code as u8, 69);
        assert_eq!(refused(409).code as u8, 1);
        let taken =
            StartError::Listen { address: ([127, 0, 0, 1], 80).into(), error: std::io::ErrorKind::AddrInUse.into() };
        assert_eq!(Exit::from(taken).code as u8, 69);
        assert_eq!(Exit::from(StartError::Agents { joined: 1, expected: 4 }).code as u8, 70);
        let setting = SettingsError { problems: Vec::new() };
        assert_eq!(Exit::from(setting).code as u8, 64);
    }
}
