//! Where settings come from: defaults, then the file, then the environment, then flags, each over the one before. Here
//! they are found, as text with where it stands; what they mean is `values`' business.

use super::names::{SETTINGS, find, nearest};
use super::problem::{Problem, Source};
use super::store_url::{RedisUrl, is_host};
use crate::secret;
use config::{Config, File, FileFormat, ValueKind};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The predecessor's variables, and those that every client of OpenAI reads, with the settings that they stand for.
const ALIASES: [(&str, &str); 19] = [
    ("LLM_PROVIDER", "provider"),
    ("GEMINI_API_KEY", "gemini_key"),
    ("GEMINI_MODEL", "gemini_model"),
    ("OPENAI_API_KEY", "openai_key"),
    ("OPENAI_BASE_URL", "openai_url"),
    ("MASTER_MODE", "master_mode"),
    ("MASTER_URL", "master_url"),
    ("CALLBACK_URL", "callback_url"),
    ("PUBLIC_URL", "public_url"),
    ("LLM_GATEWAY_URL", "gateway_url"),
    ("LLM_GATEWAY_TIMEOUT", "gateway_timeout"),
    ("AGENT_ID", "agent_id"),
    ("CAPABILITIES", "capabilities"),
    ("AG2_PROFILE", "ag2_profile"),
    ("PROMPT_PATH", "prompt_path"),
    ("REDIS_HOST", "redis_host"),
    ("REDIS_PORT", "redis_port"),
    ("REDIS_PASSWORD", "redis_password"),
    ("REDIS_TLS", "redis_tls"),
];

/// What the command line chose: setting names with their values as text.
pub type Overrides = Vec<(&'static str, String)>;

/// A setting's value as text, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub text: String,
    pub source: Source,
}

/// The settings as their sources have them.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// By name; a setting without a default that nobody chose is missing.
    pub found: BTreeMap<&'static str, Found>,
    /// What names no setting, or cannot be read.
    pub problems: Vec<Problem>,
}

impl Sources {
    /// Looks everywhere.
    pub fn gather(file: Option<&Path>, environment: &HashMap<String, String>, overrides: &Overrides) -> Self {
        let mut sources = Self::default();
        for setting in SETTINGS {
            if let Some(text) = setting.default {
                sources.put(setting.name, text.to_owned(), Source::Default);
            }
        }
        if let Some(file) = file {
            sources.read_file(file);
        }
        sources.read_aliases(environment);
        sources.read_environment(environment);
        for (name, text) in overrides {
            sources.put(name, text.clone(), Source::Flag);
        }
        sources.let_a_named_redis_be_the_store();
        sources.find_secrets(environment);
        sources
    }

    /// Puts secrets in the place of the words that say where they stand.
    fn find_secrets(&mut self, environment: &HashMap<String, String>) {
        for setting in SETTINGS.iter().filter(|setting| setting.is_secret) {
            let Some(found) = self.found.get_mut(setting.name) else { continue };
            match secret::found(&found.text, environment) {
                Ok(None) => {}
                Ok(Some(value)) => found.text = value,
                Err(error) => {
                    let source = found.source.clone();
                    self.wrong(Some(setting.name), source, error.to_string());
                }
            }
        }
    }

    /// Where nobody chose a store, a Redis server that is named is the one, as it is the predecessor's.
    fn let_a_named_redis_be_the_store(&mut self) {
        let is_chosen = self.found.get("store").is_some_and(|found| found.source != Source::Default);
        let Some(host) = self.found.get("redis_host").filter(|host| !is_chosen && is_host(&host.text)) else { return };
        let (url, source) = (RedisUrl::of_host(host.text.clone()), host.source.clone());
        self.put("store", url.to_string(), source);
    }

    fn put(&mut self, name: &'static str, text: String, source: Source) {
        self.found.insert(name, Found { text, source });
    }

    fn wrong(&mut self, setting: Option<&str>, source: Source, fault: impl Into<String>) {
        self.problems.push(Problem { setting: setting.map(str::to_owned), source, fault: fault.into() });
    }

