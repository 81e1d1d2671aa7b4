//! The provider `mock`: 200 bytes that depend only on capability and question, at once, or late, wrong or never where
//! the script says so. For tests and benchmarks; nothing here looks at passages.

use super::script::{Fault, Script, ScriptError};
use super::{Provider, Trouble, TroubleKind};
use crate::messages::{Answer, Completion, Usage};
use crate::task::Capability;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Deserializer};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The length of every answer, in bytes.
pub const ANSWER_BYTES: usize = 200;
/// Who answered, shared by all answers.
static NAME: LazyLock<Arc<str>> = LazyLock::new(|| "mock".into());
static MODEL: LazyLock<Arc<str>> = LazyLock::new(|| "mock-200".into());
/// Where a broken answer breaks off, in bytes.
const BREAK_BYTES: usize = 97;
/// Most bytes of a capability's name in an answer.
const MAX_NAME_BYTES: usize = 40;
/// Rough, but the same for every run: what budgets are tested with.
const BYTES_PER_TOKEN: u64 = 4;
/// Bytes in which no agent can find a word.
const MALFORMED: &str = "\u{fffd}{[\"";

/// How the mock behaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MockSettings {
    /// How long a call takes where the script says nothing else.
    #[serde(deserialize_with = "duration")]
    pub latency: Duration,
    /// What goes wrong when, and which capabilities take how long.
    pub script: Script,
}

/// Why a text is not a setting of the mock.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MockSettingsError {
    /// The latency.
    #[error("mock latency: \"{text}\" is not a duration ({why}); write it as 50ms, 3s or 4m")]
    Latency {
        /// As given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The script.
    #[error(transparent)]
    Script(#[from] ScriptError),
}

impl MockSettings {
    /// Settings from the two knobs as text (`CALLBOARD_MOCK_LATENCY`, `CALLBOARD_MOCK_SCRIPT`); empty is not set.
    ///
    /// # Errors
    /// [`MockSettingsError`], which names the offending part and what may stand there.
    pub fn from_text(latency: &str, script: &str) -> Result<Self, MockSettingsError> {
        let latency = match latency.trim() {
            "" => Duration::ZERO,
            text => humantime::parse_duration(text)
                .map_err(|error| MockSettingsError::Latency { text: text.into(), why: error.to_string() })?,
        };
        Ok(Self { latency, script: script.parse()? })
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("\"{text}\" is not a duration ({error}), such as 50ms")))
}

/// The provider.
#[derive(Debug, Default)]
pub struct Mock {
    settings: MockSettings,
    calls: Mutex<HashMap<Capability, u64>>,
}

impl Mock {
    /// A mock that behaves like this.
    pub fn new(settings: MockSettings) -> Self {
        Self { settings, calls: Mutex::default() }
    }

    /// How many calls a capability has made.
    pub fn calls(&self, capability: &Capability) -> u64 {
        self.calls.lock().get(capability).copied().unwrap_or_default()
    }

    /// Takes the next number of a capability's calls, from 1.
    pub(crate) fn count(&self, capability: &Capability) -> u64 {
        let mut calls = self.calls.lock();
        let count = calls.entry(capability.clone()).or_default();
        *count += 1;
        *count
    }

    /// The call's number is taken when it begins, so the script's order is the order of arrival.
    async fn answer(&self, call: &Completion) -> Result<Answer, Trouble> {
        self.answer_numbered(call, self.count(&call.capability)).await
    }

    /// Answers the call of this number as the settings say.
    pub(crate) async fn answer_numbered(&self, call: &Completion, number: u64) -> Result<Answer, Trouble> {
        let latency = self.settings.script.latency(&call.capability, number).unwrap_or(self.settings.latency);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        Self::carry_out(call, number, self.settings.script.fault(&call.capability, number)).await
    }

