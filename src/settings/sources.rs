//! Where settings come from, and how raw values become checked ones. What is wrong is told with the setting's name, the
//! value's fault and the remedy.

use super::{Settings, StoreUrl};
use crate::http::ApiKeys;
use crate::llm::{MockSettings, ProviderKind};
use crate::store::Durability;
use crate::task::Limits;
use config::{Config, File, FileFormat};
use serde::Deserialize;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The sources do not have the right form.
    #[error("the settings cannot be read: {0}")]
    Form(#[from] config::ConfigError),
    /// One setting's value is wrong.
    #[error("setting {name}: {fault}")]
    Value {
        /// Which.
        name: &'static str,
        /// What is wrong, and the remedy.
        fault: String,
    },
    /// What is asked for does not exist yet.
    #[error("{0}")]
    NotYet(&'static str),
    /// The world could call, and nothing says who may.
    #[error(
        "the listener {0} can be reached from other machines: set CALLBOARD_API_KEYS=key=tenant,… so that callers must \
         show a key, listen on 127.0.0.1, or say --insecure to let everybody in"
    )]
    Open(SocketAddr),
}

/// What the command line chose: setting names with their values as text.
pub type Overrides = Vec<(&'static str, String)>;

/// The settings as their sources write them: text and numbers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    listen: String,
    store: String,
    durability: String,
    role: String,
    docs: Option<PathBuf>,
    provider: String,
    mock_latency: String,
    mock_script: String,
    task_wait: f64,
    api_keys: String,
    insecure: bool,
    slots: NonZeroU32,
    max_attempts: NonZeroU32,
    max_crashes: NonZeroU32,
    max_losses: NonZeroU32,
    step_timeout: String,
    retry_pause: String,
    retry_pause_cap: String,
    no_agent_timeout: String,
    heartbeat_ttl: String,
    stall_timeout: String,
    max_open_tasks: u64,
    cached_tasks: NonZeroUsize,
    drain_grace: String,
    frozen_exit: String,
    http_workers: NonZeroUsize,
    log: String,
}

/// The defaults, by setting name.
const DEFAULTS: [(&str, &str); 26] = [
    ("listen", "127.0.0.1:8000"),
    ("store", "sqlite:./callboard.db"),
    ("durability", "relaxed"),
    ("role", "all"),
    ("provider", "extractive"),
    ("mock_latency", "0ms"),
    ("mock_script", ""),
    ("task_wait", "0"),
    ("api_keys", ""),
    ("insecure", "false"),
    ("slots", "4"),
    ("max_attempts", "3"),
    ("max_crashes", "3"),
    ("max_losses", "50"),
    ("step_timeout", "15m"),
    ("retry_pause", "500ms"),
    ("retry_pause_cap", "30s"),
    ("no_agent_timeout", "5m"),
    ("heartbeat_ttl", "30s"),
    ("stall_timeout", "2m"),
    ("max_open_tasks", "200000"),
    ("cached_tasks", "10000"),
    ("drain_grace", "20s"),
    ("frozen_exit", "60s"),
    ("http_workers", "1"),
    ("log", "info"),
];

/// Reads the settings: defaults, the file, the environment (`CALLBOARD_*` and the predecessor's names), then what the
/// command line chose.
///
/// # Errors
/// [`SettingsError`], before anything has been started.
pub fn load(
    file: Option<&Path>,
    environment: &HashMap<String, String>,
    overrides: &Overrides,
) -> Result<Settings, SettingsError> {
    let mut sources = Config::builder();
    for (name, value) in DEFAULTS {
        sources = sources.set_default(name, value)?;
    }
    if let Some(file) = file {
        sources = sources.add_source(File::new(&file.to_string_lossy(), FileFormat::Toml));
    }
    if let Some(provider) = environment.get("LLM_PROVIDER") {
        sources = sources.set_override_option("provider", Some(provider.as_str()))?;
    }
    for (name, value) in own(environment) {
        sources = sources.set_override(name, value)?;
    }
    for (name, value) in overrides {
        sources = sources.set_override(*name, value.as_str())?;
    }
    let config = sources.build()?;
    refuse_what_is_not_there(environment, &config)?;
    check(config.try_deserialize()?)
}

