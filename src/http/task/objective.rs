//! The wire's `TaskObjective` as a `Submission`: every bound of the contract is checked here, once. Past this room a
//! submission is known to be sound.

use crate::http::error::ApiError;
use crate::http::request::{json, json_error};
use crate::task::{
    Budget, IdempotencyKey, InvalidId, Json, MAX_DEADLINE_MS, MIN_DEADLINE_MS, Options, Priority, Request, Scope,
    Submission, TaskId, TaskKey, Tenant,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many scopes of its own a task may be charged to.
const MAX_SCOPES: usize = 16;

/// The body of `POST /task`; what else it holds is ignored.
#[derive(Deserialize, ToSchema)]
#[schema(description = "What is to be done; what else it holds is ignored", example = json!({
    "objective": "What happens when an agent panics?", "context": {"audience": "operators"},
    "options": {"priority": "high", "deadline_ms": 600_000}}))]
pub(super) struct TaskObjective {
    /// The client's own name for the task, unique in a store over all tenants; made up when not given. White space around
    /// it is taken off. The same with the same body answers with the same task.
    #[schema(value_type = Option<TaskId>)]
    task_id: Option<String>,
    /// What is wanted, in words.
    #[schema(min_length = 1)]
    objective: String,
    /// Whatever the agents should know.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object, required = false)]
    context: Option<Box<RawValue>>,
    options: Option<WireOptions>,
}

/// The client's choices; an unknown one would be a choice that is silently not honoured.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaskOptions, description = "What a client may choose for one task; an unknown choice is refused")]
struct WireOptions {
    /// Milliseconds from acceptance until the task fails as late; an hour when not given.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 100, maximum = 2_592_000_000_u64)]
    deadline_ms: Option<u64>,
    priority: Option<Priority>,
    budget: Option<WireBudget>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaskBudget, description = "What the task may spend, over all its steps")]
struct WireBudget {
    /// Names of the client's own that its spending is also charged to. They must not begin with `tenant:` or `task:`.
    #[serde(default)]
    #[schema(value_type = Vec<Scope>, max_items = 16)]
    scopes: Vec<String>,
    /// Most tokens, in and out together.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    max_tokens: Option<u64>,
    /// Most money, in millionths of a US dollar.
    #[serde(default, deserialize_with = "whole")]
    #[schema(minimum = 1, maximum = 9_223_372_036_854_775_807_u64)]
    max_micro_usd: Option<u64>,
}

/// Tells a `null` from an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// A whole number however JSON writes it: `1`, `1.0` and `1e0` are the same to most languages, and to JSON Schema.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    /// The first float that is no `u64`.
    const PAST: f64 = 18_446_744_073_709_551_616.0;
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let from_float = || number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..PAST).contains(value));
    let value = number.as_u64().or_else(|| from_float().map(|value| value as u64));
    value.map(Some).ok_or_else(|| D::Error::custom(format!("{number} is not a whole number from 0 to {}", u64::MAX)))
}

/// Reads a submission.
pub(super) fn parse(body: &[u8], tenant: &Tenant, idempotency_key: Option<&str>) -> Result<Submission, ApiError> {
    let wire: TaskObjective = json(body)?;
    let id_given = wire.task_id.is_some();
    let id = match wire.task_id {
        Some(text) => TaskId::parse(&text).map_err(|error| invalid_id("task_id", &error))?,
        None => TaskId::trusted(Uuid::now_v7().to_string()),
    };
    if wire.objective.is_empty() {
        return Err(ApiError::invalid("objective", "objective must have at least 1 character: say what is to be done"));
    }
    let idempotency_key = idempotency_key.map(IdempotencyKey::parse).transpose();
    Ok(Submission {
        key: TaskKey { tenant: tenant.clone(), id },
        id_given,
        idempotency_key: idempotency_key.map_err(|error| invalid_id("Idempotency-Key", &error))?,
        request: Request { objective: wire.objective.into(), context: context(wire.context)? },
        options: wire.options.map(options).transpose()?.unwrap_or_default(),
    })
}

fn invalid_id(field: &str, error: &InvalidId) -> ApiError {
    ApiError::invalid(field, error.to_string())
}