    // === The file ===

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let fault = format!(
                    "setting config: the file {} cannot be read ({error}): check the path given with --config or \
                     CALLBOARD_CONFIG",
                    path.display()
                );
                return self.wrong(None, Source::File(path.to_owned(), 1), fault);
            }
        };
        let read = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build();
        let table = match read {
            Ok(read) => read.cache.into_table().unwrap_or_default(),
            Err(error) => {
                let (line, fault) = not_toml(&error.to_string());
                return self.wrong(None, Source::File(path.to_owned(), line), fault);
            }
        };
        for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let source = Source::File(path.to_owned(), line_of(&text, &name));
            match (find(&name), as_text(&value.kind)) {
                (Some(setting), Some(text)) => self.put(setting.name, text, source),
                (Some(_), None) => {
                    self.wrong(Some(&name), source, "it is a table or a list: write text, a number, true or false");
                }
                (None, _) => self.unknown(&name, &name, source, |near| near.to_owned()),
            }
        }
    }

    // === The environment ===

    /// The predecessor's variables that name settings.
    fn read_aliases(&mut self, environment: &HashMap<String, String>) {
        for (variable, name) in ALIASES {
            let text = environment.get(variable).filter(|text| !text.is_empty() && !is_of_a_platform(variable, text));
            if let Some(text) = text {
                self.put(name, text.clone(), Source::Variable(variable.to_owned()));
            }
        }
    }

    /// The `CALLBOARD_*` variables that name settings.
    fn read_environment(&mut self, environment: &HashMap<String, String>) {
        // Variables that are read elsewhere.
        const OTHERS: [&str; 3] = ["CALLBOARD_CONFIG", "CALLBOARD_SERVER", "CALLBOARD_API_KEY"];
        let mut variables: Vec<_> = environment.iter().collect();
        variables.sort();
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("CALLBOARD_") else { continue };
            if OTHERS.contains(&variable.as_str()) || is_of_a_platform(name, text) {
                continue;
            }
            let source = Source::Variable(variable.clone());
            let name = name.to_lowercase();
            match find(&name) {
                Some(setting) => self.put(setting.name, text.clone(), source),
                None => {
                    self.unknown(&name, variable, source, |near| format!("CALLBOARD_{}", near.to_uppercase()));
                }
            }
        }
    }

    fn unknown(&mut self, name: &str, shown: &str, source: Source, as_there: impl Fn(&str) -> String) {
        let near = nearest(name, SETTINGS.iter().map(|setting| setting.name)).map(as_there);
        let remedy = near.map_or_else(
            || "remove it; docs/configuration.md lists all that there are".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        self.wrong(None, source, format!("there is no setting {shown:?}: {remedy}"));
    }
}

/// Whether a variable is one of those that container platforms set for each service, named after it: of a service
/// `callboard-redis` there are `CALLBOARD_REDIS_SERVICE_HOST`, `CALLBOARD_REDIS_PORT=tcp://…` and
/// `CALLBOARD_REDIS_PORT_6379_TCP`, among others.
fn is_of_a_platform(name: &str, text: &str) -> bool {
    let is_of_callboard = name == "PORT" || name.starts_with("PORT_") || name.starts_with("SERVICE_");
    let is_place = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let has_number = name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_of_another = ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|part| name.contains(part));
    is_of_callboard || is_of_another || has_number || (name.ends_with("_PORT") && is_place)
}

/// The line, and what is wrong there, out of the reader's report. The report quotes the line, which may hold a secret.
fn not_toml(report: &str) -> (usize, String) {
    let after = |mark: &str| {
        let digits = report.split(mark).nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits.flatten().and_then(|digits| digits.parse::<usize>().ok()).unwrap_or(1)
    };
    let reason = report.trim_end().lines().last().filter(|last| !last.contains(['|', '=', '"']));
    let reason = reason.map_or(String::new(), |reason| format!(" ({})", reason.trim()));
    (after("line "), format!("column {}: this is not TOML{reason}", after("column ")))
}

/// A value as the environment would write it.
fn as_text(value: &ValueKind) -> Option<String> {
    match value {
        ValueKind::Nil | ValueKind::Table(_) | ValueKind::Array(_) => None,
        ValueKind::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The line, from 1, on which a key of the top level is given its value; 1 when it cannot be told.
fn line_of(text: &str, key: &str) -> usize {
    let begins = |line: &&str| {
        let line = line.trim_start().trim_start_matches(['"', '\'']);
        line.get(..key.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(key))
            && line[key.len()..].trim_start_matches(['"', '\'']).trim_start().starts_with(['=', '.'])
    };
    let header = |line: &&str| line.trim() == format!("[{key}]");
    text.lines().position(|line| begins(&line) || header(&line)).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(text: &str) -> Sources {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callboard.toml");
        std::fs::write(&file, text).unwrap();
        Sources::gather(Some(&file), &HashMap::new(), &Vec::new())
    }

    fn told(sources: &Sources) -> Vec<String> {
        let folder =
            |text: String| text.rsplit_once("/callboard.toml").map_or(text.clone(), |(_, rest)| rest.to_owned());
        sources.problems.iter().map(|problem| folder(problem.to_string())).collect()
    }

    #[test]
    fn a_files_faults_are_all_told_with_their_lines() {
        let sources = of_file("slots = 7\nslotz = 8\n\n[server]\nport = 1\n\n[retain_for]\nx = 1\n");
        assert_eq!(
            told(&sources),
            [
                ":7): it is a table or a list: write text, a number, true or false",
                ":4: there is no setting \"server\": remove it; docs/configuration.md lists all that there are",
                ":2: there is no setting \"slotz\": did you mean slots?",
            ]
        );
        assert_eq!(sources.found["slots"].text, "7");
    }

    #[test]
    fn what_is_no_toml_is_told_with_line_and_column_and_shows_nothing_else() {
        let sources = of_file("slots = 7\napi_keys = \"s3cret=a\nlog = \"info\"\n");
        let told = told(&sources);
        assert!(told[0].starts_with(":2: column "), "{told:?}");
        assert!(!told.concat().contains("s3cret"), "{told:?}");
    }

    #[test]
    fn values_are_texts_whatever_their_type() {
        let sources = of_file("slots = 0x10\ntask_wait = 2.5\ninsecure = true\nlog = \"debug\"");
        let text = |name| sources.found[name].text.as_str();
        assert_eq!((text("task_wait"), text("insecure"), text("log")), ("2.5", "true", "debug"));
        assert_eq!(sources.found["insecure"].source.to_string().rsplit_once(':').unwrap().1, "3");
    }
}