/// The `CALLBOARD_*` variables that name settings.
fn own(environment: &HashMap<String, String>) -> Vec<(String, String)> {
    // Variables that are read elsewhere.
    const OTHERS: [&str; 3] = ["config", "server", "api_key"];
    let named = environment.iter().filter_map(|(name, value)| Some((name.strip_prefix("CALLBOARD_")?, value)));
    let mut own: Vec<_> = named.map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
    // What container platforms set for a service of that name.
    let is_platforms = |name: &str| name == "port" || name.starts_with("port_") || name.starts_with("service_");
    own.retain(|(name, _)| !OTHERS.contains(&name.as_str()) && !is_platforms(name));
    own.sort();
    own
}

fn refuse_what_is_not_there(environment: &HashMap<String, String>, config: &Config) -> Result<(), SettingsError> {
    match environment.get("MASTER_MODE").map(String::as_str) {
        None | Some("" | "pipeline") => {}
        Some("routing") => {
            return Err(SettingsError::NotYet(
                "MASTER_MODE=routing is not there yet: unset it, or set MASTER_MODE=pipeline",
            ));
        }
        Some(other) => {
            let fault = format!("there is no mode {other:?}: use pipeline");
            return Err(SettingsError::Value { name: "MASTER_MODE", fault });
        }
    }
    let is_redis = environment.get("REDIS_HOST").is_some_and(|host| !host.is_empty());
    let store_is_chosen = config.get_string("store").is_ok_and(|store| store != default_of("store"));
    if is_redis && !store_is_chosen {
        return Err(SettingsError::NotYet(
            "REDIS_HOST asks for the Redis store, which is not there yet: unset it, or choose --store sqlite:PATH",
        ));
    }
    Ok(())
}

fn default_of(name: &str) -> &'static str {
    DEFAULTS.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
}

fn check(raw: Raw) -> Result<Settings, SettingsError> {
    let listen: SocketAddr = parsed("listen", &raw.listen)?;
    if raw.role != "all" {
        let fault = format!("there is no role {:?}: only `all` is there yet", raw.role);
        return Err(SettingsError::Value { name: "role", fault });
    }
    if !raw.task_wait.is_finite() || !(0.0..=300.0).contains(&raw.task_wait) {
        let fault = format!("{} is not between 0 and 300 seconds", raw.task_wait);
        return Err(SettingsError::Value { name: "task_wait", fault });
    }
    let api_keys: Option<ApiKeys> =
        if raw.api_keys.trim().is_empty() { None } else { Some(parsed("api_keys", &raw.api_keys)?) };
    if !listen.ip().is_loopback() && api_keys.is_none() && !raw.insecure {
        return Err(SettingsError::Open(listen));
    }
    let mock = MockSettings::from_text(&raw.mock_latency, &raw.mock_script)
        .map_err(|error| SettingsError::Value { name: "mock_latency or mock_script", fault: error.to_string() })?;
    let frozen_exit = if raw.frozen_exit == "never" { None } else { Some(duration("frozen_exit", &raw.frozen_exit)?) };
    Ok(Settings {
        limits: limits(&raw)?,
        listen,
        store: parsed::<StoreUrl>("store", &raw.store)?,
        durability: durability(&raw.durability)?,
        docs: raw.docs.filter(|docs| !docs.as_os_str().is_empty()),
        provider: parsed::<ProviderKind>("provider", &raw.provider)?,
        mock,
        task_wait: Duration::from_secs_f64(raw.task_wait),
        api_keys,
        slots: raw.slots.get(),
        heartbeat_ttl: at_least("heartbeat_ttl", &raw.heartbeat_ttl, Duration::from_secs(3))?,
        stall_timeout: at_least("stall_timeout", &raw.stall_timeout, Duration::from_secs(1))?,
        max_open_tasks: raw.max_open_tasks,
        cached_tasks: raw.cached_tasks,
        drain_grace: duration("drain_grace", &raw.drain_grace)?,
        frozen_exit,
        http_workers: raw.http_workers,
        log: raw.log,
    })
}

fn durability(text: &str) -> Result<Durability, SettingsError> {
    match text {
        "relaxed" => Ok(Durability::Relaxed),
        "strict" => Ok(Durability::Strict),
        other => Err(SettingsError::Value {
            name: "durability",
            fault: format!("there is no durability {other:?}: use relaxed or strict"),
        }),
    }
}