/// The context as it came, known to be an object that every later reader can read.
fn context(raw: Option<Box<RawValue>>) -> Result<Json, ApiError> {
    let Some(raw) = raw else { return Json::from_text("{}".to_owned()).map_err(|error| json_error(&error)) };
    // Raw text has only been skipped so far: numbers out of range and broken escapes show when it is read.
    let value: serde_json::Value = serde_json::from_str(raw.get()).map_err(|error| json_error(&error))?;
    if !value.is_object() {
        return Err(ApiError::invalid("context", "context must be an object"));
    }
    Json::from_text(String::from(Box::<str>::from(raw))).map_err(|error| json_error(&error))
}

fn options(wire: WireOptions) -> Result<Options, ApiError> {
    let mut options = Options::default();
    if let Some(deadline_ms) = wire.deadline_ms {
        if !(MIN_DEADLINE_MS..=MAX_DEADLINE_MS).contains(&deadline_ms) {
            let message = format!("options.deadline_ms must be from {MIN_DEADLINE_MS} to {MAX_DEADLINE_MS}");
            return Err(ApiError::invalid("options.deadline_ms", message));
        }
        options.deadline_ms = deadline_ms;
    }
    options.priority = wire.priority.unwrap_or_default();
    options.budget = wire.budget.map(budget).transpose()?.unwrap_or_default();
    Ok(options)
}

fn budget(wire: WireBudget) -> Result<Budget, ApiError> {
    if wire.scopes.len() > MAX_SCOPES {
        let message = format!("options.budget.scopes must have at most {MAX_SCOPES} entries");
        return Err(ApiError::invalid("options.budget.scopes", message));
    }
    for (field, limit) in [("max_tokens", wire.max_tokens), ("max_micro_usd", wire.max_micro_usd)] {
        // The upper bound is that of the stores' integers.
        if limit.is_some_and(|limit| !(1..=i64::MAX as u64).contains(&limit)) {
            let field = format!("options.budget.{field}");
            return Err(ApiError::invalid(&field, format!("{field} must be from 1 to {}", i64::MAX)));
        }
    }
    let scopes = wire.scopes.iter().map(|text| scope(text)).collect::<Result<_, _>>()?;
    Ok(Budget { scopes, max_tokens: wire.max_tokens, max_micro_usd: wire.max_micro_usd })
}

