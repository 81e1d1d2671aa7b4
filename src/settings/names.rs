//! The settings by name, each with its default as text. A name here is a key of the file, a variable
//! (`CALLBOARD_` and the name in capitals), and an override of the command line.

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its default; none when nothing stands for it.
    pub default: Option<&'static str>,
    /// It holds what nobody may see.
    pub is_secret: bool,
}

const fn setting(name: &'static str, default: &'static str) -> Setting {
    Setting { name, default: Some(default), is_secret: false }
}

const fn optional(name: &'static str) -> Setting {
    Setting { name, default: None, is_secret: false }
}

/// All of them.
pub const SETTINGS: [Setting; 78] = [
    setting("listen", "127.0.0.1:8000"),
    setting("store", "sqlite:./callboard.db"),
    setting("durability", "relaxed"),
    optional("redis_host"),
    setting("redis_port", "6379"),
    optional("redis_username"),
    Setting { name: "redis_password", default: None, is_secret: true },
    setting("redis_tls", "false"),
    optional("redis_ca"),
    setting("redis_database", "0"),
    setting("redis_prefix", "callboard:"),
    setting("redis_pool", "8"),
    setting("redis_timeout", "2s"),
    setting("redis_start_wait", "30s"),
    setting("redis_wait_replicas", "0"),
    setting("predecessor_keys", "true"),
    setting("predecessor_ttl", "7days"),
    setting("role", "all"),
    setting("master_mode", "pipeline"),
    setting("master_url", ""),
    setting("callback_url", ""),
    setting("gateway_url", ""),
    setting("gateway_timeout", "60s"),
    setting("public_url", ""),
    Setting { name: "internal_token", default: Some(""), is_secret: true },
    setting("worker_networks", "any"),
    setting("agent_id", ""),
    setting("capabilities", ""),
    setting("ag2_profile", ""),
    setting("prompt_path", ""),
    optional("docs"),
    optional("team"),
    setting("provider", "extractive"),
    setting("fallback", ""),
    setting("fallback_refused", "false"),
    setting("openai_url", "https://api.openai.com/v1"),
    Setting { name: "openai_key", default: Some(""), is_secret: true },
    setting("openai_model", ""),
    setting("openai_embedding_model", ""),
    setting("openai_quirks", ""),
    setting("gemini_url", "https://generativelanguage.googleapis.com"),
    Setting { name: "gemini_key", default: Some(""), is_secret: true },
    setting("gemini_model", "gemini-2.5-flash"),
    setting("gemini_embedding_model", "gemini-embedding-001"),
    setting("model_tries", "3"),
    setting("model_silence", "2m"),
    setting("model_concurrency", "64"),
    setting("model_queue", "1000"),
    setting("mock_latency", "0ms"),
    setting("mock_script", ""),
    setting("task_wait", "0"),
    Setting { name: "api_keys", default: Some(""), is_secret: true },
    setting("insecure", "false"),
    setting("slots", "4"),
    setting("max_attempts", "3"),
    setting("max_crashes", "3"),
    setting("max_losses", "50"),
    setting("step_timeout", "15m"),
    setting("retry_pause", "500ms"),
    setting("retry_pause_cap", "30s"),
    setting("no_agent_timeout", "5m"),
    setting("heartbeat_ttl", "30s"),
    setting("stall_timeout", "2m"),
    setting("max_open_tasks", "200000"),
    setting("cached_tasks", "10000"),
    setting("retain_for", "off"),
    setting("retain_tasks", "off"),
    setting("drain_grace", "20s"),
    setting("frozen_exit", "60s"),
    setting("http_workers", "1"),
    setting("max_connections", "10000"),
    setting("max_watchers", "10000"),
    setting("max_body_bytes", "2097152"),
    setting("max_json_depth", "100"),
    setting("head_timeout", "10s"),
    setting("body_timeout", "60s"),
    setting("keep_alive", "75s"),
    setting("log", "info"),
];

/// The setting of this name.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// How alike two names must be for one to be taken for the other, mistyped.
const ALIKE: f64 = 0.6;

/// The name among these that is most like a mistyped one; none when none is like it.
pub fn nearest<'a>(mistyped: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |name| (strsim::normalized_damerau_levenshtein(mistyped, name), name);
    let alike = names.into_iter().map(alike).filter(|(score, _)| *score >= ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_has_none() {
        let near = |name| nearest(name, SETTINGS.iter().map(|setting| setting.name));
        assert_eq!(near("slotz"), Some("slots"));
        assert_eq!(near("lisen"), Some("listen"));
        assert_eq!(near("max_attemps"), Some("max_attempts"));
        assert_eq!(near("retain-for"), Some("retain_for"));
        assert_eq!(near("frobnicate"), None);
    }
}