fn limits(raw: &Raw) -> Result<Limits, SettingsError> {
    Ok(Limits {
        max_attempts: raw.max_attempts.get(),
        max_crashes: raw.max_crashes.get(),
        max_losses: raw.max_losses.get(),
        timeout_ms: ms(at_least("step_timeout", &raw.step_timeout, Duration::from_millis(1))?),
        backoff_ms: ms(duration("retry_pause", &raw.retry_pause)?),
        backoff_cap_ms: ms(duration("retry_pause_cap", &raw.retry_pause_cap)?),
        no_agent_timeout_ms: ms(duration("no_agent_timeout", &raw.no_agent_timeout)?),
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &'static str, text: &str) -> Result<T, SettingsError> {
    text.parse().map_err(|error: T::Err| SettingsError::Value { name, fault: error.to_string() })
}

fn duration(name: &'static str, text: &str) -> Result<Duration, SettingsError> {
    humantime::parse_duration(text).map_err(|error| SettingsError::Value {
        name,
        fault: format!("{text:?} is no duration ({error}): write for example 250ms, 30s or 5m"),
    })
}

fn at_least(name: &'static str, text: &str, least: Duration) -> Result<Duration, SettingsError> {
    let duration = duration(name, text)?;
    if duration < least {
        let fault = format!("{text} is less than {}", humantime::format_duration(least));
        return Err(SettingsError::Value { name, fault });
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(entries: &[(&str, &str)]) -> HashMap<String, String> {
        entries.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn refusal(entries: &[(&str, &str)]) -> String {
        load(None, &environment(entries), &Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_need_nothing() {
        let settings = load(None, &HashMap::new(), &Vec::new()).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(settings.store.to_string(), "sqlite:./callboard.db");
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.heartbeat_ttl, Duration::from_secs(30));
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callboard.toml");
        std::fs::write(&file, "slots = 7\nmax_crashes = 20\ntask_wait = 5\n").unwrap();
        let environment =
            environment(&[("CALLBOARD_SLOTS", "8"), ("CALLBOARD_TASK_WAIT", "6"), ("LLM_PROVIDER", "mock")]);
        let flags = vec![("task_wait", "2.5".to_owned())];
        let settings = load(Some(&file), &environment, &flags).unwrap();
        assert_eq!((settings.limits.max_crashes, settings.slots), (20, 8));
        assert_eq!(settings.task_wait, Duration::from_millis(2500));
        assert_eq!(settings.provider, ProviderKind::Mock);
    }

    #[test]
    fn variables_of_a_container_platform_are_no_settings() {
        let set = environment(&[("CALLBOARD_PORT", "tcp://10.0.0.1:8000"), ("CALLBOARD_SERVICE_HOST", "10.0.0.1")]);
        assert!(load(None, &set, &Vec::new()).is_ok());
    }

    #[test]
    fn an_own_variable_wins_over_the_predecessors() {
        let both = environment(&[("LLM_PROVIDER", "mock"), ("CALLBOARD_PROVIDER", "extractive")]);
        assert_eq!(load(None, &both, &Vec::new()).unwrap().provider, ProviderKind::Extractive);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_name_and_a_remedy() {
        assert!(refusal(&[("CALLBOARD_STORE", "redis://x")]).contains("sqlite:PATH"));
        assert!(refusal(&[("CALLBOARD_STEP_TIMEOUT", "soon")]).contains("setting step_timeout"));
        assert!(refusal(&[("CALLBOARD_SLOTZ", "1")]).contains("slotz"));
        assert!(refusal(&[("CALLBOARD_TASK_WAIT", "-1")]).contains("between 0 and 300"));
        assert!(refusal(&[("CALLBOARD_ROLE", "worker")]).contains("only `all`"));
        assert!(refusal(&[("CALLBOARD_MOCK_LATENCY", "5 parsecs")]).contains("mock_latency"));
    }

    #[test]
    fn what_does_not_exist_yet_is_refused_with_a_remedy() {
        assert!(refusal(&[("MASTER_MODE", "routing")]).contains("MASTER_MODE=pipeline"));
        assert!(refusal(&[("REDIS_HOST", "cache")]).contains("--store sqlite:PATH"));
        let chosen = environment(&[("REDIS_HOST", "cache"), ("CALLBOARD_STORE", "memory:")]);
        assert_eq!(load(None, &chosen, &Vec::new()).unwrap().store, StoreUrl::Memory);
    }

    #[test]
    fn an_open_listener_needs_keys_or_the_word() {
        let open = ("CALLBOARD_LISTEN", "0.0.0.0:8000");
        assert!(refusal(&[open]).contains("CALLBOARD_API_KEYS"));
        assert!(load(None, &environment(&[open, ("CALLBOARD_INSECURE", "true")]), &Vec::new()).is_ok());
        let keyed = load(None, &environment(&[open, ("CALLBOARD_API_KEYS", "s3cret=acme")]), &Vec::new()).unwrap();
        assert!(!format!("{keyed:?}").contains("s3cret"));
    }
}