/// A scope of the user's own. The names of tenants' and tasks' scopes are not for clients: they would spend what is not
/// theirs.
fn scope(text: &str) -> Result<Scope, ApiError> {
    let field = "options.budget.scopes";
    let scope = Scope::parse(text).map_err(|error| invalid_id(field, &error))?;
    if ["tenant:", "task:"].iter().any(|reserved| scope.as_str().starts_with(reserved)) {
        return Err(ApiError::invalid(
            field,
            "a budget scope must not begin with tenant: or task:, choose another name",
        ));
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;
    use proptest::prelude::*;

    fn parsed(body: &str) -> Result<Submission, ApiError> {
        parse(body.as_bytes(), &Tenant::default(), None)
    }

    fn status(body: &str) -> u16 {
        parsed(body).unwrap_err().status_code().as_u16()
    }

    #[test]
    fn the_least_body_gets_an_id_and_the_defaults() {
        let submission = parsed(r#"{"objective":"why?","colour":"ignored"}"#).unwrap();
        assert!(!submission.id_given);
        assert_eq!(submission.key.id.as_str().len(), 36);
        assert_eq!(submission.request.context.text(), "{}");
        assert_eq!(submission.options, Options::default());
    }

    #[test]
    fn a_full_body_is_taken_as_it_is() {
        let body = r#"{"task_id":" t-1 ","objective":"why?","context":{"a": 1.0},
            "options":{"deadline_ms":5000,"priority":"high","budget":{"scopes":["team"],"max_tokens":9}}}"#;
        let submission = parse(body.as_bytes(), &Tenant::trusted("acme"), Some("key")).unwrap();
        assert!(submission.id_given);
        assert_eq!(submission.key.to_string(), "acme/t-1");
        assert_eq!(submission.request.context.text(), r#"{"a": 1.0}"#);
        assert_eq!(submission.options.priority, Priority::High);
        assert_eq!(submission.options.budget.max_tokens, Some(9));
        assert_eq!(submission.idempotency_key.unwrap().as_str(), "key");
    }

    #[test]
    fn a_whole_number_may_be_written_in_any_way() {
        for written in ["5000", "5000.0", "5e3", "5.0E+3"] {
            let body = format!(r#"{{"objective":"x","options":{{"deadline_ms":{written}}}}}"#);
            assert_eq!(parsed(&body).unwrap().options.deadline_ms, 5000, "{written}");
        }
        assert_eq!(parsed(r#"{"objective":"x","options":{"deadline_ms":null}}"#).unwrap().options, Options::default());
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for body in [
            r"{}",
            r"[]",
            r#"{"objective":""}"#,
            r#"{"objective":7}"#,
            r#"{"objective":"x","task_id":" a "}"#,
            r#"{"objective":"x","context":null}"#,
            r#"{"objective":"x","context":[]}"#,
            r#"{"objective":"x","options":{"colour":1}}"#,
            r#"{"objective":"x","options":{"priority":"urgent"}}"#,
            r#"{"objective":"x","options":{"deadline_ms":0}}"#,
            r#"{"objective":"x","options":{"deadline_ms":-5}}"#,
            r#"{"objective":"x","options":{"deadline_ms":18446744073709551615}}"#,
            r#"{"objective":"x","options":{"deadline_ms":99999999999999999999999}}"#,
            r#"{"objective":"x","options":{"deadline_ms":5000.5}}"#,
            r#"{"objective":"x","options":{"deadline_ms":"5000"}}"#,
            r#"{"objective":"x","options":{"budget":{"max_tokens":0}}}"#,
            r#"{"objective":"x","options":{"budget":{"max_tokens":1e19}}}"#,
            r#"{"objective":"x","options":{"budget":{"max_tokens":1e20}}}"#,
            r#"{"objective":"x","options":{"budget":{"max_tokens":18446744073709551615}}}"#,
            r#"{"objective":"x","options":{"budget":{"scopes":["tenant:acme"]}}}"#,
            r#"{"objective":"x","options":{"budget":{"scopes":[" task:t"]}}}"#,
            r#"{"objective":"x","options":{"budget":{"colour":1}}}"#,
        ] {
            assert_eq!(status(body), 422, "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let lone_surrogate = r#"{"objective":"x","context":{"a":"\ud800"}}"#;
        for body in ["", "{", r#"{"objective":"x""#, r#"{"objective":"x","context":{"a":1e999}}"#, lone_surrogate] {
            assert_eq!(status(body), 400, "{body}");
        }
    }

    #[test]
    fn a_deep_context_is_refused_and_a_fairly_deep_one_still_has_a_digest() {
        let nested = |levels: usize| {
            format!(r#"{{"objective":"x","context":{{"a":{}1{}}}}}"#, "[".repeat(levels), "]".repeat(levels))
        };
        assert_eq!(status(&nested(1_000_000)), 400);
        // The deepest that the settings can allow.
        assert!(parsed(&nested(118)).unwrap().digest().is_ok());
    }

    #[test]
    fn a_bad_idempotency_key_is_refused() {
        let body = br#"{"objective":"x"}"#;
        assert!(parse(body, &Tenant::default(), Some(" ")).is_err());
        assert!(parse(body, &Tenant::default(), Some(&"x".repeat(201))).is_err());
    }

    proptest! {
        /// No body makes it panic, and what it takes can always be digested.
        #[test]
        fn any_body_is_taken_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(submission) = parse(&body, &Tenant::default(), None) {
                prop_assert!(submission.digest().is_ok());
            }
        }

        #[test]
        fn any_context_is_taken_or_refused(context in r#"[\[\]{}",:a0-9eE.\\u+-]{0,40}"#) {
            let body = format!(r#"{{"objective":"x","context":{{"a":{context}}}}}"#);
            if let Ok(submission) = parsed(&body) {
                prop_assert!(submission.digest().is_ok());
            }
        }
    }
}
