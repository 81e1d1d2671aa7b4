//! The process's variables, read once, and the settings that come out of them, the file and the flags. Which variables
//! are settings is the settings' business; the ones that only clients read are read here.

use super::exit::Exit;
use callboard::settings::{Overrides, Settings, Survey, load, survey};
use callboard::telemetry::{LogForm, LogGuard, start_log};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What the log shows of commands that end by themselves, when nobody chose.
const QUIET: &str = "warn";

/// The variables of the process, and its log once that has been started.
#[derive(Debug, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    /// Dropped with this, at the very end, when it writes out what it still holds.
    log: OnceCell<LogGuard>,
}

/// How talkative the log is when nobody chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    /// As the settings' default says.
    Usual,
    /// Warnings and errors.
    Quiet,
}

impl Environment {
    /// Those of this process. What is not Unicode names no setting.
    pub fn of_process() -> Self {
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(unicode).collect(), log: OnceCell::new() }
    }

    /// A variable, when it says anything.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The settings with where each comes from, usable or not.
    pub fn survey(&self, config: Option<&Path>, overrides: &Overrides) -> Survey {
        survey(self.file(config).as_deref(), &self.variables, overrides)
    }

    fn file(&self, config: Option<&Path>) -> Option<PathBuf> {
        config.map(Path::to_owned).or_else(|| self.get("CALLBOARD_CONFIG").map(PathBuf::from))
    }

    /// The settings. Starts the log, too: from here on there is one.
    pub fn settings(&self, config: Option<&Path>, overrides: &Overrides, talk: Talk) -> Result<Settings, Exit> {
        let mut settings = load(self.file(config).as_deref(), &self.variables, overrides)?;
        let is_chosen = self.get("CALLBOARD_LOG").is_some() || overrides.iter().any(|(name, _)| *name == "log");
        if talk == Talk::Quiet && !is_chosen && settings.log == "info" {
            settings.log = QUIET.to_owned();
        }
        // Whoever asks one question reads standard error, wherever it goes.
        let is_for_people = talk == Talk::Quiet || std::io::stderr().is_terminal();
        let form = if is_for_people { LogForm::Plain } else { LogForm::Json };
        let guard = start_log(&settings.log, form).map_err(|error| {
            let message = format!(
                "setting log: {:?} is no filter ({error}): write for example info or callboard=debug",
                settings.log
            );
            Exit::new(super::exit::Code::Settings, message)
        })?;
        // The first log stays, and so does its guard.
        let _ = self.log.set(guard);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_commands_are_quiet_unless_somebody_chose() {
        let log = |variable: Option<&str>, flag: Option<&str>, talk| {
            let variables = variable.map(|value| ("CALLBOARD_LOG".to_owned(), value.to_owned()));
            let flags: Overrides = flag.map(|value| ("log", value.to_owned())).into_iter().collect();
            Environment { variables: variables.into_iter().collect(), ..Environment::default() }
                .settings(None, &flags, talk)
                .unwrap()
                .log
        };
        assert_eq!(log(None, None, Talk::Quiet), "warn");
        assert_eq!(log(None, None, Talk::Usual), "info");
        assert_eq!(log(Some("info"), None, Talk::Quiet), "info");
        assert_eq!(log(None, Some("error"), Talk::Quiet), "error");
    }

    #[test]
    fn a_bad_filter_is_a_bad_setting() {
        let exit = Environment::default().settings(None, &vec![("log", "a=b=c".into())], Talk::Quiet).unwrap_err();
        assert_eq!(exit.code as u8, 64);
        assert!(exit.message.contains("setting log"), "{}", exit.message);
    }
}