    /// Answers at once, or as the fault has it.
    pub(crate) async fn carry_out(call: &Completion, number: u64, fault: Option<Fault>) -> Result<Answer, Trouble> {
        let name = call.capability.as_str();
        match fault {
            None => Ok(answered(call, &answer_text(name, &call.question))),
            Some(Fault::Malformed) => Ok(answered(call, MALFORMED)),
            Some(Fault::Error) => Err(Trouble::new(
                TroubleKind::Unavailable,
                format!("the mock failed call {number} of {name}, as its script says; another try may succeed"),
            )),
            Some(Fault::Fatal) => Err(Trouble::new(
                TroubleKind::Invalid,
                format!("the mock failed call {number} of {name} for good, as its script says"),
            )),
            Some(Fault::Broken) => Err(broken(&answer_text(name, &call.question))),
            Some(Fault::Panic) => fall_over(name, number),
            Some(Fault::Hang) => std::future::pending().await,
        }
    }
}

impl Provider for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn complete<'a>(&'a self, call: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        self.answer(call).boxed()
    }
}

#[expect(clippy::panic, reason = "the script asks for a panic, to test what catches it")]
fn fall_over(capability: &str, call: u64) -> Result<Answer, Trouble> {
    panic!("the mock panicked in call {call} of {capability}, as its script says");
}

/// What a client sees of a stream that ends early: some bytes, and no end.
fn broken(text: &str) -> Trouble {
    let part = text.get(..BREAK_BYTES).unwrap_or_default();
    Trouble::new(TroubleKind::Broken, format!("the answer broke off after {BREAK_BYTES} bytes: \"{part}\""))
}

fn answered(call: &Completion, text: &str) -> Answer {
    let input_bytes = call.system_prompt().len() + call.user_prompt().len();
    Answer {
        usage: Some(Usage {
            input_tokens: (input_bytes as u64).div_ceil(BYTES_PER_TOKEN),
            output_tokens: (text.len() as u64).div_ceil(BYTES_PER_TOKEN),
        }),
        ..Answer::said(NAME.clone(), MODEL.clone(), text)
    }
}

/// Exactly [`ANSWER_BYTES`] bytes that depend on nothing but capability and question.
fn answer_text(capability: &str, question: &str) -> String {
    const FILLER: [&str; 8] = ["alpha", "bravo", "cargo", "delta", "eagle", "flint", "grain", "haven"];
    // Only plain characters of the name, so that a cut never falls inside one.
    let name = capability.chars().filter(char::is_ascii_graphic).take(MAX_NAME_BYTES);
    let mut hash = fnv1a(&[capability.as_bytes(), &[0], question.as_bytes()]);
    // The last word may be cut.
    let mut text = String::with_capacity(ANSWER_BYTES + 1 + FILLER[0].len());
    text.push_str("mock answer of ");
    text.extend(name);
    // Writing to a text does not fail.
    let _ = write!(text, " to question {hash:016x}:");
    while text.len() < ANSWER_BYTES {
        text.push(' ');
        text.push_str(FILLER[(hash % 8) as usize]);
        hash = hash.rotate_right(3).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    text.truncate(ANSWER_BYTES - 1);
    text.push('.');
    text
}

/// FNV-1a, because the standard hasher may differ between releases and these bytes must not.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    let taken = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    parts.iter().fold(0xCBF2_9CE4_8422_2325, |hash, part| part.iter().fold(hash, taken))
}

#[cfg(test)]
mod tests {
    use super::super::testing::call;
    use super::*;
    use std::panic::AssertUnwindSafe;
    use std::time::Instant;

    fn mock(script: &str) -> Mock {
        Mock::new(MockSettings::from_text("", script).unwrap())
    }

    #[tokio::test]
    async fn answers_are_200_bytes_and_depend_only_on_capability_and_question() {
        let answer = mock("").complete(&call("evaluate", "why?", &[])).await.unwrap();
        assert_eq!(answer.text.len(), ANSWER_BYTES);
        assert_eq!(answer, mock("").complete(&call("evaluate", "why?", &[])).await.unwrap());
        for (capability, question) in [("evaluate", "how?"), ("analyze", "why?"), (&"長".repeat(90), "why?")] {
            let other = mock("").complete(&call(capability, question, &[])).await.unwrap();
            assert_eq!(other.text.len(), ANSWER_BYTES);
            assert_ne!(other.text, answer.text);
        }
    }

