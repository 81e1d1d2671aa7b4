//! What a client hands in: objective, context and options, parsed and bounded, with the digest that makes a repeated
//! submission recognisable. Nothing here decides anything; `plan` and `decide` do.

use super::id::{IdempotencyKey, Scope, TaskId, TaskKey, Tenant};
use super::json::Json;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;

/// The default time a task has, in milliseconds: one hour.
pub const DEFAULT_DEADLINE_MS: u64 = 3_600_000;
/// The least time a task may be given, in milliseconds.
pub const MIN_DEADLINE_MS: u64 = 100;
/// The greatest time a task may be given, in milliseconds: thirty days.
pub const MAX_DEADLINE_MS: u64 = 30 * 24 * 3_600_000;

/// How urgent a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After the others, but aged so that it is not starved.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before the others.
    High,
}

impl Priority {
    /// Every priority, lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// How much later than a high one of the same moment a step of this priority ranks, in milliseconds. It is the
    /// ageing rule: a low step that has waited this long goes before a high one that just came.
    fn handicap_ms(self) -> u64 {
        match self {
            Self::High => 0,
            Self::Normal => 60_000,
            Self::Low => 300_000,
        }
    }

    /// A queue's order: lowest first.
    pub fn rank(self, since: super::At) -> u64 {
        since.0.saturating_add(self.handicap_ms())
    }
}

/// A limit on what a task may spend, over all its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Budget {
    /// Scopes of the user's own that its calls are also charged to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// Most tokens, in and out together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub max_tokens: Option<u64>,
    /// Most money, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub max_micro_usd: Option<u64>,
}

/// What a client may choose for one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Options {
    /// Milliseconds from acceptance until the task fails as late.
    pub deadline_ms: u64,
    /// How urgent.
    pub priority: Priority,
    /// What it may spend.
    pub budget: Budget,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline_ms: DEFAULT_DEADLINE_MS, priority: Priority::Normal, budget: Budget::default() }
    }
}

/// The question itself, as every step sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What is wanted, in the user's words.
    pub objective: Arc<str>,
    /// A JSON object of whatever the user wants the agents to know.
    pub context: Json,
}

/// A task as submitted, parsed and bounded.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Its key; the id is made up when the client gave none.
    pub key: TaskKey,
    /// Whether the client chose the id (then it also identifies the submission).
    pub id_given: bool,
    /// The client's own name for this submission.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The question.
    pub request: Request,
    /// The choices.
    pub options: Options,
}

/// SHA-256 of what makes two submissions equal: canonical objective, context and options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// As lower-case hexadecimal.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Submission {
    /// A task of the default tenant with this id and question, without context and with the default options.
    pub fn new(id: TaskId, objective: impl Into<Arc<str>>) -> Self {
        Self {
            key: TaskKey { tenant: Tenant::default(), id },
            id_given: true,
            idempotency_key: None,
            request: Request { objective: objective.into(), context: Json::empty() },
            options: Options::default(),
        }
    }

    /// The digest that tells equal submissions from different ones. Object keys are taken in order and white space is
    /// not, so the same JSON written another way is equal.
    ///
    /// # Errors
    /// When the context is not JSON that can be read (deeper than 128 levels).
    pub fn digest(&self) -> serde_json::Result<Digest> {
        let mut hash = Sha256::new();
        let context = canonical(&self.request.context.parse()?)?;
        let options = canonical(&serde_json::to_value(&self.options)?)?;
        for part in [self.request.objective.as_bytes(), &context, &options] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Ok(Digest(hash.finalize().into()))
    }
}

/// JSON text with object keys sorted and no white space.
fn canonical(value: &serde_json::Value) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(128);
    write_canonical(value, &mut text)?;
    Ok(text)
}

fn write_canonical(value: &serde_json::Value, text: &mut Vec<u8>) -> serde_json::Result<()> {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            write_list(text, [b'{', b'}'], entries, |(key, value), text| {
                serde_json::to_writer(&mut *text, key)?;
                text.push(b':');
                write_canonical(value, text)
            })
        }
        Value::Array(items) => write_list(text, [b'[', b']'], items, write_canonical),
        scalar => serde_json::to_writer(text, scalar),
    }
}

fn write_list<T>(
    text: &mut Vec<u8>,
    [open, close]: [u8; 2],
    items: impl IntoIterator<Item = T>,
    each: impl Fn(T, &mut Vec<u8>) -> serde_json::Result<()>,
) -> serde_json::Result<()> {
    text.push(open);
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            text.push(b',');
        }
        each(item, text)?;
    }
    text.push(close);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{At, TaskId, Tenant};
    use super::*;

    #[test]
    fn the_greatest_deadline_is_thirty_days_and_a_digest_is_shown_in_hexadecimal() {
        assert_eq!(MAX_DEADLINE_MS, 2_592_000_000);
        assert_eq!(Digest([0xa0; 32]).hex(), "a0".repeat(32));
    }

    #[test]
    fn a_digest_stays_the_same_for_ever_since_stores_keep_it() {
        let digest = submission(r#"{"b": {"d": null, "c": "x"}, "a": [1, 2]}"#).digest().unwrap();
        assert_eq!(digest.hex(), "2e9c962b720bc09f265f48fa400518f7a8f9da6fc13806ac261daf824a0e628a");
        assert_ne!(submission(r#"{"a":[1,2]}"#).digest().unwrap(), submission(r#"{"a":[12]}"#).digest().unwrap());
    }

    fn submission(context: &str) -> Submission {
        Submission {
            key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
            id_given: true,
            idempotency_key: None,
            request: Request { objective: "why?".into(), context: Json::from_text(context.into()).unwrap() },
            options: Options::default(),
        }
    }

    #[test]
    fn equal_json_has_an_equal_digest() {
        let one = submission(r#"{"a": 1, "b": {"c": [1, 2], "d": null}}"#).digest().unwrap();
        assert_eq!(one, submission(r#"{"b":{"d":null,"c":[1,2]},"a":1}"#).digest().unwrap());
        assert_ne!(one, submission(r#"{"b":{"d":null,"c":[2,1]},"a":1}"#).digest().unwrap());
    }

    #[test]
    fn options_are_part_of_the_digest() {
        let mut other = submission("{}");
        other.options.priority = Priority::High;
        assert_ne!(other.digest().unwrap(), submission("{}").digest().unwrap());
    }

    #[test]
    fn a_low_step_ages_past_a_fresh_high_one() {
        let fresh = Priority::High.rank(At(1_000_000));
        assert!(Priority::Low.rank(At(999_000)) > fresh);
        assert!(Priority::Low.rank(At(1_000_000 - 300_001)) < fresh);
    }
}
