//! What an error of Gemini's means. There is no `Retry-After`: how long to wait, and whether it makes sense, stand in the
//! body's details. The rules are those of Google's own command-line client (`googleQuotaErrors.ts`).

use crate::llm::trouble::{Trouble, TroubleKind};
use crate::llm::web::words;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// A longer wait than this means that the quota is used up.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How long a quota per minute is waited for that does not say.
const A_MINUTE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Envelope {
    error: Error,
}

#[derive(Debug, Deserialize)]
pub(super) struct Error {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Value>,
}

/// What this error is. Its envelope may stand in a list of one.
pub(super) fn of(status: u16, body: &[u8]) -> Trouble {
    // The list first: a form of named fields would also be read from one.
    let listed = serde_json::from_slice::<Vec<Envelope>>(body).ok().and_then(|mut list| list.pop());
    match listed.or_else(|| serde_json::from_slice::<Envelope>(body).ok()) {
        Some(Envelope { error }) => told(status, &error),
        None => Trouble::of_status(status, format!("gemini answered {status}, and does not say why")),
    }
}

/// What an error is that comes within a stream, after a 200.
pub(super) fn in_stream(error: &Error) -> Trouble {
    told(if error.code == 0 { 500 } else { error.code }, error)
}

fn told(status: u16, error: &Error) -> Trouble {
    let message = format!("gemini answered {status}: {}", words(&error.message));
    // 499: it was cancelled on the other side, because too much is asked.
    let mut trouble = Trouble::of_status(if status == 499 { 429 } else { status }, message);
    if error.details.iter().any(|detail| detail["reason"] == "API_KEY_INVALID") {
        trouble.kind = TroubleKind::Unauthorized;
    }
    let asked = error.details.iter().find_map(|detail| duration(detail["retryDelay"].as_str()?));
    trouble.wait = asked.or_else(|| in_words(&error.message));
    if trouble.kind == TroubleKind::Throttled {
        let quotas = || error.details.iter().flat_map(|detail| detail["violations"].as_array().into_iter().flatten());
        let is_of = |word: &str| quotas().any(|quota| quota["quotaId"].as_str().is_some_and(|id| id.contains(word)));
        if is_of("PerDay") || is_of("Daily") {
            // What it asks for then is not when the quota is new.
            (trouble.kind, trouble.wait) = (TroubleKind::Exhausted, None);
        } else if trouble.wait.is_some_and(|wait| wait > LONGEST_WAIT) {
            trouble.kind = TroubleKind::Exhausted;
        } else if trouble.wait.is_none() && is_of("PerMinute") {
            trouble.wait = Some(A_MINUTE);
        }
    }
    trouble
}

/// A protobuf duration, such as `45.837906927s`; also in milliseconds, as its words have it.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1000.0),
        None => (text.strip_suffix('s')?, 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? / unit).ok()
}

/// Where there are no details: `Please retry in 12.3s`.
fn in_words(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("lease retry in ")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'm' | 's'))).unwrap_or(rest.len());
    duration(rest[..end].trim_end_matches('.'))
}

pub(super) fn bad_key() -> Trouble {
    let words = "gemini's key has characters that no header can carry: check gemini_key";
    Trouble::new(TroubleKind::Unauthorized, words)
}

pub(super) fn no_model(name: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Invalid,
        format!("{:?} is no model of gemini's: write for example gemini-2.5-flash", words(name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use TroubleKind::{Exhausted, Invalid, Throttled, Unauthorized, Unavailable};
    use serde_json::json;

    fn read(status: u16, details: Value, message: &str) -> Trouble {
        let error = json!({"code": status, "message": message, "status": "X", "details": details});
        let whole = of(status, json!({ "error": error }).to_string().as_bytes());
        assert_eq!(of(status, json!([{ "error": error }]).to_string().as_bytes()), whole, "in a list of one");
        whole
    }

    fn quota(id: &str, delay: &str) -> Value {
        json!([
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": id, "quotaValue": "250000",
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_input_token_count"}]},
            {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
        ])
    }

    #[test]
    fn a_quota_says_whether_and_how_long_to_wait() {
        let of = |details, message: &str| {
            let trouble = read(429, details, message);
            (trouble.kind, trouble.wait.map(|wait| wait.as_millis()))
        };
        let minute = "GenerateContentInputTokensPerModelPerMinute-FreeTier";
        let day = "GenerateRequestsPerDayPerProjectPerModel-FreeTier";
        assert_eq!(of(quota(minute, "26s"), ""), (Throttled, Some(26_000)));
        assert_eq!(of(quota(minute, "45.837906927s"), ""), (Throttled, Some(45_837)));
        assert_eq!(of(quota(minute, "0s"), ""), (Throttled, Some(0)));
        assert_eq!(of(quota(minute, "301s"), ""), (Exhausted, Some(301_000)));
        assert_eq!(of(quota(day, "26s"), ""), (Exhausted, None));
        assert_eq!(of(json!([{"violations": [{"quotaId": minute}]}]), ""), (Throttled, Some(60_000)));
        assert_eq!(of(json!([]), "Quota exceeded. Please retry in 12.5s."), (Throttled, Some(12_500)));
        assert_eq!(of(json!([]), "Please retry in 250ms"), (Throttled, Some(250)));
        assert_eq!(of(json!([]), "Resource has been exhausted"), (Throttled, None));
    }

    #[test]
    fn statuses_and_reasons_are_told_apart() {
        let bad_key = json!([{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]);
        let kind = |status, details| read(status, details, "so it is").kind;
        assert_eq!(kind(400, bad_key), Unauthorized);
        assert_eq!(
            (kind(400, json!([])), kind(404, json!([])), kind(403, json!([]))),
            (Invalid, Invalid, Unauthorized)
        );
        assert_eq!(
            (kind(500, json!([])), kind(503, json!([])), kind(504, json!([]))),
            (Unavailable, Unavailable, Unavailable)
        );
        assert_eq!(kind(499, json!([])), Throttled);
        assert_eq!(&*read(404, json!([]), "no such model").message, "gemini answered 404: no such model");
        assert_eq!(of(502, b"<html>").kind, Unavailable);
    }
}
