//! What the settings mean: each text becomes a value of its type within its bounds, or a problem that says what is wrong
//! and what to write. All are looked at, so that all problems are told at once.

mod models;
mod redis;
mod roles;

use super::names::find;
use super::problem::{Problem, SettingsError, Source};
use super::sources::{Overrides, Sources};
use super::store_url;
use super::{HttpLimits, MasterMode, Roles, Settings, StoreUrl};
use crate::http::ApiKeys;
use crate::store::{Durability, Retention};
use crate::task::Limits;
use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Reads the settings: defaults, the file, the environment (`CALLBOARD_*` and the predecessor's names), then what the
/// command line chose.
///
/// # Errors
/// [`SettingsError`] with everything that is wrong, before anything has been started.
pub fn load(
    file: Option<&Path>,
    environment: &HashMap<String, String>,
    overrides: &Overrides,
) -> Result<Settings, SettingsError> {
    survey(file, environment, overrides).settings
}

/// The settings with where each comes from.
#[derive(Debug)]
pub struct Survey {
    /// Every setting that has a value, by name.
    pub values: Vec<Shown>,
    /// What they mean, when they can be used.
    pub settings: Result<Settings, SettingsError>,
}

/// A setting as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Its value as text; stars where it is a secret.
    pub value: String,
    /// Where it stands.
    pub source: Source,
}

/// The same as [`load`], with where each value comes from.
pub fn survey(file: Option<&Path>, environment: &HashMap<String, String>, overrides: &Overrides) -> Survey {
    let sources = Sources::gather(file, environment, overrides);
    let shown = |(name, found): (&&'static str, &super::sources::Found)| {
        let is_secret = find(name).is_some_and(|setting| setting.is_secret) && !found.text.is_empty();
        let value = match *name {
            _ if is_secret => "***".to_owned(),
            "store" => store_url::shown(&found.text),
            _ => without_user(&found.text),
        };
        Shown { name, value, source: found.source.clone() }
    };
    let values = sources.found.iter().map(shown).collect();
    let mut reading = Reading { sources };
    let settings = reading.settings();
    let problems = reading.sources.problems;
    let settings = match settings {
        Ok(settings) if problems.is_empty() => Ok(settings),
        _ => Err(SettingsError { problems }),
    };
    Survey { values, settings }
}

/// A value without the user parts of the URLs in it, in which tokens may ride.
fn without_user(text: &str) -> String {
    let place = |part: &str| match part.split_once("://") {
        Some((scheme, rest)) if rest.contains('@') => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
            format!("{scheme}://{rest}")
        }
        _ => part.to_owned(),
    };
    text.split(',').map(place).collect::<Vec<_>>().join(",")
}

/// The deepest JSON that may be taken: what is built around it must stay below the 128 levels at which its readers stop.
const MAX_JSON_DEPTH: usize = 120;

/// The problem has been noted.
#[derive(Debug)]
struct Noted;

/// The sources, while they are read.
struct Reading {
    sources: Sources,
}

impl Reading {
    fn text(&self, name: &str) -> &str {
        self.sources.found.get(name).map_or("", |found| found.text.as_str())
    }

    fn wrong(&mut self, name: &str, fault: impl Into<String>) {
        let source = self.sources.found.get(name).map_or(Source::Default, |found| found.source.clone());
        self.sources.problems.push(Problem { setting: Some(name.to_owned()), source, fault: fault.into() });
    }