    #[tokio::test]
    async fn the_script_fails_calls_as_it_says() {
        let mock = mock("evaluate:error@2,evaluate:fatal@3,evaluate:malformed@5,evaluate:broken@7,analyze:panic");
        let evaluate = call("evaluate", "why?", &[]);
        let mut outcomes = Vec::new();
        for _ in 0..7 {
            outcomes.push(mock.complete(&evaluate).await);
        }
        assert!(outcomes[0].is_ok());
        assert!(
            matches!(&outcomes[1], Err(trouble) if trouble.kind == TroubleKind::Unavailable && trouble.message.contains("call 2 of evaluate"))
        );
        assert!(matches!(&outcomes[2], Err(trouble) if trouble.kind == TroubleKind::Invalid));
        assert!(outcomes[4].as_ref().unwrap().text.chars().all(|c| !c.is_alphanumeric()));
        assert!(matches!(&outcomes[6], Err(trouble) if trouble.message.contains("broke off after 97 bytes")));
        assert_eq!(mock.calls(&evaluate.capability), 7);
        let analyze = call("analyze", "why?", &[]);
        let panicked = AssertUnwindSafe(mock.complete(&analyze)).catch_unwind().await;
        assert!(panicked.is_err(), "the panic must be a real one");
        assert!(mock.complete(&evaluate).await.is_err(), "call 8 errors by the rule @2: the mock outlived the panic");
    }

    #[tokio::test]
    async fn a_hanging_call_ends_when_it_is_dropped() {
        let mock = mock("*:hang");
        let hanging = call("evaluate", "why?", &[]);
        let waited = tokio::time::timeout(Duration::from_millis(20), mock.complete(&hanging)).await;
        assert!(waited.is_err());
        assert_eq!(mock.calls(&hanging.capability), 1);
    }

    #[tokio::test]
    async fn latency_is_global_or_per_capability() {
        let mock = Mock::new(MockSettings::from_text("1h", "analyze:latency=20ms,finalize:latency=0s").unwrap());
        let begun = Instant::now();
        mock.complete(&call("analyze", "why?", &[])).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(20));
        mock.complete(&call("finalize", "why?", &[])).await.unwrap();
        let slow = call("evaluate", "why?", &[]);
        assert!(tokio::time::timeout(Duration::from_millis(20), mock.complete(&slow)).await.is_err());
    }

    #[tokio::test]
    async fn concurrent_calls_are_counted_once_each() {
        let mock = std::sync::Arc::new(mock("evaluate:error@10"));
        let calls = (0..100).map(|_| {
            let mock = mock.clone();
            #[expect(clippy::disallowed_methods, reason = "a test of concurrent callers")]
            tokio::spawn(async move { mock.complete(&call("evaluate", "why?", &[])).await.is_err() })
        });
        let failed = futures_util::future::join_all(calls).await;
        assert_eq!(failed.into_iter().filter(|failed| *failed.as_ref().unwrap()).count(), 10);
    }

    #[test]
    fn settings_are_read_from_text_and_unknown_fields_are_refused() {
        let read = serde_json::from_str::<MockSettings>;
        let settings = read(r#"{"latency": "50ms", "script": "a:panic@3"}"#).unwrap();
        assert_eq!(settings, MockSettings::from_text("50ms", "a:panic@3").unwrap());
        assert_eq!(read("{}").unwrap(), MockSettings::default());
        assert!(read(r#"{"latencyy": "50ms"}"#).unwrap_err().to_string().contains("latencyy"));
        assert!(read(r#"{"script": "a:explode"}"#).unwrap_err().to_string().contains("explode"));
        assert!(read(r#"{"latency": "soon"}"#).unwrap_err().to_string().contains("\"soon\" is not a duration"));
        assert!(MockSettings::from_text("soon", "").unwrap_err().to_string().contains("50ms"));
    }
}