    /// A setting's value; what is wrong with it is noted.
    fn value<T>(&mut self, name: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Noted> {
        read(self.text(name)).map_err(|fault| {
            self.wrong(name, fault);
            Noted
        })
    }

    fn parsed<T: FromStr<Err: Display>>(&mut self, name: &'static str) -> Result<T, Noted> {
        self.value(name, |text| text.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// A whole number of at least `least`.
    fn number<T: FromStr + PartialOrd + Display>(&mut self, name: &'static str, least: T) -> Result<T, Noted> {
        self.value(name, |text| {
            let number = text.trim().parse().ok().filter(|number| *number >= least);
            number.ok_or_else(|| format!("{text:?} is no whole number of at least {least}, or too large"))
        })
    }

    fn duration(&mut self, name: &'static str, least: Duration) -> Result<Duration, Noted> {
        self.value(name, |text| duration(text, least))
    }

    fn settings(&mut self) -> Result<Settings, Noted> {
        // Each is read before any is missed, so that every problem is noted.
        let roles = self.parsed::<Roles>("role");
        let listen = self.listen(&roles);
        let colleagues = self.colleagues(&roles);
        let crew = self.crew();
        let master_mode = self.parsed::<MasterMode>("master_mode");
        let api_keys = self.value("api_keys", keys);
        let models = self.models(roles.as_ref().is_ok_and(|roles| roles.gateway));
        let store = self.parsed::<StoreUrl>("store").and_then(|store| self.redis(store));
        let redis_start_wait = self.duration("redis_start_wait", Duration::ZERO);
        let durability = self.value("durability", durability);
        let task_wait = self.value("task_wait", wait);
        let slots = self.number("slots", 1_u32);
        let limits = self.limits();
        let heartbeat_ttl = self.duration("heartbeat_ttl", Duration::from_secs(3));
        let stall_timeout = self.duration("stall_timeout", Duration::from_secs(1));
        let max_open_tasks = self.number("max_open_tasks", 0_u64);
        let cached_tasks = self.parsed_number("cached_tasks");
        let retention = self.retention();
        let drain_grace = self.duration("drain_grace", Duration::ZERO);
        let frozen_exit = self.value("frozen_exit", |text| match text {
            "never" => Ok(None),
            other => duration(other, Duration::ZERO).map(Some),
        });
        let http_workers = self.parsed_number("http_workers");
        let http = self.http();
        let (docs, team) = (self.path("docs"), self.path("team"));
        if let (Ok(listen), Ok(roles), Ok(colleagues)) = (&listen, &roles, &colleagues)
            && !listen.ip().is_loopback()
            && !colleagues.insecure
        {
            if roles.master && matches!(api_keys, Ok(None)) {
                self.wrong("listen", open(*listen));
            }
            // A whole Callboard in one process has no colleagues: its edges stay closed.
            if *roles != Roles::ALL && colleagues.token.is_none() {
                self.wrong("listen", unguarded(*listen));
            }
        }
        let (store, redis) = store?;
        Ok(Settings {
            roles: roles?,
            colleagues: colleagues?,
            crew: crew?,
            master_mode: master_mode?,
            listen: listen?,
            store,
            redis,
            redis_start_wait: redis_start_wait?,
            durability: durability?,
            docs,
            team,
            models: models?,
            task_wait: task_wait?,
            api_keys: api_keys?,
            slots: slots?,
            limits: limits?,
            heartbeat_ttl: heartbeat_ttl?,
            stall_timeout: stall_timeout?,
            max_open_tasks: max_open_tasks?,
            cached_tasks: cached_tasks?,
            retention: retention?,
            drain_grace: drain_grace?,
            frozen_exit: frozen_exit?,
            http_workers: http_workers?,
            http: http?,
            log: self.text("log").to_owned(),
        })
    }

    /// A path; none when nobody chose one, or chose none.
    fn path(&self, name: &'static str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from)
    }

    fn parsed_number(&mut self, name: &'static str) -> Result<std::num::NonZeroUsize, Noted> {
        let number = self.number(name, 1_usize)?;
        Ok(std::num::NonZeroUsize::new(number).unwrap_or(std::num::NonZeroUsize::MIN))
    }

    fn limits(&mut self) -> Result<Limits, Noted> {
        let max_attempts = self.number("max_attempts", 1_u32);
        let max_crashes = self.number("max_crashes", 1_u32);
        let max_losses = self.number("max_losses", 1_u32);
        let timeout = self.duration("step_timeout", Duration::from_millis(1));
        let (pause, cap) =
            (self.duration("retry_pause", Duration::ZERO), self.duration("retry_pause_cap", Duration::ZERO));
        let no_agent_timeout = self.duration("no_agent_timeout", Duration::ZERO);
        Ok(Limits {
            max_attempts: max_attempts?,
            max_crashes: max_crashes?,
            max_losses: max_losses?,
            timeout_ms: ms(timeout?),
            backoff_ms: ms(pause?),
            backoff_cap_ms: ms(cap?),
            no_agent_timeout_ms: ms(no_agent_timeout?),
        })
    }

    fn http(&mut self) -> Result<HttpLimits, Noted> {
        let max_connections = self.parsed_number("max_connections");
        let max_watchers = self.number("max_watchers", 0_usize);
        // Below that no task can be handed in.
        let max_body_bytes = self.number("max_body_bytes", 1024_usize);
        let max_json_depth = self.value("max_json_depth", |text| {
            // What reads the stored JSON stops at 128 levels.
            let depth = text.trim().parse().ok().filter(|depth| (2..=MAX_JSON_DEPTH).contains(depth));
            depth.ok_or_else(|| format!("{text:?} is no whole number from 2 to {MAX_JSON_DEPTH}"))
        });
        let head_timeout = self.duration("head_timeout", Duration::from_secs(1));
        let body_timeout = self.duration("body_timeout", Duration::from_secs(1));
        let keep_alive = self.duration("keep_alive", Duration::from_secs(1));
        Ok(HttpLimits {
            max_connections: max_connections?,
            max_watchers: max_watchers?,
            max_body_bytes: max_body_bytes?,
            max_json_depth: max_json_depth?,
            head_timeout: head_timeout?,
            body_timeout: body_timeout?,
            keep_alive: keep_alive?,
        })
    }

    fn retention(&mut self) -> Result<Retention, Noted> {
        // A client that waits for a task must get to read its answer.
        let age = self.value("retain_for", |text| match text {
            "off" => Ok(None),
            other => duration(other, Duration::from_secs(60)).map(Some).map_err(|fault| format!("{fault}, or off")),
        });
        let count = self.value("retain_tasks", |text| match text {
            "off" => Ok(None),
            other => {
                let count = other.parse().ok().filter(|count| *count > 0_u64).map(Some);
                count.ok_or_else(|| format!("{other:?} is no number of tasks: write for example 100000, or off"))
            }
        });
        Ok(Retention { age: age?, count: count? })
    }
}

// === Texts to values ===

fn address(text: &str) -> Result<SocketAddr, String> {
    let wrong = |_| format!("{text:?} is no address: write for example 127.0.0.1:8000, [::1]:8000 or 0.0.0.0:8000");
    text.parse().map_err(wrong)
}

fn open(listen: SocketAddr) -> String {
    format!(
        "the listener {listen} can be reached from other machines: set CALLBOARD_API_KEYS=key=tenant,… so that callers \
         must show a key, listen on 127.0.0.1, or say --insecure to let everybody in"
    )
}

fn unguarded(listen: SocketAddr) -> String {
    format!(
        "the listener {listen} can be reached from other machines: set CALLBOARD_INTERNAL_TOKEN to the same secret on \
         all processes, so that they know each other, listen on 127.0.0.1, or say --insecure to let everybody in"
    )
}

/// A length of time that may be a bare number of seconds, as the predecessor writes it.
fn seconds_or_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match seconds {
        Some(Duration::ZERO) => Err("it must be more than nothing".to_owned()),
        Some(seconds) => Ok(seconds),
        None => duration(text, Duration::from_millis(1)),
    }
}

fn keys(text: &str) -> Result<Option<ApiKeys>, String> {
    if text.trim().is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some).map_err(|wrong: crate::http::InvalidKeys| wrong.to_string())
    }
}

fn choice(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn durability(text: &str) -> Result<Durability, String> {
    match text {
        "relaxed" => Ok(Durability::Relaxed),
        "strict" => Ok(Durability::Strict),
        other => Err(format!("there is no durability {other:?}: use relaxed or strict")),
    }
}

fn wait(text: &str) -> Result<Duration, String> {
    let seconds = text.trim().parse().ok().filter(|seconds: &f64| (0.0..=300.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("{text:?} is not between 0 and 300 seconds"))
}

/// A length of time of at least `least`, such as `250ms`; else what is wrong with it, and the remedy.
pub(crate) fn duration(text: &str, least: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{text:?} is no duration ({error}): write for example 250ms, 30s or 5m"))?;
    if duration < least {
        return Err(format!("{text} is less than {}", humantime::format_duration(least)));
    }
    Ok(duration)
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
